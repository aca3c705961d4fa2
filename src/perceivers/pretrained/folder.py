"""A saved model: a folder with `config.json` and `model.safetensors`, nothing else needed to load it."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from perceivers.config import from_json, to_json
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.pretrained.assemble import assemble, own_tensors
from perceivers.pretrained.files import read_json, read_tensors, write_tensors
from perceivers.pretrained.keys import check_names, check_shapes
from perceivers.pretrained.place import flush

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
FORMAT = 1

# Where a new model lies, whole, while the files of the old one are replaced.
_COMMITTED = ".saved"


def save_folder(model: PerceiverIO, folder: str | Path, task: Mapping[str, Any] | None = None) -> None:
    """Write `model`, and the task it was trained for, to `folder`; an older model there is replaced.

    Both files are written and flushed aside before the first is replaced, so that after a crash at any
    moment the folder holds the whole old model or the whole new one.

    Args:
        model: The model.
        folder: Made when absent.
        task: The task's name and settings, from `Task.to_json`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _replace_from(folder / _COMMITTED, folder)
    document = {"format": FORMAT, "model": to_json(model.config), "task": task}
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as scratch:
        whole = Path(scratch, "model")
        whole.mkdir()
        tensors = {name: tensor.contiguous() for name, tensor in own_tensors(model).items()}
        write_tensors(whole / WEIGHTS_FILE, tensors)
        (whole / CONFIG_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        for path in (*whole.iterdir(), whole):
            flush(path)
        # From this rename on, the new model is the folder's: a loader that finds it here prefers it.
        os.rename(whole, folder / _COMMITTED)
    _replace_from(folder / _COMMITTED, folder)


def _replace_from(committed: Path, folder: Path) -> None:
    """Move a written model to its place; also ends a move that a crash cut short."""
    if committed.is_dir():
        for path in committed.iterdir():
            os.replace(path, folder / path.name)
        committed.rmdir()


def _find(folder: Path, name: str) -> Path:
    """Return where the file called `name` of the newest whole model lies."""
    committed = folder / _COMMITTED / name
    return committed if committed.is_file() else folder / name


def load_folder(folder: str | Path, *, num_labels: int | None = None) -> tuple[PerceiverIO, dict[str, Any] | None]:
    """Return the model saved in `folder`, in evaluation mode, and its task.

    Args:
        folder: Where `save_folder` wrote.
        num_labels: Give the model a new head for so many labels; see `assemble`. The task keeps its old labels.

    Raises:
        ValueError: A file is absent, broken, of an unknown format, or does not fit the config.
    """
    folder = Path(folder)
    weights = _find(folder, WEIGHTS_FILE)
    model_config, task = read_config(folder)
    if not weights.is_file():
        raise ValueError(f"'{folder}' is no saved model: it has no {weights.name}")
    return assemble(model_config, read_tensors(weights), str(weights), num_labels=num_labels), task


def read_config(folder: str | Path) -> tuple[PerceiverConfig, dict[str, Any] | None]:
    """Return the config of the model saved in `folder`, and its task; the weights need not be there.

    Raises:
        ValueError: There is no config, or it is broken or of an unknown format.
    """
    path = _find(Path(folder), CONFIG_FILE)
    if not path.is_file():
        raise ValueError(f"'{folder}' is no saved model: it has no {path.name}")
    document = read_json(path)
    if document.get("format") != FORMAT:
        raise ValueError(f'{path} must be an object with "format": {FORMAT}')
    task = document.get("task")
    if task is not None and not isinstance(task, dict):
        raise ValueError(f"{path}: the task must be an object or null, not {task!r}")
    return from_json(PerceiverConfig, document.get("model", {}), f"{path}: model"), task


def load_weights(model: PerceiverIO, path: Path) -> None:
    """Load a safetensors file into `model`, strictly.

    Raises:
        ValueError: The file is broken, or names or shapes do not fit.
    """
    found = read_tensors(path)
    expected = own_tensors(model)
    check_names(list(expected), list(found), str(path))
    check_shapes(expected, found, str(path))
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(found[name])
