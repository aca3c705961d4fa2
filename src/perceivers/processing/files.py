"""Files that appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a path to write to; what is there when the block ends well takes the place of `path`.

    Args:
        path: The file. The path that is given has the same name, in a folder of its own beside it.

    Raises:
        ValueError: The folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"folder '{path.parent}' of file '{path.name}' does not exist")
    # A folder of its own rather than a temporary file: the result gets the usual permissions and the same ending.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as scratch:
        partial = Path(scratch) / path.name
        yield partial
        descriptor = os.open(partial, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(partial, path)


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write text (as UTF-8) or bytes to `path`, whose folder is made when absent."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def write_picture(path: str | Path, picture: Image.Image) -> None:
    """Write a picture in the format that the ending of `path` names."""
    with whole_file(path) as partial:
        picture.save(partial)
