"""Files and folders to tables that remember where each row came from.

Every table has, beside its own columns, `_origin`: the file, and for tables the row, for messages. It may have
`_group`: rows of one group are so alike that they must not be split between training and evaluation.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature

from perceivers.data.coco import coco_rows, is_coco
from perceivers.data.roles import DataError
from perceivers.data.tags import CONLL_SUFFIXES, read_sentences

ORIGIN = "_origin"
GROUP = "_group"
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt", *CONLL_SUFFIXES)
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def read_table(path: Path, text_characters: int) -> Dataset:
    """Read one file.

    Args:
        path: A CSV, TSV, JSON, JSON-lines, Parquet or text file, or one of words and their tags.
        text_characters: Rough length of the pieces that a text file is cut into, at line ends.

    Raises:
        DataError: The file is empty, broken or of an unknown kind.
    """
    if path.suffix not in TABLE_SUFFIXES:
        raise DataError(f"{path}: files of kind '{path.suffix}' are not read; choices = {list(TABLE_SUFFIXES)}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    rows = list(_rows(path, text_characters))
    if not rows:
        raise DataError(f"{path}: the file has no rows")
    return table_of(rows, str(path))


def table_of(rows: list[dict[str, Any]], where: str) -> Dataset:
    """Put rows, each with its origin, into a table; what a row lacks is `None`.

    Raises:
        DataError: A column mixes kinds of values.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for name in columns:
        _check_kind(rows, name)
    try:
        return Dataset.from_dict({name: [row.get(name) for row in rows] for name in columns})
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{where}: a column mixes kinds of values: {error}") from error


def _check_kind(rows: list[dict[str, Any]], name: str) -> None:
    """Refuse a column whose values are of several kinds, which would fail later or be changed quietly."""
    kind: type | None = None
    for row in rows:
        value = row.get(name)
        if value is None:
            continue
        kind = kind or type(value)
        if type(value) is not kind and {type(value), kind} != {int, float}:
            raise DataError(
                f"{row[ORIGIN]}: {name} is {value!r} ({type(value).__name__}), but {kind.__name__} in the rows before"
            )


def _rows(path: Path, text_characters: int) -> Iterator[dict[str, Any]]:
    if path.suffix in (".csv", ".tsv"):
        return _csv_rows(path, "\t" if path.suffix == ".tsv" else ",")
    if path.suffix == ".jsonl":
        return ({**row, ORIGIN: f"{path}, line {number}"} for number, row in json_lines(path))
    if path.suffix == ".json":
        return _json_rows(path)
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    if path.suffix in CONLL_SUFFIXES:
        return _sentence_rows(path)
    return _text_rows(path, text_characters)


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        DataError: The file is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the file is not UTF-8: {error}") from error


def text_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file without their ends, read one after the other.

    Raises:
        DataError: The file is not UTF-8.
    """
    # Only these ends: a JSON string may hold U+2028 and other line separators.
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        try:
            for line in file:
                yield line.rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: the file is not UTF-8: {error}") from error


def _csv_rows(path: Path, delimiter: str) -> Iterator[dict[str, Any]]:
    read_text(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header: list[str] = []
        try:
            for cells in reader:
                # A cell may hold line ends: the reader's line number is where the row ends.
                origin = f"{path}, line {reader.line_num}"
                if not cells:
                    continue
                if not header:
                    header = cells
                    continue
                if len(cells) != len(header):
                    raise DataError(f"{origin}: {len(cells)} cells, but the header has {len(header)}: {header}")
                yield {**dict(zip(header, cells, strict=True)), ORIGIN: origin}
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}") from error


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and object of each line that is not empty.

    Raises:
        DataError: The file is not UTF-8, or a line is no object.
    """
    for number, line in enumerate(text_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: no JSON: {error}") from error
        yield number, _object(row, f"{path}, line {number}")


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        document = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: no JSON: {error}") from error
    if is_coco(document):
        yield from ({**row, ORIGIN: origin} for origin, row in coco_rows(document, path))
        return
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        document = document["data"]
    if not isinstance(document, list):
        raise DataError(f"{path}: must hold a list of objects, or one under 'data', got {type(document).__name__}")
    for number, row in enumerate(document):
        origin = f"{path}, entry {number}"
        yield {**_object(row, origin), ORIGIN: origin}


def _object(row: Any, origin: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{origin}: must be an object, got {row!r}")
    return row


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: no Parquet: {error}") from error
    for number, row in enumerate(rows):
        yield {**row, ORIGIN: f"{path}, row {number}"}


def _sentence_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        for number, words, tags in read_sentences(path, read_text(path)):
            yield {"tokens": words, "tags": tags, ORIGIN: f"{path}, line {number}"}
    except ValueError as error:
        raise DataError(str(error)) from error


def _text_rows(path: Path, text_characters: int) -> Iterator[dict[str, Any]]:
    """Yield pieces that give the text again when they are joined by line ends."""
    pieces: list[tuple[int, list[str]]] = [(1, [])]
    size = 0
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        # White space stays with the piece before it: a piece of nothing else would be no example.
        if size >= text_characters and line.strip():
            pieces.append((number, []))
            size = 0
        pieces[-1][1].append(line)
        size += len(line) + 1
    for first, lines in pieces:
        yield {"text": "\n".join(lines), ORIGIN: f"{path}, line {first}"}


def read_image_folder(folder: Path) -> Dataset:
    """Read `folder/<class>/*.jpg`; the label is the folder's name.

    Raises:
        DataError: There are no class folders, one has no images, or a file would be passed over.
    """
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    stray = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not is_hidden(path, folder) and (path.parent == folder or not _is_image(path))
    )
    if classes and stray:
        raise DataError(
            f"{stray[0]}: neither an image in a class folder nor hidden; move it away. Kinds = {list(IMAGE_SUFFIXES)}"
        )
    images, labels = [], []
    for path in classes:
        found = image_files(path)
        if not found:
            raise DataError(f"{path}: the class folder has no images; known kinds = {list(IMAGE_SUFFIXES)}")
        images += [str(file) for file in found]
        labels += [path.name] * len(found)
    if not images:
        raise DataError(f"{folder}: no class folders with images; expected {folder}/<class>/<image>")
    features = Features({"image": ImageFeature(), "label": Value("string"), ORIGIN: Value("string")})
    return Dataset.from_dict({"image": images, "label": labels, ORIGIN: images}, features=features)


def image_files(folder: Path) -> list[Path]:
    """Return the image files under `folder`, sorted."""
    return sorted(
        path for path in folder.rglob("*") if _is_image(path) and path.is_file() and not is_hidden(path, folder)
    )


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_hidden(path: Path, folder: Path) -> bool:
    """Return whether a system or an editor left `path`, under `folder`, behind."""
    parts = path.relative_to(folder).parts
    return any(part.startswith(".") for part in parts) or path.name.lower() in ("thumbs.db", "desktop.ini")


def has_image_classes(folder: Path) -> bool:
    """Return whether `folder` holds class folders with at least one image."""
    return any(path.is_dir() and image_files(path) for path in folder.iterdir())
