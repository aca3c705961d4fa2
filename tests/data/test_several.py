from pathlib import Path
from typing import Any

import pytest

from perceivers.data import DataConfig, DataError, Splits, load_data
from perceivers.data.several import part_sources, public_name, task_labels

ROLES = ("task", "text", "label")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two data sets: moods, and how alike two texts are."""
    for name, header, row in (
        ("moods", "text,label", "text {i},{mood}"),
        ("pairs", "sentence1,sentence2,score", "first {i},second {i},{i}.5"),
    ):
        (tmp_path / "texts" / name).mkdir(parents=True)
        for split, count in (("train", 6), ("test", 4)):
            rows = [row.format(i=i, mood="good" if i % 2 else "bad") for i in range(count)]
            (tmp_path / "texts" / name / f"{split}.csv").write_text("\n".join([header, *rows]) + "\n")
    (tmp_path / "texts" / ".cache").mkdir()
    return tmp_path / "texts"


def load(source: Any, labels: tuple[str, ...] | None = None, **fields: Any) -> Splits:
    return load_data(DataConfig(source=str(source), **fields), ROLES, labels=labels, optional_roles=("text_pair",))


def test_a_folder_of_folders_is_a_task_each(folder: Path) -> None:
    splits = load(folder, columns={"pairs.score": "score"})
    assert splits.labels == ("moods/bad", "moods/good", "pairs/score")
    assert splits.eval.to_dict() == {
        "task": ["moods"] * 4 + ["pairs"] * 4,
        "text": [f"text {i}" for i in range(4)] + [f"first {i}" for i in range(4)],
        "text_pair": [None] * 4 + [f"second {i}" for i in range(4)],
        "label": [0.0, 1.0, 0.0, 1.0, 0.5, 1.5, 2.5, 3.5],
    }
    assert splits.description.endswith("12 training and 8 evaluation examples of the tasks moods, pairs")
    assert not splits.held_out
    assert len(load(folder, columns={"pairs.score": "score"}, limit=3).train) == 6


def test_one_data_set_is_one_task(folder: Path) -> None:
    splits = load(folder / "moods")
    assert splits.labels == ("moods/bad", "moods/good")
    assert set(splits.train.column_names) == {"task", "text", "label"}
    assert load(folder / "moods" / "train.csv").held_out


def test_labels_of_a_trained_model_settle_the_ids(folder: Path) -> None:
    known = ("pairs/score", "moods/good", "moods/other", "moods/bad")
    splits = load(f"moods={folder / 'moods'},{folder / 'pairs'}", known)
    assert splits.labels == known
    assert splits.eval["label"][:] == [2.0, 0.0, 2.0, 0.0, 0.5, 1.5, 2.5, 3.5]
    with pytest.raises(
        DataError, match=r"'train' is none of the tasks \['pairs', 'moods'\]; name the data TASK=SOURCE"
    ):
        load(folder / "moods" / "train.csv", known)


def test_columns_are_named_for_all_or_for_one(folder: Path) -> None:
    columns = {"text": "text", "pairs.text": "sentence2", "pairs.label": "sentence1"}
    splits = load(folder, columns=columns)
    assert splits.eval["text"][3:5] == ["text 3", "second 0"]
    assert splits.labels is not None
    assert splits.labels[2] == "pairs/first 0"
    with pytest.raises(DataError, match=r"odd.text=a: there is no data set 'odd'; data sets = \['moods', 'pairs'\]"):
        load(folder, columns={"odd.text": "a"})


def test_scores_must_be_numbers(folder: Path) -> None:
    (folder / "pairs" / "test.csv").write_text("sentence1,sentence2,score\na,b,much\n")
    with pytest.raises(DataError, match=r"test\.csv, line 2: a score must be a number, got 'much'"):
        load(folder, columns={"pairs.score": "score"})


def test_what_a_source_stands_for(folder: Path) -> None:
    assert part_sources("a=user/one, user/two.csv") == {"a": "user/one", "two": "user/two.csv"}
    assert part_sources(str(folder / "moods")) == {"moods": str(folder / "moods")}
    with pytest.raises(DataError, match="two data sets are called 'x'"):
        part_sources("a/x,b/x")
    with pytest.raises(DataError, match="has an empty name"):
        part_sources("a,,b")


def test_where_data_lies_is_no_part_of_its_name(folder: Path) -> None:
    assert public_name(str(folder)) == "texts"
    assert public_name(f"m={folder / 'moods'},glue/sst2") == "moods,glue/sst2"
    assert public_name("user/one") == "user/one"


def test_labels_are_told_apart_by_their_tasks() -> None:
    assert task_labels(("a/x", "b/y/z", "a/w")) == {"a": ("x", "w"), "b": ("y/z",)}
    with pytest.raises(ValueError, match="label 'x' must have the name of its task before it"):
        task_labels(("x",))
