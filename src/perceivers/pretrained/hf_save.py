"""Writing folders in the layout of `transformers`, without `transformers` itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perceivers.adapters.image import ImageInputConfig
from perceivers.adapters.text import TextInputConfig
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.pretrained.files import write_tensors
from perceivers.pretrained.folder import CONFIG_FILE, WEIGHTS_FILE
from perceivers.pretrained.hf import describe, to_state_dict
from perceivers.pretrained.hf_fields import DEFAULTS, MODEL_TYPE, placeholders
from perceivers.pretrained.hf_images import preparation_fields
from perceivers.pretrained.hub import PREPARATION_FILE
from perceivers.pretrained.place import new_folder

TOKENIZER_FILE = "tokenizer_config.json"


def save_hf_folder(
    model: PerceiverIO,
    folder: str | Path,
    task: Mapping[str, Any] | None = None,
    *,
    exact: bool = True,
    overwrite: bool = False,
) -> None:
    """Write `model` as `transformers` would: for its `from_pretrained`, `AutoImageProcessor` and `AutoTokenizer`.

    The folder appears whole or not at all. Weights keep their precision.

    Args:
        model: The model.
        folder: Where to; its parents are made.
        task: The task's name and settings: label names, and how images are brought to the model's size.
        exact: Refuse a model, or a way of fitting images, that `transformers` has no equal of. `False` lets pass
            what the port does otherwise than the original; see `hf_configs`.
        overwrite: Replace the model in the folder.

    Raises:
        ValueError: `transformers` has no model that computes the same (all differences are listed), or the folder
            holds something already.
    """
    class_name, fields = describe(model, exact=exact)
    task = task or {}
    documents = {CONFIG_FILE: _config(class_name, fields, task.get("labels"), model)}
    if isinstance(model.config.inputs, ImageInputConfig):
        documents |= _image_processor(model.config, task.get("fit", "center"), exact=exact)
    if isinstance(model.config.inputs, TextInputConfig):
        documents[TOKENIZER_FILE] = {
            "tokenizer_class": "PerceiverTokenizer",
            "model_max_length": model.config.inputs.max_length,
        }
    with new_folder(Path(folder), overwrite=overwrite) as whole:
        write_tensors(whole / WEIGHTS_FILE, to_state_dict(model), metadata={"format": "pt"})
        for name, document in documents.items():
            text = json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True)
            (whole / name).write_text(text + "\n", encoding="utf-8")


def _config(class_name: str, fields: Mapping[str, Any], labels: Any, model: PerceiverIO) -> dict[str, Any]:
    fields = {**DEFAULTS, **fields}
    # Their config counts the names.
    count = fields.pop("num_labels")
    names = labels if labels is not None and len(labels) == count else placeholders(count)
    return {
        **fields,
        "architectures": [class_name],
        "model_type": MODEL_TYPE,
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
        "dtype": str(model.encoder.latents.dtype).removeprefix("torch."),
    }


def _image_processor(config: PerceiverConfig, fit: str, *, exact: bool) -> dict[str, Any]:
    try:
        return {PREPARATION_FILE: preparation_fields(config, fit)}
    except ValueError:
        if exact:
            raise
        return {}
