"""What a user gives to a trained model: files, folders, stdin or text."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perceivers.data.errors import DataError
from perceivers.data.roles import ROLES, InputFiles


def predict_inputs(paths: Sequence[str], role: str) -> list[tuple[str, Any]]:
    """Return the name and value of each input.

    Args:
        paths: Files, and folders searched for such files. Text is also given as `-` (the lines of
            stdin) or as itself; a file of text is one input a line.
        role: What the values are: `image` or `text`.

    Raises:
        ValueError: A file does not exist, a file or folder holds no input, or nothing is given.
    """
    files = ROLES[role].input_files
    if files is None:
        inputs = [name for name in ROLES if ROLES[name].input_files is not None]
        raise ValueError(f"role '{role}' is no input; choices = {inputs}")
    if not paths:
        raise DataError(f"no {role} to predict; expected files or folders{', - or text' if files.literal else ''}")
    return [entry for path in paths for entry in _expand(path, role, files)]


def _expand(item: str, role: str, files: InputFiles) -> list[tuple[str, Any]]:
    if item == "-" and files.literal:
        found = [(f"stdin:{number}", text) for number, line in enumerate(sys.stdin, 1) if (text := line.rstrip("\r\n"))]
        return _some(found, "stdin", role)
    # Unlike Path.exists, this takes a long text for what it is: no file.
    if not os.path.exists(item):
        if not files.literal:
            raise DataError(f"{item}: no such file or folder; expected {ROLES[role].expects}")
        if not item.strip():
            raise DataError(f"{role} {item!r} is empty; expected {ROLES[role].expects}")
        return [(item, item)]
    path = Path(item)
    if path.is_file():
        return _some(files.read(path), item, role)
    inside = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix.lower() in files.suffixes)
    found = [entry for file in inside if not _hidden(file.relative_to(path)) for entry in files.read(file)]
    return _some(found, item, f"{role} ({', '.join(files.suffixes)})")


def _some(found: list[tuple[str, Any]], where: str, what: str) -> list[tuple[str, Any]]:
    if not found:
        raise DataError(f"{where} holds no {what}")
    return found


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
