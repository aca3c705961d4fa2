"""Folders in the layout of Hugging Face `transformers`: `config.json` with `model.safetensors` or `pytorch_model.bin`.

Read without `transformers` itself.
"""

import json
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from perceivers.model import PerceiverIO
from perceivers.pretrained.hf import from_state_dict
from perceivers.pretrained.hf_configs import Numerics, config_of
from perceivers.pretrained.hub import CONFIG_FILE, WEIGHT_FILES

MODEL_TYPE = "perceiver"

# What a field is when the file does not name it.
_DEFAULTS: dict[str, Any] = {
    "num_latents": 256,
    "d_latents": 1280,
    "d_model": 768,
    "num_blocks": 1,
    "num_self_attends_per_block": 26,
    "num_self_attention_heads": 8,
    "num_cross_attention_heads": 8,
    "qk_channels": None,
    "v_channels": None,
    "cross_attention_shape_for_attention": "kv",
    "self_attention_widening_factor": 1,
    "cross_attention_widening_factor": 1,
    "hidden_act": "gelu",
    "attention_probs_dropout_prob": 0.1,
    "use_query_residual": True,
    "vocab_size": 262,
    "max_position_embeddings": 2048,
    "image_size": 56,
    "train_size": [368, 496],
    "num_frames": 16,
    "audio_samples_per_frame": 1920,
    "samples_per_patch": 16,
    "output_shape": [1, 16, 224, 224],
    "output_num_channels": 512,
    "_label_trainable_num_channels": 1024,
    "num_labels": 2,
}


def is_hf_folder(folder: Path) -> bool:
    """Return whether `folder` holds a Perceiver in the layout of `transformers`."""
    try:
        document = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return False
    return isinstance(document, dict) and "model_type" in document


def load_hf_folder(folder: Path, *, numerics: Numerics) -> PerceiverIO:
    """Return the model in `folder`, in evaluation mode.

    Args:
        folder: Where `save_pretrained` wrote.
        numerics: Compute as `transformers` does, or as the original of the weights did; see `hf_configs`.

    Raises:
        ValueError: A file is absent or broken, the model is of another type, or the weights do not fit the config.
    """
    document = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    if document.get("model_type") != MODEL_TYPE:
        raise ValueError(f"'{folder}' holds a model of type '{document.get('model_type')}', not '{MODEL_TYPE}'")
    classes = document.get("architectures")
    if not isinstance(classes, list) or len(classes) != 1:
        raise ValueError(f"{folder / CONFIG_FILE}: architectures = {classes!r} must name the one class of the model")
    labels = document.get("id2label")
    known = {} if not isinstance(labels, dict) else {"num_labels": len(labels)}
    fields = {name: document.get(name, default) for name, default in {**_DEFAULTS, **known}.items()}
    wrong = [name for name, value in fields.items() if not _is_like(value, _DEFAULTS[name])]
    if wrong:
        raise ValueError(f"{folder / CONFIG_FILE}: wrong type in {[f'{name} = {fields[name]!r}' for name in wrong]}")
    config = config_of(str(classes[0]), SimpleNamespace(**fields), numerics=numerics)
    return from_state_dict(config, _read_weights(folder), str(folder))


def _is_like(value: Any, default: Any) -> bool:
    if default is None:
        return value is None or type(value) is int
    if isinstance(default, list):
        return isinstance(value, list) and len(value) == len(default) and all(type(item) is int for item in value)
    if isinstance(default, float):
        return type(value) in (int, float)
    # Old files say 1 and 0.
    return type(value) is type(default) or (isinstance(default, bool) and value in (0, 1))


def _read_weights(folder: Path) -> dict[str, Tensor]:
    for name in WEIGHT_FILES:
        path = folder / name
        if not path.is_file():
            continue
        try:
            tensors = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
        except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
            raise ValueError(
                f"{path} cannot be read: {str(error).splitlines()[0] if str(error) else error!r}"
            ) from error
        if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
            raise ValueError(f"{path} must map names to tensors")
        return tensors
    raise ValueError(f"'{folder}' has none of {list(WEIGHT_FILES)}")
