"""How a folder of `transformers` says that images are prepared: `preprocessor_config.json`, read and written.

Its image processor cuts the middle `size / crop_size` of the shorter side, resizes it to `size` and normalises.
In our models the input side normalises, and the task does the rest.
"""

from pathlib import Path
from typing import Any

from perceivers.adapters.image import ImageInputConfig
from perceivers.config import override
from perceivers.model import PerceiverConfig
from perceivers.pretrained.files import read_json

_CROP_SIZE, _SIZE = 256, 224
_BICUBIC = 3
_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# What a field is when the file does not name it.
_DEFAULTS: dict[str, Any] = {
    "do_center_crop": True,
    "crop_size": _CROP_SIZE,
    "do_resize": True,
    "size": _SIZE,
    "resample": _BICUBIC,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": _MEAN,
    "image_std": _STD,
}


def preparation(path: Path, config: PerceiverConfig) -> tuple[dict[str, Any], str]:
    """Return what the file changes in `config`, by dotted path, and how it brings images to the model's size.

    Args:
        path: The file.
        config: A model that reads images.

    Raises:
        ValueError: Images are to be prepared in a way that no setting here expresses; the message says which.
    """
    assert isinstance(config.inputs, ImageInputConfig)
    document = read_json(path)
    said = {name: document[name] if document.get(name) is not None else value for name, value in _DEFAULTS.items()}
    size, crop = _square(said["size"]), _square(said["crop_size"])
    expected = config.inputs.image_size
    if not said["do_resize"] or (size, size) != expected:
        raise ValueError(f"{path}: size = {said['size']} (do_resize = {said['do_resize']}); the model reads {expected}")
    if said["do_center_crop"] and (crop is None or size is None or crop * _SIZE != size * _CROP_SIZE):
        raise ValueError(
            f"{path}: crop_size = {said['crop_size']} of size = {said['size']}; only {_SIZE} of {_CROP_SIZE} is known"
        )
    if said["resample"] != _BICUBIC:
        raise ValueError(f"{path}: resample = {said['resample']}; only {_BICUBIC} (bicubic) is known")
    factor = said["rescale_factor"]
    if not said["do_rescale"] or not isinstance(factor, float) or abs(factor * 255 - 1) > 1e-6:
        raise ValueError(
            f"{path}: rescale_factor = {factor!r} (do_rescale = {said['do_rescale']}); only 1/255 is known"
        )
    mean, std = (said["image_mean"], said["image_std"]) if said["do_normalize"] else ([0.0], [1.0])
    changes = {"inputs.mean": mean, "inputs.std": std}
    try:
        override(config, changes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if min(std) <= 0:
        raise ValueError(f"{path}: image_std = {std} must be positive")
    return changes, "center" if said["do_center_crop"] else "stretch"


def _square(size: Any) -> int | None:
    """Return the side of a square that is written as a number or as height and width."""
    if isinstance(size, dict):
        height, width = size.get("height"), size.get("width")
        return height if type(height) is int and height == width else None
    return size if type(size) is int else None
