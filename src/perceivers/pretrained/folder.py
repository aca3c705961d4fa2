"""A saved model: a folder with `config.json` and `model.safetensors`, nothing else needed to load it."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from perceivers.config import from_json, to_json
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.pretrained.keys import check_names, check_shapes

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
FORMAT = 1


def save_folder(model: PerceiverIO, folder: str | Path, task: Mapping[str, Any] | None = None) -> None:
    """Write `model`, and the task it was trained for, to `folder`; an older model there is replaced.

    Each file is written beside its place and then renamed, so that a crash leaves the old or the new one.

    Args:
        model: The model.
        folder: Made when absent.
        task: The task's name and settings, from `Task.to_json`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    document = {"format": FORMAT, "model": to_json(model.config), "task": task}
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as scratch:
        weights, config = Path(scratch, WEIGHTS_FILE), Path(scratch, CONFIG_FILE)
        save_file(own_tensors(model), weights)
        config.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        # The config goes last: a folder with a config is a whole model.
        for path in (weights, config):
            os.replace(path, folder / path.name)


def load_folder(folder: str | Path) -> tuple[PerceiverIO, dict[str, Any] | None]:
    """Return the model saved in `folder`, in evaluation mode, and its task.

    Raises:
        ValueError: A file is absent, broken, of an unknown format, or does not fit the config.
    """
    folder = Path(folder)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise ValueError(f"'{folder}' is no saved model: it has no {name}")
    try:
        document = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{folder / CONFIG_FILE} is no JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f'{folder / CONFIG_FILE} must be an object with "format": {FORMAT}')
    model = PerceiverIO(from_json(PerceiverConfig, document.get("model", {}), "model"))
    load_weights(model, folder / WEIGHTS_FILE)
    return model.eval(), document.get("task")


def load_weights(model: PerceiverIO, path: Path) -> None:
    """Load a safetensors file into `model`, strictly.

    Raises:
        ValueError: The file is broken, or names or shapes do not fit.
    """
    try:
        found = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is no whole safetensors file: {error}") from error
    expected = own_tensors(model)
    check_names(list(expected), list(found), str(path))
    check_shapes(expected, found, str(path))
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(found[name])


def own_tensors(model: PerceiverIO) -> dict[str, Tensor]:
    """Return parameters and buffers by name, a shared one only once, under its first name."""
    seen: set[int] = set()
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor.detach().contiguous()
    return tensors
