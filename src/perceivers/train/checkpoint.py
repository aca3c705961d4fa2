"""Checkpoints that are whole or absent: written aside, flushed to disk, then renamed."""

import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator

from perceivers.pretrained.folder import flush
from perceivers.train.sharding import Shards

_SHARDS = "shards"
_NAME = re.compile(r"step-(\d{8})")


def write_checkpoint(
    accelerator: Accelerator, folder: Path, step: int, keep: int, shards: Shards | None = None
) -> Path:
    """Write model, optimiser, schedule, random states and progress, then drop all but the newest `keep`.

    Args:
        accelerator: Holds everything that was prepared or registered.
        folder: The folder of checkpoints.
        step: Optimiser steps taken.
        keep: How many checkpoints to keep.
        shards: What the processes share out, of which each writes its own part.
    """
    final = folder / f"step-{step:08d}"
    partial = folder / f".{final.name}.partial"
    if accelerator.is_main_process:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    accelerator.wait_for_everyone()
    with _unconcerned():
        accelerator.save_state(str(partial))
    if shards is not None:
        shards.save(partial / _SHARDS)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for path in [*partial.rglob("*"), partial]:
            flush(path)
        if final.exists():
            _drop(final)
        os.rename(partial, final)
        flush(folder)
        for old in checkpoints(folder)[:-keep]:
            _drop(old)
        for leftover in folder.glob(".step-*"):
            shutil.rmtree(leftover)
    accelerator.wait_for_everyone()
    return final


def load_checkpoint(accelerator: Accelerator, checkpoint: Path, shards: Shards | None = None) -> None:
    """Take over what `write_checkpoint` wrote.

    Raises:
        ValueError: Weights were shared out there and are not now, or the other way round.
    """
    if (checkpoint / _SHARDS).is_dir() != (shards is not None):
        was, now = ("with", "without") if shards is None else ("without", "with")
        raise ValueError(f"{checkpoint} was made {was} train.fsdp; this run is {now} it")
    accelerator.load_state(str(checkpoint))
    if shards is not None:
        shards.load(checkpoint / _SHARDS)


@contextmanager
def _unconcerned() -> Iterator[None]:
    """Keep back Accelerate's concern about weights that two parts share: it saves them once, and loads them."""
    logger = logging.getLogger("accelerate.utils.other")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def checkpoints(folder: Path) -> list[Path]:
    """Return the whole checkpoints in `folder`, the oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint in `folder`, if any."""
    found = checkpoints(folder)
    return found[-1] if found else None


def _drop(checkpoint: Path) -> None:
    """Delete a checkpoint; a crash half-way does not leave half of it under its name."""
    aside = checkpoint.with_name(f".{checkpoint.name}.dropped")
    os.rename(checkpoint, aside)
    shutil.rmtree(aside)
