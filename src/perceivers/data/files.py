"""Readers of single data files: CSV, TSV, JSON (lines), Parquet and plain text."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow
from pyarrow import parquet

from perceivers.data.errors import DataError, listed
from perceivers.data.roles import Reading, read_text
from perceivers.data.table import Table, table_from_cells, table_from_dataset
from perceivers.registry import Registry

Reader = Callable[[Path, Reading], Table]

# Suffix -> reader; a new file format is one decorated function.
READERS: Registry[Reader] = Registry("file type")

# The csv module refuses cells of more than 131,072 characters unless told otherwise.
_LONGEST_CELL = 2**31 - 1


def read_file(path: Path, reading: Reading) -> Table:
    """Read the role columns of a data file.

    Raises:
        DataError: The file type is unknown, the file is broken or empty, or a column is missing.
    """
    if path.suffix.lower() not in READERS:
        raise DataError(f"{path}: file type '{path.suffix}' not known; choices = {list(READERS)}")
    return READERS[path.suffix.lower()](path, reading)


@READERS.register(".csv")
def read_csv(path: Path, reading: Reading) -> Table:
    """Read comma-separated values with a header line."""
    return _read_separated(path, reading, ",")


@READERS.register(".tsv")
def read_tsv(path: Path, reading: Reading) -> Table:
    """Read tab-separated values with a header line; quotes mean the same as in CSV."""
    return _read_separated(path, reading, "\t")


@READERS.register(".jsonl")
def read_json_lines(path: Path, reading: Reading) -> Table:
    """Read one JSON object a line."""
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            rows.append(_json_object(_parse_json(line, f"{path}, line {number}"), f"{path}, line {number}"))
            numbers.append(number)
    return _table_from_objects(path, reading, rows, lambda i: f"{path}, line {numbers[i]}")


@READERS.register(".json")
def read_json(path: Path, reading: Reading) -> Table:
    """Read a JSON list of objects, or one object a line."""
    text = read_text(path)
    if not text.lstrip().startswith("["):
        return read_json_lines(path, reading)
    items = _parse_json(text, str(path))
    rows = [_json_object(item, f"{path}, item {i}") for i, item in enumerate(items, 1)]
    return _table_from_objects(path, reading, rows, lambda i: f"{path}, item {i + 1}")


@READERS.register(".parquet")
def read_parquet(path: Path, reading: Reading) -> Table:
    """Read a Parquet file."""
    try:
        rows = datasets.Dataset(parquet.read_table(path))
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a Parquet file that can be read ({error})") from error
    return table_from_dataset(rows, reading, str(path))


@READERS.register(".txt")
def read_plain_text(path: Path, reading: Reading) -> Table:
    """Read a text as consecutive examples; joined by line ends they give the text again."""
    if reading.roles != ("text",):
        raise DataError(
            f"{path}: a .txt file holds text only, not {listed(reading.roles)}; choices = .csv, .tsv, .jsonl, .parquet"
        )
    pieces = cut_text(read_text(path), reading.text_chunk_chars)
    if not any(text.strip() for _, text in pieces):
        raise DataError(f"{path} is empty; expected text")
    cells = {"text": [text for _, text in pieces]}
    table = table_from_cells(cells, path.parent, str(path), lambda i: f"{path}, line {pieces[i][0]}")
    return Table(table.rows, table.name, table.place, (len(table),))


def cut_text(text: str, size: int) -> list[tuple[int, str]]:
    """Cut a text at line ends into pieces of at most about `size` characters.

    A longer line is cut after a space; a piece of white space only stays with its neighbour.

    Returns:
        Number of its first line, and text of each piece.
    """
    pieces: list[tuple[int, list[str]]] = []
    length, has_content = 0, False
    for number, line in _short_lines(text, size):
        if not pieces or (has_content and length + len(line) > size):
            pieces.append((number, []))
            length, has_content = 0, False
        pieces[-1][1].append(line)
        length += len(line) + 1
        has_content = has_content or bool(line.strip())
    if len(pieces) > 1 and not has_content:
        _, rest = pieces.pop()
        pieces[-1][1].extend(rest)
    return [(number, "\n".join(lines)) for number, lines in pieces]


def _short_lines(text: str, size: int) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        start = 0
        while len(line) - start > size:
            stop = line.rfind(" ", start + size // 2, start + size) + 1 or start + size
            yield number, line[start:stop]
            start = stop
        yield number, line[start:]


def _read_separated(path: Path, reading: Reading, delimiter: str) -> Table:
    header: list[str] = []
    rows: list[list[str]] = []
    numbers: list[int] = []
    for number, cells in _csv_rows(path, delimiter):
        if not header:
            header = cells
            continue
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {number}: {len(cells)} cells {listed(cells, 5)}; "
                f"expected {len(header)}, one a column {listed(header)}"
            )
        rows.append(cells)
        numbers.append(number)
    if not header:
        raise DataError(f"{path} is empty; expected a line of column names")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise DataError(f"{path}, line 1: column names {listed(repeated)} are repeated; expected different ones")
    chosen = reading.choose(header, str(path))
    columns = {role: [row[header.index(column)] for row in rows] for role, column in chosen.items()}
    return table_from_cells(columns, path.parent, str(path), lambda i: f"{path}, line {numbers[i]}")


def _csv_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line's number and the cells of each row; a quoted cell may hold line ends."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    previous_limit = csv.field_size_limit(_LONGEST_CELL)
    start = 1
    try:
        for cells in reader:
            if cells:
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {start}: broken row ({error}); expected RFC 4180 quoting") from error
    finally:
        csv.field_size_limit(previous_limit)


def _parse_json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: {text[:40]!r} is not JSON ({error})") from error


def _json_object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{where}: {str(value)[:40]!r} is {type(value).__name__}; expected a JSON object")
    return value


def _table_from_objects(path: Path, reading: Reading, rows: list[dict[str, Any]], place: Callable[[int], str]) -> Table:
    if not rows:
        raise DataError(f"{path} is empty; expected at least one JSON object")
    names = list(dict.fromkeys(name for row in rows for name in row))
    chosen = reading.choose(names, str(path))
    columns = {role: [row.get(column) for row in rows] for role, column in chosen.items()}
    return table_from_cells(columns, path.parent, str(path), place)
