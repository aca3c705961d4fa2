import json
from pathlib import Path

import numpy as np
import pytest
import seqeval.metrics
from datasets import ClassLabel, Dataset, DatasetDict, Features, Sequence, Value

from perceivers.data import SOURCES, DataConfig, DataError, Splits, load_data
from perceivers.data.tags import find_entities, tag_names

TAGGED = ("tokens", "tags")
SHARED = Path(__file__).parents[3] / "shared/data/ner/wnut17"


def load(source: Path | str, **changes) -> Splits:
    return load_data(DataConfig(source=str(source), **changes), TAGGED)


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.conll").write_text(text, encoding="utf-8")
    return folder


def tags_of(splits: Splits) -> list[list[str]]:
    assert splits.labels is not None
    return [[splits.labels[tag] for tag in row["tags"]] for row in splits.train]


@pytest.mark.parametrize("columns", ["{word}\t{tag}", "{word} {tag}", "{word} NNP B-NP {tag}"])
def test_files_of_columns_are_read(tmp_path: Path, columns: str) -> None:
    sentences = [[("Ada", "B-person"), ("L.", "I-person"), ("sang", "O")], [("In", "O"), ("Köln", "B-place")]]
    lines = ["-DOCSTART- -X- O O", ""]
    for sentence in sentences:
        lines += [*(columns.format(word=word, tag=tag) for word, tag in sentence), "", ""]
    write(tmp_path, train="\n".join(lines), dev="Ada\tB-person", test="Bob\tB-person\r\n\r\nran\tO\r\n")
    splits = load(tmp_path)
    assert splits.labels == ("O", "B-person", "I-person", "B-place", "I-place")
    assert [row["tokens"] for row in splits.train] == [["Ada", "L.", "sang"], ["In", "Köln"]]
    assert tags_of(splits) == [[tag for _, tag in sentence] for sentence in sentences]
    assert [row["tokens"] for row in splits.eval] == [["Bob"], ["ran"]]
    assert len(load(tmp_path, eval_split="dev").eval) == 1


def test_json_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    rows = [{"tokens": ["Ada", "sang"], "ner_tags": ["B-person", "O"]}, {"tokens": ["rain"], "ner_tags": ["O"]}]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    splits = load(path)
    assert (len(splits.train), len(splits.eval)) == (1, 1)


def test_tags_that_are_ids_keep_the_names_of_the_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["O", "B-LOC", "I-LOC", "B-PER"]
    features = Features({"tokens": Sequence(Value("string")), "ner_tags": Sequence(ClassLabel(names=names))})
    part = Dataset.from_dict({"tokens": [["Ada", "in", "Bonn"]], "ner_tags": [[3, 0, 1]]}, features=features)
    monkeypatch.setitem(SOURCES._items, "toy-tags", lambda: DatasetDict({"train": part, "test": part}))
    splits = load("toy-tags")
    assert splits.labels == tuple(names)
    assert splits.train[0]["tags"] == [3, 0, 1]
    # A model that was trained on other ids keeps its own.
    other = load_data(DataConfig(source="toy-tags"), TAGGED, ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
    assert other.eval[0]["tags"] == [1, 0, 3]
    with pytest.raises(DataError, match=r"row 0: tag 'B-PER' of word 0 is not one of the known tags \['O', 'B-LOC'\]"):
        load_data(DataConfig(source="toy-tags"), TAGGED, ("O", "B-LOC"))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("Ada\tB-person\nsang", r"train.conll, line 2: a word and a tag must stand there, got 'sang'"),
        ("rain\tO\n\nAda\tS-person", r"train.conll, line 3: tag 'S-person' must be O, B-<type> or I-<type>"),
        ("Ada\tperson", r"line 1: tag 'person' must be O, B-<type> or I-<type>"),
        ("rain\tO", r"the tags \['O'\] have no entity"),
        ("-DOCSTART- O\n", "the file has no rows"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, train: str, message: str) -> None:
    write(tmp_path, train=train, test="Ada\tB-person")
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_types_that_are_not_in_the_training_split_are_refused(tmp_path: Path) -> None:
    write(tmp_path, train="Ada\tB-person", test="sang\tO\nBonn\tB-place")
    with pytest.raises(DataError, match=r"test.conll, line 1: tag 'B-place' of word 1 is not one of the known"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, r"line 2: 1 tags \['O'\] for 2 words \['a', 'b'\]"),
        ({"tokens": [], "tags": []}, "line 2: the sentence is empty"),
        ({"tokens": ["a", " "], "tags": ["O", "O"]}, "line 2: word 1 must be a string that is not empty, got ' '"),
        ({"tokens": ["a"], "tags": [4]}, "column mixes kinds|tag 4"),
        ({"tokens": "a b", "tags": ["O", "O"]}, "tokens is 'a b'"),
        ({"tokens": ["a"], "tags": None}, "tags must be a list with one tag a word, got None"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, row: dict, message: str) -> None:
    path = tmp_path / "train.jsonl"
    rows = [{"tokens": ["Ada"], "tags": ["B-person"]}, row, {"tokens": ["Ada"], "tags": ["B-person"]}]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(path)


def test_ids_without_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"tokens": ["Ada"], "tags": [1]}\n' * 3, encoding="utf-8")
    with pytest.raises(DataError, match="tag 1 must be O, B-<type> or I-<type>"):
        load(path)


def test_names_are_complete_and_sorted() -> None:
    assert tag_names(["I-b", "O", "B-a"]) == ("O", "B-a", "I-a", "B-b", "I-b")


def test_entities_are_those_of_seqeval() -> None:
    noise = np.random.default_rng(0)
    for _ in range(300):
        tags = noise.choice(["O", "B-x", "I-x", "B-y", "I-y"], size=noise.integers(1, 12)).tolist()
        expected = seqeval.metrics.sequence_labeling.get_entities(tags)
        assert find_entities(tags) == [(name, first, last + 1) for name, first, last in expected]


@pytest.mark.shared
def test_the_shared_posts_are_read() -> None:
    if not SHARED.is_dir():
        pytest.skip("the shared data lies beside the repository only")
    splits = load(SHARED, eval_split="dev")
    assert (len(splits.train), len(splits.eval), len(splits.labels or ())) == (3394, 1009, 13)
    assert len(load(SHARED).eval) == 645
