"""Rows of data one after the other, of sources that do not fit into memory."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet

from perceivers.data.config import DataConfig
from perceivers.data.opening import from_hub
from perceivers.data.roles import ROLES, DataError
from perceivers.data.tables import json_lines, text_lines

STREAM_SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet", ".txt")
# Rows of a Parquet file that are read at once.
_PARQUET_ROWS = 256

Row = Mapping[str, Any]


def stream_rows(source: str, *, subset: str | None = None, split: str | None = None) -> Iterator[tuple[str, Row]]:
    """Yield name and columns of each row.

    Args:
        source: A table (one of `STREAM_SUFFIXES`; a text file has a row a line, its column is `text`), or a data set of
            the Hub, which is streamed.
        subset: Configuration of a data set of the Hub.
        split: Its split; a table has none.

    Raises:
        DataError: It is neither, the table is broken or of another kind, or the data set has no such split.
    """
    path = Path(source)
    if not path.is_file():
        yield from _from_hub(source, subset, split)
        return
    if path.suffix not in STREAM_SUFFIXES:
        raise DataError(f"{path}: files of kind '{path.suffix}' are not streamed; choices = {list(STREAM_SUFFIXES)}")
    if split is not None or subset is not None:
        raise DataError(f"{path}: a table has no splits and no subsets")
    readers = {".jsonl": json_lines, ".parquet": _parquet, ".txt": _lines}
    for number, row in readers.get(path.suffix, _separated)(path):
        yield f"{path}:{number}", row


def with_roles(row: Row, roles: Sequence[str], source: str, columns: Mapping[str, str]) -> dict[str, Any]:
    """Return what a row has for some roles, under their names; what it has not is left out.

    Args:
        row: Its columns.
        roles: The roles to look for.
        source: Where the row comes from; names of files are meant from there.
        columns: Which column has which role; others are found by name.
    """
    folder = Path(source).parent if Path(source).is_file() else None
    found: dict[str, Any] = {}
    for role in roles:
        names = (columns[role],) if role in columns else ROLES[role].names
        column = next((column for column in names if column in row), None)
        if column is None:
            continue
        value = row[column]
        is_file = ROLES[role].files and isinstance(value, str)
        found[role] = str(folder / value) if is_file and folder is not None else value
    return found


def _separated(path: Path) -> Iterator[tuple[int, Row]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise DataError(f"{path}:{reader.line_num}: the row has not as many values as the header has names")
                yield reader.line_num, row
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: {error}") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: the file is not UTF-8: {error}") from error


def _parquet(path: Path) -> Iterator[tuple[int, Row]]:
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{path}: the file is no Parquet ({error})") from error
    number = 0
    with file:
        for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield number, row


def _lines(path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(text_lines(path), start=1):
        if line.strip():
            yield number, {"text": line}


def _from_hub(source: str, subset: str | None, split: str | None) -> Iterator[tuple[str, Row]]:
    parts = from_hub(DataConfig(source=source, subset=subset), streaming=True)
    if split is None or split not in parts:
        wrong = "" if split is None else f", and '{split}' is none of them"
        raise DataError(f"'{source}' has splits{wrong}; name one with --split: {list(map(str, parts))}")
    for number, row in enumerate(parts[split]):
        yield f"{source}:{number}", row
