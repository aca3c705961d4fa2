"""A folder that appears whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What the folder of a model holds, in either layout: replacing a model removes these and nothing else.
_MODEL_FILES = {
    *("config.json", "model.safetensors", "pytorch_model.bin"),
    *("preprocessor_config.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.json"),
}


@contextmanager
def new_folder(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give an empty folder to write to, which takes the place of `folder` when all went well.

    Args:
        folder: Where the written files are to lie; its parents are made.
        overwrite: Replace the model that lies there.

    Raises:
        ValueError: There is a file of that name, or a folder that is not empty and may not be replaced, since
            `overwrite` is not set or it holds other things than a model.
    """
    check_place(folder, overwrite=overwrite)
    # A link stays a link: what it points to is replaced.
    target = folder.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        whole = Path(scratch, "new")
        whole.mkdir()
        yield whole
        for path in (*whole.iterdir(), whole):
            flush(path)
        old = Path(scratch, "old")
        if target.exists():
            os.rename(target, old)
        try:
            os.rename(whole, target)
        except OSError:
            if old.exists():
                os.rename(old, target)
            raise
        flush(target.parent)
        shutil.rmtree(old, ignore_errors=True)


def check_place(folder: Path, *, overwrite: bool) -> None:
    """Refuse a place where something would be lost; errors as in `new_folder`."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"'{folder}' is a file; the model needs a folder")
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if held and not overwrite:
        raise ValueError(f"'{folder}' is not empty ({held[0]}); overwrite a model there, or name another folder")
    others = [name for name in held if name not in _MODEL_FILES]
    if others:
        raise ValueError(f"'{folder}' holds more than a model ({', '.join(others[:3])}); name another folder")


def flush(path: Path) -> None:
    """Make sure that a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
