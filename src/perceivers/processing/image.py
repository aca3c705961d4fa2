"""Images from files, PIL or arrays to `uint8` arrays of the size that a model reads."""

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

Fit = Literal["crop", "stretch", "pad"]

# What Pillow raises on files that are broken or absurdly large.
_UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError)


def read_image(source: Any) -> np.ndarray:
    """Return an image as `uint8` (H, W, C) with C of 1 (grey) or 3 (RGB).

    Args:
        source: A path, a PIL image, or an array (H, W), (H, W, 1) or (H, W, 3) of `uint8` or of
            floats in [0, 1].

    Raises:
        ValueError: The file cannot be read, or the array has another form.
    """
    if isinstance(source, str | Path):
        try:
            with Image.open(source) as image:
                return _from_pil(image)
        except FileNotFoundError as error:
            raise ValueError(f"image '{source}' does not exist") from error
        except _UNREADABLE as error:
            raise ValueError(f"image '{source}' cannot be read: {error}") from error
    if isinstance(source, Image.Image):
        try:
            return _from_pil(source)
        # Pillow opens files without reading them: what is broken shows only now.
        except _UNREADABLE as error:
            raise ValueError(f"image '{getattr(source, 'filename', '')}' cannot be read: {error}") from error
    return _from_array(np.asarray(source))


def fit_image(image: np.ndarray, size: tuple[int, int], channels: int, how: Fit = "crop") -> np.ndarray:
    """Bring an image to the size and channels of a model.

    Args:
        image: `uint8` (H, W, C) from `read_image`.
        size: Height and width wanted.
        channels: 1 or 3; colour becomes grey by luma, grey becomes three equal channels.
        how: `crop` covers the size and cuts the middle out, `stretch` ignores the proportions, `pad`
            puts the whole image on black.

    Raises:
        ValueError: `channels` is neither 1 nor 3, `how` is unknown, or the size is not positive.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels ({channels}) must be 1 or 3")
    if how not in get_args(Fit):
        raise ValueError(f"how ({how!r}) must be one of {list(get_args(Fit))}")
    if min(size) < 1:
        raise ValueError(f"size {size} must be at least 1 x 1")
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture = picture.convert("L" if channels == 1 else "RGB")
    height, width = size
    if picture.size != (width, height):
        if how == "stretch":
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        elif how == "crop":
            picture = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
        else:
            picture = ImageOps.pad(picture, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture, dtype=np.uint8).reshape(height, width, channels)


def _from_pil(image: Image.Image) -> np.ndarray:
    upright = ImageOps.exif_transpose(image)
    grey = upright.mode in ("1", "L", "I;16", "I", "F")
    if upright.mode in ("I;16", "I", "F"):
        # Wider than 8 bits: Pillow's own conversion would clip, so spread the values it has.
        values = np.asarray(upright, dtype=np.float64)
        span = values.max() - values.min()
        return ((values - values.min()) * (255 / span if span else 0)).round().astype(np.uint8)[..., None]
    array = np.asarray(upright.convert("L" if grey else "RGB"), dtype=np.uint8)
    return array[..., None] if array.ndim == 2 else array


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3) or 0 in array.shape:
        raise ValueError(f"image array of shape {array.shape} must be (H, W), (H, W, 1) or (H, W, 3)")
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"image array of type {array.dtype} must be uint8 or floats in [0, 1]")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"image array has values from {low:g} to {high:g}; floats must lie in [0, 1]")
    return (array * 255).round().astype(np.uint8)
