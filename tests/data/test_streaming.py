"""Streams: rows that are never all held."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, IterableDatasetDict
from datasets import Image as ImageFeature
from PIL import Image

from perceivers.data import DataConfig, DataError, Splits, load_data
from perceivers.data.stream import Stream

TEXT_LABEL = ("text", "label")
LABELS = ("bad", "good")


def write_shards(folder: Path, num_shards: int = 2, rows_each: int = 10) -> Path:
    folder.mkdir(exist_ok=True)
    for shard in range(num_shards):
        rows = [{"text": f"text {shard} {i}", "label": LABELS[i % 2]} for i in range(rows_each)]
        name = f"train-{shard:05}-of-{num_shards:05}.jsonl"
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "test.jsonl").write_text('{"text": "a", "label": "bad"}\n{"text": "b", "label": "good"}\n')
    return folder


def load(source: Path | str, roles: tuple[str, ...] = TEXT_LABEL, **fields: Any) -> Splits:
    return load_data(DataConfig(source=str(source), streaming=True, **{"labels": LABELS, **fields}), roles)


def stream_of(splits: Splits) -> Stream:
    assert isinstance(splits.train, Stream)
    return splits.train


def texts(splits: Splits, **place: int) -> list[str]:
    """Return the texts of one pass, in their order."""
    return [text for block in stream_of(splits).blocks(**{"seed": 0, "epoch": 0, **place}) for text in block["text"]]


def test_a_pass_has_each_row_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    splits = load(write_shards(tmp_path))
    first, again, second, other = (texts(splits, **place) for place in ({}, {}, {"epoch": 1}, {"seed": 1}))
    expected = [f"text {shard} {i}" for shard in range(2) for i in range(10)]
    assert sorted(first) == sorted(second) == sorted(other) == expected
    assert first == again
    assert len({tuple(order) for order in (first, second, other, expected)}) == 4
    assert splits.eval["text"][:] == ["a", "b"]
    assert splits.labels == LABELS
    assert "a stream of training" in splits.description
    assert not splits.held_out


def test_rows_come_with_ids_under_the_names_of_their_roles(tmp_path: Path) -> None:
    (block,) = stream_of(load(write_shards(tmp_path, 1))).blocks(0, 0)
    assert block.column_names == ["text", "label"]
    assert all(row["label"] == int(row["text"][-1]) % 2 for row in block)


@pytest.mark.parametrize("num_shards", [2, 3])
def test_processes_share_the_rows(tmp_path: Path, num_shards: int) -> None:
    """Two have a file each; three files cannot be shared evenly, so that each takes every second row."""
    splits = load(write_shards(tmp_path, num_shards))
    ours, theirs = (texts(splits, rank=rank, world_size=2) for rank in (0, 1))
    assert len(ours) == len(theirs) == 5 * num_shards
    assert sorted(ours + theirs) == sorted(texts(splits))
    assert len({text.split()[1] for text in ours}) == (1 if num_shards == 2 else 3)


def test_only_a_part_is_read_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"text": f"t{i}", "label": "bad"}) + "\n" for i in range(3000)))
    (tmp_path / "test.jsonl").write_text('{"text": "a", "label": "bad"}\n')
    read = 0

    def counted(source: str) -> Iterator[tuple[str, dict[str, str]]]:
        nonlocal read
        for number, line in enumerate(Path(source).read_text().splitlines()):
            read += 1
            yield f"{source}:{number}", json.loads(line)

    monkeypatch.setattr("perceivers.data.streaming.stream_rows", counted)
    stream = stream_of(load(tmp_path, shuffle_buffer=100))
    assert read < 300  # The first rows, for the names of the columns.
    read = 0
    block = next(iter(stream.blocks(0, 0)))
    assert len(block) == 256
    assert read <= 256 + 100 + 1


def test_limit_holds_for_both_splits(tmp_path: Path) -> None:
    splits = load(write_shards(tmp_path), limit=1)
    assert len(texts(splits)) == 1
    assert len(splits.eval) == 1


def test_other_data_to_evaluate_on(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "data", 1)
    other = tmp_path / "other.csv"
    other.write_text("review,stars\nfine,good\n")
    evaluation = DataConfig(source=str(other), columns={"text": "review", "label": "stars"})
    splits = load(folder / "train-00000-of-00001.jsonl", evaluation=evaluation)
    assert splits.eval["text"][:] == ["fine"]
    assert len(texts(splits)) == 10


def hub(monkeypatch: pytest.MonkeyPatch, part: Dataset) -> None:
    """Let any name of the Hub be these rows."""
    whole = DatasetDict({"train": part, "validation": part.select([0])})
    streams = IterableDatasetDict({name: rows.to_iterable_dataset(num_shards=1) for name, rows in whole.items()})
    monkeypatch.setattr("perceivers.data.opening._see_hub", lambda name: None)
    monkeypatch.setattr(
        "perceivers.data.opening.load_dataset", lambda name, subset, streaming: streams if streaming else whole
    )


def test_the_hub_declares_labels_and_images_are_read_when_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    features = Features({"img": ImageFeature(), "label": ClassLabel(names=["n", "p"])})
    images = [Image.fromarray(np.full((4, 5), i, np.uint8)) for i in range(6)]
    hub(monkeypatch, Dataset.from_dict({"img": images, "label": [0, 1] * 3}, features=features))
    splits = load("someone/pictures", ("image", "label"), labels=None)
    assert splits.labels == ("n", "p")
    (block,) = stream_of(splits).blocks(0, 0)
    assert sorted(np.asarray(image).max() for image in block["image"]) == list(range(6))
    assert {int(np.asarray(row["image"]).max()) % 2 == row["label"] for row in block} == {True}
    assert splits.eval[0]["image"].size == (5, 4)


def test_questions_of_a_paragraph_are_rows(tmp_path: Path) -> None:
    answers = [{"text": "b", "start": 2}]
    questions = [{"question": f"which {i}?", "id": str(i), "answers": answers} for i in range(3)]
    line = json.dumps({"title": "letters", "context": "a b c", "qas": questions}) + "\n"
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text(line)
    splits = load(tmp_path, ("question", "context", "answers"), labels=None)
    (block,) = stream_of(splits).blocks(0, 0)
    assert sorted(block["question"]) == ["which 0?", "which 1?", "which 2?"]


def refused(source: Path | str, *words: str, **fields: Any) -> None:
    with pytest.raises(DataError) as error:
        list(stream_of(load(source, **fields)).blocks(0, 0))
    for word in words:
        assert word in str(error.value)


def test_a_bad_row_is_named_when_it_comes(tmp_path: Path) -> None:
    folder = write_shards(tmp_path, 1)
    path = folder / "train-00000-of-00001.jsonl"
    lines = path.read_text().splitlines()
    lines += [json.dumps({"text": "fine", "label": "good"})] * 256 + [json.dumps({"text": "  ", "label": "good"})]
    path.write_text("\n".join(lines))
    refused(folder, f"{path}:267", "text is empty")


def test_labels_must_be_known(tmp_path: Path) -> None:
    folder = write_shards(tmp_path)
    refused(folder, "data.labels", labels=None)
    refused(folder, "'bad'", "['good', 'fair']", labels=("good", "fair"))


def test_sources_that_are_no_streams(tmp_path: Path) -> None:
    refused("digits", "'digits'", "made here")
    refused(tmp_path, "train.jsonl", "names alone")
    table = tmp_path / "all.conll"
    table.write_text("a O\n")
    refused(table, ".conll", ".parquet")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a", "label": "bad"}\n')
    refused(rows, "--eval-data")


def test_what_needs_all_rows_says_so(tmp_path: Path) -> None:
    splits = load(write_shards(tmp_path))
    with pytest.raises(DataError, match="stream"):
        _ = splits.rows
    assert load_data(DataConfig(source="digits"), ("image", "label")).rows.num_rows == 1437


def test_labels_of_the_hub_that_are_mere_texts_must_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, Dataset.from_dict({"text": ["a", "b"], "label": ["bad", "good"]}))
    refused("someone/texts", "data.labels", labels=None)
    assert sorted(texts(load("someone/texts"))) == ["a", "b"]
