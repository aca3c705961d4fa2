"""Files and folders to tables that remember where each row came from.

Every table has, beside its own columns, `_origin`: the file, and for tables the row, for messages.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature

from perceivers.data.roles import DataError

ORIGIN = "_origin"
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def read_table(path: Path, text_characters: int) -> Dataset:
    """Read one file.

    Args:
        path: A CSV, TSV, JSON, JSON-lines, Parquet or text file.
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
    columns = list(dict.fromkeys(name for row in rows for name in row))
    try:
        return Dataset.from_dict({name: [row.get(name) for row in rows] for name in columns})
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{path}: a column mixes kinds of values: {error}") from error


def _rows(path: Path, text_characters: int) -> Iterator[dict[str, Any]]:
    if path.suffix in (".csv", ".tsv"):
        return _csv_rows(path, "\t" if path.suffix == ".tsv" else ",")
    if path.suffix == ".jsonl":
        return _json_lines(path)
    if path.suffix == ".json":
        return _json_rows(path)
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    return _text_rows(path, text_characters)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the file is not UTF-8: {error}") from error


def _csv_rows(path: Path, delimiter: str) -> Iterator[dict[str, Any]]:
    _read_text(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header = next(reader)
        try:
            for cells in reader:
                # A cell may hold line ends: the reader's line number is where the row ends.
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(cells)} cells, but the header has {len(header)}: {header}"
                    )
                yield {**dict(zip(header, cells, strict=True)), ORIGIN: f"{path}, line {reader.line_num}"}
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}") from error


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: no JSON: {error}") from error
        yield _object(row, f"{path}, line {number}")


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        document = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: no JSON: {error}") from error
    if not isinstance(document, list):
        raise DataError(f"{path}: must hold a list of objects, got {type(document).__name__}")
    for number, row in enumerate(document):
        yield _object(row, f"{path}, entry {number}")


def _object(row: Any, origin: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{origin}: must be an object, got {row!r}")
    return {**row, ORIGIN: origin}


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: no Parquet: {error}") from error
    for number, row in enumerate(rows):
        yield {**row, ORIGIN: f"{path}, row {number}"}


def _text_rows(path: Path, text_characters: int) -> Iterator[dict[str, Any]]:
    piece: list[str] = []
    size = 0
    first = 1
    for number, line in enumerate(_read_text(path).splitlines(keepends=True), start=1):
        piece.append(line)
        size += len(line)
        if size >= text_characters:
            yield {"text": "".join(piece), ORIGIN: f"{path}, line {first}"}
            piece, size, first = [], 0, number + 1
    if "".join(piece).strip():
        yield {"text": "".join(piece), ORIGIN: f"{path}, line {first}"}


def read_image_folder(folder: Path) -> Dataset:
    """Read `folder/<class>/*.jpg`; the label is the folder's name.

    Raises:
        DataError: There are no class folders, or one has no images.
    """
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
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
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def has_image_classes(folder: Path) -> bool:
    """Return whether `folder` holds class folders with at least one image."""
    return any(path.is_dir() and image_files(path) for path in folder.iterdir())
