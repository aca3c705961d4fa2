"""What to predict on: files, folders, standard input or the text itself."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from perceivers.data.roles import DataError
from perceivers.data.tables import image_files


def predict_inputs(
    arguments: Sequence[str], role: str, stdin: Iterable[str] | None = None
) -> Iterator[tuple[str, str]]:
    """Yield name and value of each input.

    Args:
        arguments: For images files and folders (searched through, sorted); for text files (a line
            each), or anything else as the text itself. `-` reads lines from standard input:
            texts, or names of image files.
        role: What the task reads: "image" or "text".
        stdin: Where `-` reads from; `None` takes the process's.

    Raises:
        DataError: A folder has no images, or there is nothing to predict on.
    """
    count = 0
    for argument in arguments:
        for item in _expand(argument, role, stdin or sys.stdin):
            count += 1
            yield item
    if not count:
        raise DataError(f"nothing to predict on in {list(arguments)}")


def _expand(argument: str, role: str, stdin: Iterable[str]) -> Iterator[tuple[str, str]]:
    if argument == "-":
        lines = (line.rstrip("\n") for line in stdin)
        yield from ((line, line) for line in lines if line.strip())
    elif role == "image":
        path = Path(argument)
        if not path.is_dir():
            yield argument, argument
            return
        found = image_files(path)
        if not found:
            raise DataError(f"{argument}: the folder has no images")
        yield from ((str(file), str(file)) for file in found)
    # Unlike Path.is_file, this takes a long text for what it is: no file.
    elif os.path.isfile(argument):
        lines = _read_text(argument).split("\n")
        yield from ((f"{argument}:{i}", line) for i, line in enumerate(lines, start=1) if line.strip())
    elif argument.strip():
        yield argument, argument


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the file is not UTF-8: {error}") from error
