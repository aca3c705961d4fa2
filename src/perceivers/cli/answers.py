"""The work of `perceivers predict`: read, answer in batches, print and draw."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from perceivers.cli import show
from perceivers.cli.models import open_model
from perceivers.data import predict_inputs
from perceivers.tasks import Result
from perceivers.tasks.pipeline import Pipeline

# What an input that cannot be read raises; anything else is a fault of ours and keeps its traceback.
_UNREADABLE = (ValueError, OSError)


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """What `perceivers predict` was asked.

    Args:
        model: Folder of the model.
        inputs: Files, folders, text, or "-" for the lines of stdin.
        task: The task that the model must have been trained for.
        top_k: How many candidates to print.
        picture: Folder for pictures.
        batch_size: Inputs a batch.
        device: Where to run.
        as_json: Print JSON lines.
    """

    model: Path
    inputs: tuple[str, ...]
    task: str | None
    top_k: int
    picture: Path | None
    batch_size: int
    device: str
    as_json: bool


@dataclass
class Problems:
    """The inputs that could not be read, reported as they come."""

    names: list[str] = field(default_factory=list)

    def add(self, name: str, error: Exception) -> None:
        """Report one."""
        self.names.append(name)
        show.error_line(str(error) if name and name in str(error) else f"{name!r}: {error}")


def predict_model(request: PredictRequest) -> int:
    """Answer all inputs that can be read.

    Returns:
        How many could not.

    Raises:
        ValueError: The model cannot be loaded, or was trained for another task.
    """
    pipe = open_model(request.model, request.task, request.device)
    problems = Problems()
    rows: list[list[str]] = []
    values = _values(request.inputs, pipe.task.input_role, problems)
    pictures = None if request.picture is None else Pictures(request.picture)
    while batch := list(islice(values, request.batch_size)):
        for name, value, result in _answer(pipe, batch, request.top_k, problems):
            if request.as_json:
                show.json_line({"input": name, "result": result})
            else:
                rows.append([name, show.result_lines(result)])
            if pictures is not None:
                pictures.save(name, pipe.task.picture(value, result))
    if rows:
        show.table(["input", "answers"], rows)
    return len(problems.names)


class Pictures:
    """Pictures in a folder, each under a name of its own.

    Args:
        folder: Made when absent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._taken: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, name: str, picture: Any) -> Path:
        """Write the picture of the input called `name` as PNG."""
        # `isfile`, not `Path.is_file`: a long text is no file rather than an error.
        words = Path(name).stem if os.path.isfile(name) else name
        base = re.sub(r"\W+", "-", words[:40]).strip("-") or "input"
        unique, number = base, 1
        while unique in self._taken:
            number += 1
            unique = f"{base}-{number}"
        self._taken.add(unique)
        path = self.folder / f"{unique}.png"
        picture.save(path)
        return path


def _values(inputs: tuple[str, ...], role: str, problems: Problems) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each input; an argument that gives none is a problem of its own."""
    for argument in inputs:
        try:
            yield from predict_inputs([argument], role)
        except _UNREADABLE as error:
            problems.add(argument, error)


def _answer(
    pipe: Pipeline, batch: list[tuple[str, Any]], top_k: int, problems: Problems
) -> Iterator[tuple[str, Any, Result]]:
    """Yield name, value and answer; when a batch fails, each of its inputs is tried on its own."""
    try:
        results = pipe.predict([value for _, value in batch], top_k=top_k)
    except _UNREADABLE as error:
        if len(batch) == 1:
            problems.add(batch[0][0], error)
            return
        for single in batch:
            yield from _answer(pipe, [single], top_k, problems)
        return
    for (name, value), result in zip(batch, results, strict=True):
        yield name, value, result
