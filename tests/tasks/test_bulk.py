import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perceivers.config import override
from perceivers.pretrained.load import seeded_model
from perceivers.tasks import TASKS
from perceivers.tasks.bulk import BulkPlan, answer_parts, read_part
from perceivers.tasks.pipeline import Pipeline
from perceivers.zoo import ZOO
from train_examples import TINY

CONFIG = override(ZOO["text-classifier-small"].config, {**TINY, "inputs.max_length": 16, "queries.num_channels": 16})
INPUTS = [(f"row {i}", "word " * (1 + i * 7 % 5)) for i in range(11)]
PLAN = BulkPlan(source="rows", model="tiny", rows_per_part=4, top_k=1)


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    task = TASKS["text-classification"].fit(CONFIG, ("a", "b"), {})
    return Pipeline(task, seeded_model(task.config, 0))


def test_answers_are_those_of_the_pipeline_in_the_order_of_the_source(pipe: Pipeline, tmp_path: Path) -> None:
    for form in ("jsonl", "parquet"):
        plan = BulkPlan(source="rows", model="tiny", rows_per_part=4, top_k=1, form=form)
        parts = list(answer_parts(pipe, INPUTS, tmp_path / form, plan, batch_size=3))
        assert [part.path.name for part in parts] == [f"part-0000{i}.{form}" for i in range(3)]
        assert [(part.num_rows, part.num_errors, part.is_new) for part in parts] == [
            (4, 0, True),
            (4, 0, True),
            (3, 0, True),
        ]
        rows = [row for part in parts for row in read_part(part.path)]
        assert [row["index"] for row in rows] == list(range(11))
        assert [row["input"] for row in rows] == [name for name, _ in INPUTS]
        for row, (_, text) in zip(rows, INPUTS, strict=True):
            (expected,) = pipe(text, top_k=1)
            (found,) = row["result"]
            assert found["label"] == expected["label"]
            assert found["score"] == pytest.approx(expected["score"], abs=1e-6)


def test_a_job_that_was_cut_short_goes_on(pipe: Pipeline, tmp_path: Path) -> None:
    def cut_short() -> Iterator[tuple[str, Any]]:
        yield from INPUTS[:7]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(answer_parts(pipe, cut_short(), tmp_path / "cut", PLAN))
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == ["part-00000.jsonl", "plan.json"]
    parts = list(answer_parts(pipe, INPUTS, tmp_path / "cut", PLAN))
    assert [part.is_new for part in parts] == [False, True, True]
    list(answer_parts(pipe, INPUTS, tmp_path / "whole", PLAN))
    for part in parts:
        assert part.path.read_bytes() == (tmp_path / "whole" / part.path.name).read_bytes()


def test_shards_write_every_so_manieth_file(pipe: Pipeline, tmp_path: Path) -> None:
    names = [[part.path.name for part in answer_parts(pipe, INPUTS, tmp_path, PLAN, shard=(i, 2))] for i in (0, 1)]
    assert names == [["part-00000.jsonl", "part-00002.jsonl"], ["part-00001.jsonl"]]
    with pytest.raises(ValueError, match="shard 2 of 2: the number must be"):
        list(answer_parts(pipe, INPUTS, tmp_path, PLAN, shard=(2, 2)))


def test_only_one_files_inputs_are_held(pipe: Pipeline, tmp_path: Path) -> None:
    taken = 0

    def counted() -> Iterator[tuple[str, Any]]:
        nonlocal taken
        for item in INPUTS:
            taken += 1
            yield item

    parts = answer_parts(pipe, counted(), tmp_path, PLAN)
    next(parts)
    assert taken == 4


def test_inputs_that_cannot_be_read_are_written_with_the_reason(pipe: Pipeline, tmp_path: Path) -> None:
    (part,) = answer_parts(pipe, [("good", "hello"), ("bad", ""), ("also good", "bye")], tmp_path, PLAN)
    assert (part.num_rows, part.num_errors) == (3, 1)
    rows = read_part(part.path)
    assert [row["result"] is None for row in rows] == [False, True, False]
    assert "empty" in rows[1]["error"]


def test_line_separators_inside_of_a_text_end_no_row(pipe: Pipeline, tmp_path: Path) -> None:
    inputs = [("one\u2028two\x85three", "hello"), ("next", "bye")]
    (part,) = answer_parts(pipe, inputs, tmp_path, PLAN)
    assert [row["input"] for row in read_part(part.path)] == [name for name, _ in inputs]


def test_another_job_is_refused(pipe: Pipeline, tmp_path: Path) -> None:
    list(answer_parts(pipe, INPUTS, tmp_path, PLAN))
    other = BulkPlan(source="rows", model="tiny", rows_per_part=5, top_k=1)
    with pytest.raises(ValueError, match=r"answers of another job, with \{'rows_per_part': 4\} instead of"):
        list(answer_parts(pipe, INPUTS, tmp_path, other))
    assert json.loads((tmp_path / "plan.json").read_text())["rows_per_part"] == 4
    with pytest.raises(ValueError, match=r"rows_per_part \(0\) must be at least 1"):
        BulkPlan(source="rows", model="tiny", rows_per_part=0)
