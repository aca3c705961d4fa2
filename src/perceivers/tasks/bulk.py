"""Answers to more inputs than fit into memory, in files that appear whole: a job can be cut short and go on."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow
import pyarrow.parquet

from perceivers.data.tables import json_lines
from perceivers.processing.files import whole_file, write_whole
from perceivers.tasks.pipeline import Pipeline

PLAN_FILE = "plan.json"
_SCHEMA = pyarrow.schema(
    [
        ("index", pyarrow.int64()),
        ("input", pyarrow.string()),
        ("result", pyarrow.string()),
        ("error", pyarrow.string()),
    ]
)
# What an input that cannot be read raises; anything else is a fault of ours.
_UNREADABLE = (ValueError, OSError)

Answer = Mapping[str, Any]
Named = tuple[str, Any]


@dataclass(frozen=True, kw_only=True)
class BulkPlan:
    """How the answers to one source are cut up; recorded beside them, so that a job goes on as it began.

    Args:
        source: What is read, in words.
        model: What answers, in words.
        rows_per_part: Inputs a file.
        form: Kind of the files.
        top_k: Candidates an input.
    """

    source: str
    model: str
    rows_per_part: int = 1000
    form: Literal["jsonl", "parquet"] = "jsonl"
    top_k: int = 5

    def __post_init__(self) -> None:
        if self.rows_per_part < 1:
            raise ValueError(f"rows_per_part ({self.rows_per_part}) must be at least 1")


@dataclass(frozen=True)
class Part:
    """One file of answers.

    Args:
        path: The file.
        num_rows: How many inputs it answers.
        num_errors: How many of them could not be read.
        is_new: Whether it was written now, or before.
    """

    path: Path
    num_rows: int
    num_errors: int
    is_new: bool


def answer_parts(
    pipe: Pipeline,
    inputs: Iterable[Named],
    folder: str | Path,
    plan: BulkPlan,
    *,
    shard: tuple[int, int] = (0, 1),
    batch_size: int | None = None,
) -> Iterator[Part]:
    """Answer inputs, and write so many to each file of a folder; files that are there already are kept.

    Each row has `index` (number of the input in the source), `input` (its name), `result` (as the task's `summary`, in
    Parquet as JSON) and `error` (why there is no result). Only one file's inputs are held at a time; within it they
    are answered in the order of their length, so that little is padded, and written in their own.

    Args:
        pipe: Answers.
        inputs: Name and value of each, in the same order each time.
        folder: Where the files lie; made when absent.
        plan: How the answers are cut up.
        shard: Number of this process and how many there are: each writes every so-manieth file.
        batch_size: Inputs a batch; `None` leaves it to the task.

    Raises:
        ValueError: The folder holds answers of another plan, or there is no such shard.
    """
    folder = Path(folder)
    _begin(folder, plan)
    number, count = shard
    if not 0 <= number < count:
        raise ValueError(f"shard {number} of {count}: the number must be at least 0 and less than the count")
    rows = iter(inputs)
    part = 0
    while batch := list(islice(rows, plan.rows_per_part)):
        if part % count == number:
            path = folder / f"part-{part:05d}.{plan.form}"
            is_new = not path.is_file()
            if is_new:
                answers = _answers(pipe, batch, plan, batch_size)
                _write(path, [{"index": part * plan.rows_per_part + i, **row} for i, row in enumerate(answers)])
            written = read_part(path)
            yield Part(path, len(written), sum(row["error"] is not None for row in written), is_new)
        part += 1


def read_part(path: str | Path) -> list[dict[str, Any]]:
    """Return the rows of one file, their results as they were before they were written."""
    path = Path(path)
    if path.suffix == ".jsonl":
        return [row for _, row in json_lines(path)]
    rows = pyarrow.parquet.read_table(path).to_pylist()
    return [{**row, "result": None if row["result"] is None else json.loads(row["result"])} for row in rows]


def _begin(folder: Path, plan: BulkPlan) -> None:
    record = folder / PLAN_FILE
    wanted = vars(plan)
    if record.is_file():
        found = json.loads(record.read_text(encoding="utf-8"))
        different = {name: found.get(name) for name, value in wanted.items() if found.get(name) != value}
        if different:
            raise ValueError(
                f"{folder} holds answers of another job, with {different} instead of "
                f"{ {name: wanted[name] for name in different} }; go on as it began, or name another folder"
            )
        return
    write_whole(record, json.dumps(wanted, indent=2) + "\n")


def _answers(pipe: Pipeline, batch: Sequence[Named], plan: BulkPlan, batch_size: int | None) -> list[Answer]:
    """Return what is written of each input, in their order."""
    size = batch_size or pipe.task.batch_size
    order = sorted(range(len(batch)), key=lambda i: len(batch[i][1]) if isinstance(batch[i][1], str) else 0)
    rows: dict[int, Answer] = {}
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        for i, row in zip(chosen, _try([batch[i] for i in chosen], pipe, plan.top_k), strict=True):
            rows[i] = row
    return [rows[i] for i in range(len(batch))]


def _try(batch: Sequence[Named], pipe: Pipeline, top_k: int) -> list[Answer]:
    """Answer a batch; when it fails, each of its inputs on its own."""
    try:
        results = pipe.predict([value for _, value in batch], top_k=top_k)
    except _UNREADABLE as error:
        if len(batch) == 1:
            return [{"input": batch[0][0], "result": None, "error": str(error)}]
        return [row for single in batch for row in _try([single], pipe, top_k)]
    return [
        {"input": name, "result": pipe.task.summary(result), "error": None}
        for (name, _), result in zip(batch, results, strict=True)
    ]


def _write(path: Path, rows: Sequence[Answer]) -> None:
    if path.suffix == ".jsonl":
        write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return
    flat = [{**row, "result": None if row["result"] is None else json.dumps(row["result"])} for row in rows]
    with whole_file(path) as partial:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(flat, schema=_SCHEMA), partial)
