"""Folders in the layout of Hugging Face `transformers`: `config.json` with `model.safetensors` or `pytorch_model.bin`.

Read without `transformers` itself.
"""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from perceivers.config import override
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.pretrained.files import read_json, read_sharded, read_tensors
from perceivers.pretrained.hf import from_state_dict
from perceivers.pretrained.hf_configs import Numerics, config_of, family_of
from perceivers.pretrained.hf_fields import DEFAULTS, MODEL_TYPE, is_like, placeholders
from perceivers.pretrained.hf_images import preparation
from perceivers.pretrained.hub import CONFIG_FILE, INDEX_SUFFIX, PREPARATION_FILE, WEIGHT_FILES


@dataclass(frozen=True)
class HfModel:
    """What a folder holds.

    Args:
        model: The model, in evaluation mode.
        task: The task of ours that it serves.
        labels: What its outputs mean, by the config; `None` when that does not say.
        fit: How images are brought to the model's size, by name; `None` when the folder does not say.
    """

    model: PerceiverIO
    task: str
    labels: tuple[str, ...] | None
    fit: str | None


def is_hf_folder(folder: Path) -> bool:
    """Return whether `folder` holds a model in the layout of `transformers`.

    Raises:
        ValueError: Its config cannot be read.
    """
    path = folder / CONFIG_FILE
    return path.is_file() and "model_type" in read_json(path)


def load_hf_folder(folder: Path, *, numerics: Numerics, num_labels: int | None = None) -> HfModel:
    """Return the model in `folder`.

    Args:
        folder: Where `save_pretrained` wrote.
        numerics: Compute as `transformers` does, or as the original of the weights did; see `hf_configs`.
        num_labels: Give the model a new head for so many labels; see `assemble`.

    Raises:
        ValueError: A file is absent or broken, the model is of another type, or the weights do not fit the config.
    """
    document = read_json(folder / CONFIG_FILE)
    config = _config(document, folder / CONFIG_FILE, numerics)
    fit = None
    task = family_of(config).task
    if task == "image-classification" and (folder / PREPARATION_FILE).is_file():
        changes, fit = preparation(folder / PREPARATION_FILE, config)
        config = override(config, changes)
    model = from_state_dict(config, read_weights(folder), str(folder), num_labels=num_labels)
    return HfModel(model, task, _labels(document), fit)


def read_hf_config(folder: Path, *, numerics: Numerics) -> PerceiverConfig:
    """Return the config of the model in `folder`; the weights need not be there.

    Raises:
        ValueError: The config is broken, or of a model of another type.
    """
    return _config(read_json(folder / CONFIG_FILE), folder / CONFIG_FILE, numerics)


def _config(document: dict[str, Any], path: Path, numerics: Numerics) -> PerceiverConfig:
    if document.get("model_type") != MODEL_TYPE:
        found = str(document.get("model_type"))[:100]
        raise ValueError(f"'{path.parent}' holds a model of type '{found}', not '{MODEL_TYPE}'")
    classes = document.get("architectures")
    if not isinstance(classes, list) or len(classes) != 1 or not isinstance(classes[0], str):
        raise ValueError(f"{path}: architectures = {str(classes)[:200]} must name the one class of the model")
    labels = document.get("id2label")
    known = {} if not isinstance(labels, dict) else {"num_labels": len(labels)}
    fields = {name: document.get(name, default) for name, default in {**DEFAULTS, **known}.items()}
    wrong = [f"{name} = {repr(value)[:100]}" for name, value in fields.items() if not is_like(value, DEFAULTS[name])]
    if wrong:
        raise ValueError(f"{path}: wrong type or size in {wrong}")
    try:
        return config_of(classes[0], SimpleNamespace(**fields), numerics=numerics)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _labels(document: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the names of the outputs, in their order, unless they are mere numbers."""
    names = document.get("id2label")
    if not isinstance(names, dict) or {str(i) for i in range(len(names))} != set(names):
        return None
    ordered = tuple(str(names[str(i)]) for i in range(len(names)))
    return None if ordered == placeholders(len(ordered)) else ordered


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights in `folder`: in one file or several, the safe form first.

    Raises:
        ValueError: There are none, or they are broken.
    """
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return read_tensors(folder / name)
        if (folder / (name + INDEX_SUFFIX)).is_file():
            return read_sharded(folder / (name + INDEX_SUFFIX))
    raise ValueError(f"'{folder}' has none of {list(WEIGHT_FILES)}")
