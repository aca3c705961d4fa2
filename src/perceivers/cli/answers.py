"""The work of `perceivers predict`: read, answer in batches, print, draw and write."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from perceivers.cli import show
from perceivers.cli.models import ModelRequest, open_model
from perceivers.data.inputs import JOINED_ROLES, predict_inputs
from perceivers.processing.files import write_picture
from perceivers.tasks import Result
from perceivers.tasks.pipeline import Pipeline
from perceivers.train.recipe import parse_yaml

# What an input that cannot be read raises; anything else is a fault of ours and keeps its traceback.
_UNREADABLE = (ValueError, OSError)


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """What `perceivers predict` was asked.

    Args:
        model: The model and its task.
        inputs: Files, folders, text, or "-" for the lines of stdin.
        beside: What goes beside each input by name, e.g. `hide: word`: text, or YAML of a list or mapping.
        top_k: How many candidates to print.
        picture: Folder for a picture of each input with its answer.
        output: Folder for all files that show the answers; features also go into a `.npy` or `.parquet` file.
        attention: Folder for pictures of where the answers come from.
        pool: Take the mean of features over latents and pieces: (D,) instead of (P, N, D).
        batch_size: Inputs a batch; `None` leaves it to the task.
        as_json: Print JSON lines.
    """

    model: ModelRequest
    inputs: tuple[str, ...]
    beside: Mapping[str, str]
    top_k: int
    picture: Path | None
    output: Path | None
    attention: Path | None
    pool: bool
    batch_size: int | None
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
        ValueError: The model cannot be loaded, or was trained for another task, or features were asked for.
    """
    if request.pool:
        raise ValueError("--pool is for features: perceivers predict features INPUT... --model MODEL")
    pipe = open_model(request.model)
    show.err().print(f"model   {pipe.origin}", markup=False)
    problems = Problems()
    written = _Written(pipe, request)
    values = named_inputs(request.inputs, request.beside, pipe.task.input_role, problems)
    while batch := list(islice(values, request.batch_size or pipe.task.batch_size)):
        for name, value, result in _answer(pipe, batch, request.top_k, problems):
            summary = pipe.task.summary(result)
            if request.as_json:
                show.json_line({"input": name, "result": summary})
            else:
                show.answer(name, show.result_lines(summary).splitlines())
            written.save(name, value, result)
    return len(problems.names)


class _Written:
    """What is written of each answer, under a name of its own.

    Args:
        pipe: Gave the answers.
        request: Says which folders are wanted; they are made when absent.
    """

    def __init__(self, pipe: Pipeline, request: PredictRequest) -> None:
        self.pipe = pipe
        self.request = request
        self._names = Names()
        for folder in (request.picture, request.output, request.attention):
            if folder is not None:
                make_folder(folder)

    def save(self, name: str, value: Any, result: Result) -> None:
        """Write what is wanted of the answer to the input called `name`."""
        task, request = self.pipe.task, self.request
        base = self._names.file_name(name)
        if request.picture is not None:
            write_picture(request.picture / f"{base}.png", task.picture(value, result))
        if request.output is not None:
            task.save(value, result, request.output, base)
        if request.attention is not None:
            pictures = self.pipe.attention(value)
            for i, picture in enumerate(pictures, start=1):
                # Numbers of one width, so that a listing has them in order.
                number = f"-{i:0{len(str(len(pictures)))}}" if len(pictures) > 1 else ""
                write_picture(request.attention / f"{base}{number}.attention.png", picture)


def make_folder(folder: Path) -> None:
    """Make a folder for what is written, unless it is there.

    Raises:
        ValueError: A file is in the way.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(f"'{folder}' cannot be made a folder: a file is in the way") from error


class Names:
    """Gives each input a file name of its own, without ending."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def file_name(self, name: str) -> str:
        """Return the name for the input called `name`."""
        # `isfile`, not `Path.is_file`: a long text is no file rather than an error.
        words = Path(name).stem if os.path.isfile(name) else name
        base = re.sub(r"\W+", "-", words[:40]).strip("-") or "input"
        unique, number = base, 1
        while unique in self._taken:
            number += 1
            unique = f"{base}-{number}"
        self._taken.add(unique)
        return unique


def named_inputs(
    inputs: tuple[str, ...], beside: Mapping[str, str], role: str, problems: Problems
) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each input; one that cannot be read is a problem of its own.

    Args:
        inputs: What the user named.
        beside: What goes beside each input by name: text, or YAML of a list or mapping.
        role: What the task reads.
        problems: Takes what cannot be read.
    """
    more = {name: _beside(name, text) for name, text in beside.items()}
    for arguments in [inputs] if role in JOINED_ROLES else [(argument,) for argument in inputs]:
        try:
            for name, value in predict_inputs(arguments, role):
                yield name, {**(value if isinstance(value, Mapping) else {role: value}), **more} if more else value
        except _UNREADABLE as error:
            problems.add(arguments[0], error)


def _beside(name: str, text: str) -> Any:
    """Read lists and mappings as YAML; anything else is the text itself, so that `hide=5` hides what was typed."""
    return parse_yaml(text, f"--with {name}") if text.lstrip().startswith(("[", "{")) else text


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
