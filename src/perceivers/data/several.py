"""Several data sets of text as one: a task each, whose name stands in every row and before every label."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets import Dataset, Features, Value

from perceivers.data.named import COLLECTIONS
from perceivers.data.roles import DataError
from perceivers.data.tables import TABLE_SUFFIXES

# The label of a task whose answer is a number.
SCORE = "score"
_NAMED_SOURCE = re.compile(r"(?:([\w.-]+)=)?(.+)")


def part_sources(source: str) -> dict[str, str]:
    """Return the data sets that `source` stands for, by the names of their tasks.

    - A folder of folders, and of no tables: each of these is a data set.
    - The name of a collection, such as "glue".
    - Several sources with commas between them, each named by what stands before `=`, or else by its last part:
      "spam=path/to/messages.csv,glue/sst2".
    - Anything else is a single data set.

    Raises:
        DataError: Two of them have the same name.
    """
    path = Path(source)
    if path.is_dir() and not any(file.suffix in TABLE_SUFFIXES for file in path.iterdir() if file.is_file()):
        folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
        if folders:
            return {folder.name: str(folder) for folder in folders}
    found: dict[str, str] = {}
    for name, part in _named(source):
        if name in found:
            raise DataError(f"{source}: two data sets are called '{name}'; name them as NAME=SOURCE,NAME=SOURCE")
        found[name] = part
    return found


def public_name(source: str) -> str:
    """Return the name of data without the folders that it lies in."""
    if Path(source).exists():
        return Path(source).name
    parts = [part.rpartition("=")[2] for part in source.split(",")]
    return ",".join(Path(part).name if Path(part).exists() else part for part in parts)


def columns_by_task(columns: Mapping[str, str], name: str, names: Sequence[str]) -> dict[str, str]:
    """Return which column has which role in one of several data sets.

    Args:
        columns: A column by its role, for all of them, or by `NAME.ROLE` for one.
        name: The data set.
        names: All data sets.

    Raises:
        DataError: One is named that is not there.
    """
    own: dict[str, str] = {}
    for key, column in columns.items():
        part, dot, role = key.rpartition(".")
        if dot and part not in names:
            raise DataError(f"column {key}={column}: there is no data set '{part}'; data sets = {list(names)}")
        if part in ("", name):
            own[role] = column
    return own


def task_labels(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the labels of each task, from labels that have the name of their task and `/` before them."""
    found: dict[str, tuple[str, ...]] = {}
    for label in labels:
        task, slash, name = label.partition("/")
        if not slash:
            raise ValueError(f"label {label!r} must have the name of its task before it, as in 'sms_spam/ham'")
        found[task] = (*found.get(task, ()), name)
    return found


def join_parts(parts: Mapping[str, Dataset]) -> Dataset:
    """Put the rows of several data sets one after the other.

    Args:
        parts: A data set for each task, with the columns `text`, `label` (an id) or `score`, and perhaps `text_pair`.

    Returns:
        `task`; `text`; `text_pair`, `None` in the rows of tasks without, where any task has it; and `label`, the id of
        the label among those of its task, or the score.
    """
    pairs = any("text_pair" in part.column_names for part in parts.values())
    names = ("task", "text", *(("text_pair",) if pairs else ()))
    features = Features({name: Value("string") for name in names} | {"label": Value("float64")})
    columns: dict[str, list[object]] = {name: [] for name in features}
    for name, part in parts.items():
        columns["task"] += [name] * len(part)
        columns["text"] += part["text"][:]
        columns["label"] += map(float, part[SCORE if SCORE in part.column_names else "label"][:])
        if pairs:
            columns["text_pair"] += part["text_pair"][:] if "text_pair" in part.column_names else [None] * len(part)
    return Dataset.from_dict(columns, features=features)


def _named(source: str) -> list[tuple[str, str]]:
    if Path(source).exists():
        return [(Path(source).stem, source)]
    found: list[tuple[str, str]] = []
    for piece in source.split(","):
        match = _NAMED_SOURCE.fullmatch(piece.strip())
        if match is None:
            raise DataError(f"'{source}' has an empty name of a data set")
        name, part = match.groups()
        members = COLLECTIONS.get(part, (part,)) if name is None else (part,)
        found += [(name or Path(member).stem, member) for member in members]
    return found
