import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict

from perceivers.data import SOURCES, DataConfig, DataError, Splits, load_data
from perceivers.data.answers import read_answers

ASKED = ("question", "context", "answers")
SHARED = Path(__file__).parents[3] / "shared/data/question_answering/squad"
CONTEXT = "Ada Lovelace était née à Londres."


def load(source: Path | str, **changes: Any) -> Splits:
    return load_data(DataConfig(source=str(source), **changes), ASKED)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def paragraph(title: str = "Ada", key: str = "start", **question: Any) -> dict[str, Any]:
    answers = [{"text": "Londres", key: 25}, {"text": "à Londres", key: 23}]
    qas = [{"id": "q1", "question": "Where?", "answers": answers, **question}]
    return {"title": title, "context": CONTEXT, "qas": qas}


def test_paragraphs_become_questions(tmp_path: Path) -> None:
    nobody = {"id": "q2", "question": "Who died?", "answers": [], "is_impossible": True}
    first = paragraph()
    write(tmp_path / "train.jsonl", [{**first, "qas": [*first["qas"], nobody]}, paragraph(key="answer_start")])
    write(tmp_path / "eval.jsonl", [paragraph()])
    splits = load(tmp_path)
    assert (len(splits.train), len(splits.eval)) == (3, 1)
    assert [row["question"] for row in splits.train] == ["Where?", "Who died?", "Where?"]
    assert [read_answers(row["answers"]) for row in splits.train] == [
        [("Londres", 25), ("à Londres", 23)],
        [],
        [("Londres", 25), ("à Londres", 23)],
    ]
    assert {row["context"] for row in splits.train} == {CONTEXT}


def test_the_files_of_the_task_are_read(tmp_path: Path) -> None:
    article = {"title": "Ada", "paragraphs": [{key: paragraph()[key] for key in ("context", "qas")}] * 2}
    for name in ("train", "dev"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"version": "v2.0", "data": [article]}), encoding="utf-8")
    splits = load(tmp_path)
    assert (len(splits.train), len(splits.eval)) == (2, 2)


def test_articles_are_held_out_as_wholes(tmp_path: Path) -> None:
    rows = [paragraph(title=f"article {i % 5}") for i in range(40)]
    for i, row in enumerate(rows):
        row["context"] = CONTEXT + f" {i % 5}"
    splits = load(write(tmp_path / "all.jsonl", rows))
    assert (len(splits.train), len(splits.eval)) == (32, 8)
    assert not {row["context"] for row in splits.train} & {row["context"] for row in splits.eval}


def test_rows_of_the_hub_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"id": "q7", "title": "Ada", "context": CONTEXT, "question": "Where?"}
    good = {**row, "answers": {"text": ["Londres"], "answer_start": [25]}}
    bad = {**row, "answers": {"text": ["Londres"], "answer_start": [24]}}

    def source(rows: list[dict[str, Any]]) -> DatasetDict:
        return DatasetDict({"train": Dataset.from_list(rows), "validation": Dataset.from_list([good])})

    monkeypatch.setitem(SOURCES._items, "toy-squad", lambda: source([good, good]))
    assert read_answers(load("toy-squad").train[0]["answers"]) == [("Londres", 25)]
    monkeypatch.setitem(SOURCES._items, "toy-squad", lambda: source([good, bad]))
    message = r"row 1, question 'q7': the answer 'Londres' does not stand at character 24 .* there is ' Londre'"
    with pytest.raises(DataError, match=message):
        load("toy-squad")


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"answers": [{"text": "Paris", "start": 25}]}, r"'q1': the answer 'Paris' does not stand at character 25"),
        ({"answers": [{"text": "Ada", "start": -1}]}, r"'q1': the answer 'Ada' does not stand at character -1"),
        ({"answers": [{"text": "", "start": 0}]}, r"'q1': answers must be texts, not empty"),
        ({"answers": [{"text": "Ada"}]}, r"'q1': answers must be texts, not empty"),
        ({"answers": "Ada"}, r"'q1': answers must be texts, not empty"),
        ({"question": " "}, r"'q1': text is empty"),
    ],
)
def test_bad_questions_are_refused_by_name(tmp_path: Path, question: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=r"train.jsonl, line 1, question " + message):
        load(write(tmp_path / "train.jsonl", [paragraph(**question)]))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"context": CONTEXT, "qas": None}, "a paragraph must have a context and a list of questions"),
        ({"context": CONTEXT, "qas": [{"question": "Where?"}]}, "entry 0 of qas must have a question and answers"),
        ({"context": None, "qas": []}, "a paragraph must have a context and a list of questions"),
        ({"context": CONTEXT, "question": "Where?"}, "no column for 'answers'"),
    ],
)
def test_bad_paragraphs_are_refused(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(write(tmp_path / "train.jsonl", [row]))


@pytest.mark.parametrize("value", [None, "text", {"text": "Ada"}, {"text": ["Ada"], "answer_start": []}, [3]])
def test_other_forms_of_answers_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="answers must be texts, not empty"):
        read_answers(value)


@pytest.mark.shared
def test_the_shared_questions_are_read() -> None:
    if not SHARED.is_dir():
        pytest.skip("the shared data lies beside the repository only")
    splits = load(SHARED)
    assert (len(splits.train), len(splits.eval)) == (2930, 542)
