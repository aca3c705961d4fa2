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
    size, crop = _sides(said["size"]), _sides(said["crop_size"])
    expected = config.inputs.image_size
    if not said["do_resize"] or size != expected:
        raise ValueError(f"{path}: size = {said['size']} (do_resize = {said['do_resize']}); the model reads {expected}")
    fit = next((name for name, sides in _crops(expected).items() if sides == crop), None)
    if not said["do_center_crop"]:
        fit = "stretch"
    if fit is None:
        raise ValueError(
            f"{path}: crop_size = {said['crop_size']} of size = {said['size']}; known = {_crops(expected)}"
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
    return changes, fit


def preparation_fields(config: PerceiverConfig, fit: str) -> dict[str, Any]:
    """Return the content of the file for a model that reads images.

    Args:
        config: The model.
        fit: How images are brought to its size.

    Raises:
        ValueError: The port's image processor cannot do that.
    """
    assert isinstance(config.inputs, ImageInputConfig)
    size = config.inputs.image_size
    crops = {**_crops(size), "stretch": size}
    if "center" in crops:
        crops["center-transformers"] = crops["center"]
    if fit not in crops:
        raise ValueError(f"transformers cannot bring images to {size} by '{fit}'; it can by {sorted(crops)}")
    return {
        **_DEFAULTS,
        "do_center_crop": fit != "stretch",
        "crop_size": dict(zip(("height", "width"), crops[fit], strict=True)),
        "size": dict(zip(("height", "width"), size, strict=True)),
        "image_mean": list(config.inputs.mean),
        "image_std": list(config.inputs.std),
        "image_processor_type": "PerceiverImageProcessor",
    }


def _crops(size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Return the crop size that stands for each way of cutting; what is cut is square, so other sizes have none."""
    height, width = size
    share = _CROP_SIZE / _SIZE
    return {"center": (round(height * share), round(width * share)), "crop": size} if height == width else {}


def _sides(size: Any) -> tuple[int, int] | None:
    """Return height and width of a size that is written as a number or as both."""
    height, width = (size.get("height"), size.get("width")) if isinstance(size, dict) else (size, size)
    return (height, width) if type(height) is int and type(width) is int else None
