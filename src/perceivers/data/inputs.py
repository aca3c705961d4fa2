"""What to predict on: files, folders, standard input or the text itself."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from perceivers.data.class_folders import FILE_KINDS
from perceivers.data.clips import video_files
from perceivers.data.roles import ROLES, DataError
from perceivers.data.tables import IMAGE_SUFFIXES, image_files, is_hidden, json_lines, read_text

# Roles whose arguments belong together; those of others stand each for itself.
JOINED_ROLES = ("frames",)
# Roles that have folders of files, and how such a folder is searched.
_FOLDERS: dict[str, Callable[[Path], list[Path]]] = {
    "image": image_files,
    "video": video_files,
    **{role: kind.files for role, kind in FILE_KINDS.items()},
}
_NOUNS = {role: kind.noun for role, kind in FILE_KINDS.items()}
FOLDER_ROLES = tuple(_FOLDERS)


def predict_inputs(
    arguments: Sequence[str], role: str, stdin: Iterable[str] | None = None
) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each input.

    - "image", "video", "audio" and "points": files, and folders (searched through, sorted);
    - "frames", for motion: pairs of neighbours. Images one after the other are one sequence, and so are a folder of
      images, in natural order (2 before 10), and a video, which is decoded while it is read;
    - "text": files (a line each), or anything else as the text itself.

    For each of them `-` reads lines from standard input: texts, or names of files. A `.jsonl` file gives a mapping a
    line, for tasks that take more than one thing; files that it names are meant from where it lies.

    Args:
        arguments: Files, folders or texts. For "frames" all of them at once, since they belong together.
        role: What the task reads.
        stdin: Where `-` reads from; `None` takes the process's.

    Raises:
        DataError: A folder has nothing to read, an image stands alone where frames are wanted, or there is nothing
            to predict on.
    """
    lines = stdin or sys.stdin
    if role in JOINED_ROLES:
        items: Iterator[tuple[str, Any]] = _frames(arguments, lines)
    elif role in _FOLDERS:
        items = (item for name in arguments for item in _files(name, role, lines))
    else:
        items = (item for name in arguments for item in _texts(name, lines))
    count = 0
    for item in items:
        count += 1
        yield item
    if not count:
        raise DataError(_nothing(arguments))


def _nothing(arguments: Sequence[str]) -> str:
    if list(arguments) == ["-"]:
        return "nothing to predict on: standard input has no lines but empty ones"
    if arguments and not any(argument.strip() for argument in arguments):
        return "nothing to predict on: the text is empty"
    return f"nothing to predict on in {list(arguments)}"


def _files(argument: str, role: str, stdin: Iterable[str]) -> Iterator[tuple[str, Any]]:
    path = Path(argument)
    if argument == "-":
        yield from ((name, name) for name in _lines(stdin))
    elif _is_json_lines(argument):
        yield from _mappings(path)
    elif path.is_dir():
        found = _FOLDERS[role](path)
        if not found:
            raise DataError(f"{argument}: the folder has no {_NOUNS.get(role, role)}s")
        yield from ((str(file), str(file)) for file in found)
    else:
        yield argument, argument


def _texts(argument: str, stdin: Iterable[str]) -> Iterator[tuple[str, Any]]:
    if argument == "-":
        yield from ((line, line) for line in _lines(stdin))
    elif _is_json_lines(argument):
        yield from _mappings(Path(argument))
    # Unlike Path.is_file, this takes a long text for what it is: no file.
    elif os.path.isfile(argument):
        lines = read_text(Path(argument)).split("\n")
        yield from ((f"{argument}:{i}", line) for i, line in enumerate(lines, start=1) if line.strip())
    elif argument.strip():
        yield argument, argument


def _frames(arguments: Sequence[str], stdin: Iterable[str]) -> Iterator[tuple[str, Any]]:
    from perceivers.processing.video_frames import is_video

    images: list[str] = []
    names = (name for argument in arguments for name in (_lines(stdin) if argument == "-" else [argument]))
    for name in names:
        path = Path(name)
        if not (path.is_dir() or is_video(path) or _is_json_lines(name)):
            images.append(name)
            continue
        yield from _pairs_of(images)
        images = []
        if path.is_dir():
            yield from _folder_pairs(path)
        else:
            yield from _mappings(path) if _is_json_lines(name) else _video_pairs(path)
    yield from _pairs_of(images)


def _pairs_of(images: Sequence[str]) -> Iterator[tuple[str, Any]]:
    if len(images) == 1:
        raise DataError(f"{images[0]}: one image alone has no motion; give two or more, a folder of them, or a video")
    for first, second in pairwise(images):
        yield f"{Path(first).stem}-{Path(second).stem}", (first, second)


def _folder_pairs(folder: Path) -> Iterator[tuple[str, Any]]:
    shown = [path for path in folder.iterdir() if path.is_file() and not is_hidden(path, folder)]
    images = sorted((path for path in shown if path.suffix.lower() in IMAGE_SUFFIXES), key=_natural)
    if images:
        yield from _pairs_of([str(path) for path in images])
        return
    videos = video_files(folder)
    if not videos:
        raise DataError(f"{folder}: the folder has neither images nor videos")
    for path in videos:
        yield from _video_pairs(path)


def _video_pairs(path: Path) -> Iterator[tuple[str, Any]]:
    from perceivers.processing.video_frames import read_frames

    count = 0
    for count, pair in enumerate(pairwise(read_frames(path)), start=1):
        yield f"{path.stem}_{count - 1:04}-{path.stem}_{count:04}", pair
    if not count:
        raise DataError(f"{path}: one frame alone has no motion; the video must have two or more")


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Return what sorts numbers in names by their value; the name itself decides between 1 and 01."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)], path.name


def _is_json_lines(argument: str) -> bool:
    return argument.endswith(".jsonl") and os.path.isfile(argument)


def _mappings(path: Path) -> Iterator[tuple[str, Any]]:
    for number, row in json_lines(path):
        yield f"{path}:{number}", {key: _beside(path, key, value) for key, value in row.items()}


def _beside(path: Path, key: str, value: Any) -> Any:
    names_file = key in ROLES and ROLES[key].files and isinstance(value, str)
    return str(path.parent / value) if names_file else value


def _lines(stdin: Iterable[str]) -> Iterator[str]:
    lines = (line.rstrip("\r\n") for line in stdin)
    return (line for line in lines if line.strip())
