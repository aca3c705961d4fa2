"""Roles: what a column is to a task (`image`, `text`, `label`), whatever its name in the data."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
from PIL import Image

from perceivers.data.errors import DataError, listed
from perceivers.registry import Registry

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


@dataclass(frozen=True, kw_only=True)
class InputFiles:
    """How the values of a role are given for prediction.

    Args:
        suffixes: Files that are taken out of a folder.
        read: File -> name and value of each input in it.
        literal: An argument that is no file is the value itself.
    """

    suffixes: tuple[str, ...]
    read: Callable[[Path], list[tuple[str, Any]]]
    literal: bool = False


def _as_it_is(value: Any, folder: Path) -> Any:
    return value


@dataclass(frozen=True, kw_only=True)
class Role:
    """One thing that a column can be.

    Args:
        names: What such columns are often called, in lower case.
        expects: What a right value is, for messages.
        check: Raises `ValueError` with what is wrong when a value, as stored, cannot be used.
        feature: Type of the column in the data set; `None` leaves it as it was read.
        stored: Type under which `check` sees the values without decoding them; `None` means `feature`.
        from_cell: Turns a cell of a file in `folder` into a value to store; raises `ValueError`.
        input_files: How values are given for prediction; `None` when the role is no input.
    """

    names: tuple[str, ...]
    expects: str
    check: Callable[[Any], None]
    feature: Any = None
    stored: Any = None
    from_cell: Callable[[Any, Path], Any] = _as_it_is
    input_files: InputFiles | None = None


ROLES: Registry[Role] = Registry("role")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What is to be read from a source.

    Args:
        roles: The roles wanted.
        columns: Role -> column, where the names do not say it.
        text_chunk_chars: About how many characters of a long text make one example.
    """

    roles: tuple[str, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    text_chunk_chars: int = 4000

    def choose(self, available: Sequence[str], where: str) -> dict[str, str]:
        """Return which of the columns plays each role.

        Args:
            available: Names of the columns.
            where: File or data set, for messages.

        Raises:
            DataError: A role has no column or several, or two roles have the same.
        """
        chosen = {role: self._column_of(role, available, where) for role in self.roles}
        for role, column in chosen.items():
            others = [other for other in chosen if other != role and chosen[other] == column]
            if others:
                raise DataError(f"{where}: column '{column}' cannot be both '{role}' and '{others[0]}'")
        return chosen

    def _column_of(self, role: str, available: Sequence[str], where: str) -> str:
        hint = f"columns = {listed(list(available))}; name it with --column {role}=NAME (columns in a recipe)"
        if role in self.columns:
            if self.columns[role] not in available:
                raise DataError(f"{where}: no column '{self.columns[role]}' for '{role}'; {hint}")
            return self.columns[role]
        if role in available:
            return role
        matches = [name for name in available if name.strip().lower() in (role, *ROLES[role].names)]
        if not matches:
            raise DataError(f"{where}: no column for '{role}'; {hint}")
        if len(matches) > 1:
            raise DataError(f"{where}: columns {listed(matches)} could each be '{role}'; {hint}")
        return matches[0]


def cell_value(role: str, value: Any, folder: Path, place: str) -> Any:
    """Return the cell of a file as a value to store.

    Raises:
        DataError: The cell has a wrong type.
    """
    try:
        return ROLES[role].from_cell(value, folder)
    except ValueError as error:
        raise DataError(f"{place}: {role} {error}; expected {ROLES[role].expects}") from error


def _check_image(value: Any) -> None:
    data, path = (value.get("bytes"), value.get("path")) if isinstance(value, Mapping) else (None, None)
    if data is None and not path:
        raise ValueError("is missing")
    shown = repr(path) if path else f"of {len(data)} bytes"
    try:
        with Image.open(path if data is None else BytesIO(data)) as image:
            # JPEGs can be decoded at an eighth of their size: as thorough, and much faster.
            image.draft(image.mode, (1, 1))
            image.load()
    except FileNotFoundError as error:
        raise ValueError(f"{shown} does not exist") from error
    # Pillow's readers raise many kinds of errors on broken files.
    except Exception as error:
        raise ValueError(f"{shown} cannot be read ({error})") from error


def _image_cell(value: Any, folder: Path) -> Any:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is {type(value).__name__}")
    return str(folder / value)


def _image_files(path: Path) -> list[tuple[str, Any]]:
    return [(str(path), str(path))]


def _check_text(value: Any) -> None:
    if value is None:
        raise ValueError("is missing")
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is {type(value).__name__}")
    if not value.strip():
        raise ValueError(f"{value!r} is empty")


def _text_cell(value: Any, folder: Path) -> Any:
    if value is not None:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is {type(value).__name__}")
        value.encode("utf-8")
    return value


def _text_lines(path: Path) -> list[tuple[str, Any]]:
    lines = read_text(path).split("\n")
    return [(f"{path}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]


def _check_label(value: Any) -> None:
    if value is None or value == "":
        raise ValueError("is missing")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{value!r} is {type(value).__name__}")


def _label_cell(value: Any, folder: Path) -> Any:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{value!r} is {type(value).__name__}")
    return str(value)


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a UTF-8 file with line ends made `\\n`.

    Raises:
        DataError: The file is not UTF-8.
    """
    try:
        return Path(path).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        value = error.object[error.start : error.start + 1]
        raise DataError(f"{path}, line {line}: byte {value!r} is not UTF-8; save the file as UTF-8") from error


ROLES.add(
    "image",
    Role(
        names=("image", "img", "picture", "photo", "pixel", "pixels", "file_name", "filename", "file", "image_path"),
        expects="an image file that can be decoded",
        check=_check_image,
        feature=datasets.Image(),
        stored=datasets.Image(decode=False),
        from_cell=_image_cell,
        input_files=InputFiles(suffixes=IMAGE_SUFFIXES, read=_image_files),
    ),
)
ROLES.add(
    "text",
    Role(
        names=("text", "sentence", "content", "review", "message", "document", "utterance", "tweet", "question"),
        expects="text that is not only white space",
        check=_check_text,
        from_cell=_text_cell,
        input_files=InputFiles(suffixes=(".txt",), read=_text_lines, literal=True),
    ),
)
ROLES.add(
    "label",
    Role(
        names=("label", "labels", "intent", "category", "class", "target", "sentiment", "fine_label"),
        expects="the name or the number of a class",
        check=_check_label,
        from_cell=_label_cell,
    ),
)
