"""Data sets of the Hub by their short names, in folders of the form that the Hub's have."""

from pathlib import Path
from typing import Any

import datasets
import pytest

from perceivers.data import DataConfig, DataError, load_data
from perceivers.data.named import COLLECTIONS, NAMED
from perceivers.data.several import part_sources
from perceivers.data.streams import stream_rows, with_roles

ROLES = ("text", "label")
TASK_ROLES = ("task", "text", "label")
TEXT = datasets.Value("string")


def part(columns: dict[str, list[Any]], names: list[str] | None) -> datasets.Dataset:
    label: Any = datasets.ClassLabel(names=names) if names else datasets.Value("float32")
    features = {name: label if name == "label" else TEXT for name in columns}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def configuration(folder: Path, subset: str, splits: dict[str, datasets.Dataset]) -> str:
    """Write a configuration as the Hub has it, and return its entry of the card."""
    lines = [f"- config_name: {subset}", "  data_files:"]
    for name, rows in splits.items():
        (folder / subset).mkdir(parents=True, exist_ok=True)
        rows.to_parquet(folder / subset / f"{name}-00000-of-00001.parquet")
        lines += [f"  - split: {name}", f"    path: {subset}/{name}-*"]
    return "\n".join(lines)


@pytest.fixture
def hub_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders that `load_dataset` takes for repositories of the Hub: GLUE in part, and IMDb."""
    two = ["no", "yes"]

    def sentences(count: int, label: int) -> datasets.Dataset:
        return part({"sentence": [f"s{i}" for i in range(count)], "label": [label] * count, "idx": ["0"] * count}, two)

    def pairs(names: tuple[str, str], labels: list[Any], classes: list[str] | None) -> datasets.Dataset:
        texts = {name: [f"{name} {i}" for i in range(len(labels))] for name in names}
        return part({**texts, "label": labels}, classes)

    three, hidden = ["entailment", "neutral", "contradiction"], [-1]
    own, mnli = ("sentence1", "sentence2"), ("premise", "hypothesis")
    glue = tmp_path / "nyu-mll" / "glue"
    entries = [
        configuration(
            glue, "sst2", {"train": sentences(3, 1), "validation": sentences(2, 0), "test": sentences(1, -1)}
        ),
        configuration(
            glue,
            "mrpc",
            {name: pairs(own, labels, two) for name, labels in (("train", [0, 1]), ("validation", [1]), ("test", [0]))},
        ),
        configuration(
            glue,
            "stsb",
            {name: pairs(own, labels, None) for name, labels in (("train", [2.5, 5]), ("validation", [1.0]))},
        ),
        configuration(
            glue,
            "mnli",
            {
                "train": pairs(mnli, [0, 1, 2], three),
                "validation_matched": pairs(mnli, [0], three),
                "validation_mismatched": pairs(mnli, [1, 1], three),
                "test_matched": pairs(mnli, hidden, three),
            },
        ),
    ]
    (glue / "README.md").write_text("---\nconfigs:\n" + "\n".join(entries) + "\n---\n")
    imdb = tmp_path / "stanfordnlp" / "imdb"
    classes = ["neg", "pos"]
    entry = configuration(
        imdb,
        "plain_text",
        {
            "train": part({"text": ["a", "b"], "label": [0, 1]}, classes),
            "test": part({"text": ["c"], "label": [1]}, classes),
            "unsupervised": part({"text": ["d"], "label": [-1]}, classes),
        },
    )
    (imdb / "README.md").write_text(f"---\nconfigs:\n{entry}\n---\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path


def test_imdb_is_scored_on_its_test_split(hub_folders: Path) -> None:
    splits = load_data(DataConfig(source="imdb"), ROLES)
    assert splits.labels == ("neg", "pos")
    assert splits.train.to_dict() == {"text": ["a", "b"], "label": [0, 1]}
    assert splits.eval.to_dict() == {"text": ["c"], "label": [1]}
    assert splits.description.startswith("imdb: 2 training and 1 evaluation")


def test_glue_is_scored_on_its_validation_split(hub_folders: Path) -> None:
    splits = load_data(DataConfig(source="glue/sst2"), ROLES, optional_roles=("text_pair",))
    assert splits.train.to_dict() == {"text": ["s0", "s1", "s2"], "label": [1, 1, 1]}
    assert splits.eval.to_dict() == {"text": ["s0", "s1"], "label": [0, 0]}
    assert splits.labels == ("no", "yes")


def test_pairs_are_pairs_where_a_task_takes_them(hub_folders: Path) -> None:
    splits = load_data(DataConfig(source="glue/mrpc"), ROLES, optional_roles=("text_pair",))
    assert splits.eval.to_dict() == {"text": ["sentence1 0"], "text_pair": ["sentence2 0"], "label": [1]}
    assert load_data(DataConfig(source="glue/mrpc"), ("text",)).eval.column_names == ["text"]


def test_mnli_has_two_evaluation_splits(hub_folders: Path) -> None:
    matched = load_data(DataConfig(source="glue/mnli"), ROLES, optional_roles=("text_pair",))
    assert matched.eval["label"][:] == [0]
    assert matched.eval["text_pair"][:] == ["hypothesis 0"]
    other = DataConfig(source="glue/mnli", eval_split="validation_mismatched")
    assert load_data(other, ROLES, optional_roles=("text_pair",)).eval["label"][:] == [1, 1]


def test_scores_are_no_labels(hub_folders: Path) -> None:
    with pytest.raises(DataError, match=r"a label must be a name or a whole number, got 2\.5"):
        load_data(DataConfig(source="glue/stsb"), ROLES)


def test_several_tasks_of_the_hub_are_loaded_together(hub_folders: Path) -> None:
    config = DataConfig(source="glue/sst2,alike=glue/stsb,glue/mnli")
    splits = load_data(config, TASK_ROLES, optional_roles=("text_pair",))
    assert splits.labels == (
        *("sst2/no", "sst2/yes", "alike/score"),
        *("mnli/entailment", "mnli/neutral", "mnli/contradiction"),
    )
    assert splits.eval.to_dict() == {
        "task": ["sst2", "sst2", "alike", "mnli"],
        "text": ["s0", "s1", "sentence1 0", "premise 0"],
        "text_pair": [None, None, "sentence2 0", "hypothesis 0"],
        "label": [0.0, 0.0, 1.0, 0.0],
    }
    assert splits.train["label"][3:5] == [2.5, 5.0]


def test_a_subset_is_named_by_the_name(hub_folders: Path) -> None:
    with pytest.raises(DataError, match="'glue/sst2' has no subset 'cola'"):
        load_data(DataConfig(source="glue/sst2", subset="cola"), ROLES)


def test_a_folder_of_the_same_name_wins(hub_folders: Path) -> None:
    (hub_folders / "imdb").mkdir()
    (hub_folders / "imdb" / "train.csv").write_text("text,label\nx,1\ny,2\nz,1\nw,2\n")
    assert load_data(DataConfig(source="imdb"), ROLES).labels == ("1", "2")


def test_rows_are_streamed_by_the_same_names(hub_folders: Path) -> None:
    rows = [with_roles(row, ("text", "text_pair"), "", {}) for _, row in stream_rows("glue/mrpc", split="validation")]
    assert rows == [{"text": "sentence1 0", "text_pair": "sentence2 0"}]


def test_glue_stands_for_all_its_tasks_but_wnli() -> None:
    assert list(part_sources("glue")) == ["cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte"]
    assert all(name in NAMED for names in COLLECTIONS.values() for name in names)
