"""Images from files, PIL or arrays to `uint8` arrays of the size that a model reads."""

import re
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

Fit = Literal["crop", "stretch", "pad", "center", "center-transformers"]
Interpolation = Literal["pillow", "opencv"]
_Box = tuple[float, float, float, float]

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
            web = re.match(r"https?:/", str(source))
            hint = ": addresses of the web are not fetched; save the image first" if web else ""
            raise ValueError(f"image '{source}' does not exist{hint}") from error
        except _UNREADABLE as error:
            raise ValueError(f"image '{source}' cannot be read: {error}") from error
    if isinstance(source, Image.Image):
        try:
            return _from_pil(source)
        # Pillow opens files without reading them: what is broken shows only now.
        except _UNREADABLE as error:
            raise ValueError(f"image '{getattr(source, 'filename', '')}' cannot be read: {error}") from error
    return _from_array(np.asarray(source))


def fit_image(
    image: np.ndarray, size: tuple[int, int], channels: int, how: Fit = "crop", interpolation: Interpolation = "pillow"
) -> np.ndarray:
    """Bring an image to the size and channels of a model.

    Args:
        image: `uint8` (H, W, C) from `read_image`.
        size: Height and width wanted.
        channels: 1 or 3; colour becomes grey by luma, grey becomes three equal channels.
        how: `crop` covers the size and cuts the middle out, `stretch` ignores the proportions, `pad`
            puts the whole image on black, `center` takes the middle square of 7/8 of the shorter side
            and stretches it, as the original does to evaluate on ImageNet; `center-transformers` is one
            pixel above and to the left of it where the rest is odd, as in the transformers library.
        interpolation: Bicubic as in Pillow, which averages when it makes an image smaller, or as in
            OpenCV, which reads 4 x 4 pixels whatever the scale; the original takes OpenCV's.

    Raises:
        ValueError: `channels` is neither 1 nor 3, `how` or `interpolation` is unknown, or the size is
            not positive.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels ({channels}) must be 1 or 3")
    if how not in get_args(Fit):
        raise ValueError(f"how ({how!r}) must be one of {list(get_args(Fit))}")
    if interpolation not in get_args(Interpolation):
        raise ValueError(f"interpolation ({interpolation!r}) must be one of {list(get_args(Interpolation))}")
    if min(size) < 1:
        raise ValueError(f"size {size} must be at least 1 x 1")
    image = _with_channels(image, channels)
    # Parity: of an odd rest the original leaves the larger half above and on the left, transformers the smaller.
    if how == "center":
        image = _middle_square(image, round_up=True)
    elif how == "center-transformers":
        image = _middle_square(image, round_up=False)
    height, width = image.shape[:2]
    if how == "crop":
        return _resize(image, size, _middle_box(height, width, size), interpolation)
    if how != "pad":
        return _resize(image, size, _whole(image), interpolation)
    scale = min(size[0] / height, size[1] / width)
    inner = (max(round(height * scale), 1), max(round(width * scale), 1))
    top, left = (round((outer - side) / 2) for outer, side in zip(size, inner, strict=True))
    padded = np.zeros((*size, channels), dtype=np.uint8)
    whole = _resize(image, inner, _whole(image), interpolation)
    padded[top : top + inner[0], left : left + inner[1]] = whole
    return padded


def _with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    if image.shape[-1] == channels:
        return image
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.asarray(picture.convert("L" if channels == 1 else "RGB")).reshape(*image.shape[:2], channels)


def _middle_square(image: np.ndarray, *, round_up: bool) -> np.ndarray:
    """Return the middle square of 7/8 of the shorter side: 224 of 256 pixels."""
    height, width = image.shape[:2]
    side = max(min(height, width) * 7 // 8, 1)
    top, left = ((rest + round_up) // 2 for rest in (height - side, width - side))
    return image[top : top + side, left : left + side]


def _whole(image: np.ndarray) -> _Box:
    return 0.0, 0.0, float(image.shape[0]), float(image.shape[1])


def _middle_box(height: int, width: int, size: tuple[int, int]) -> _Box:
    """Return the largest box in the middle that has the proportions of `size`."""
    scale = min(height / size[0], width / size[1])
    top = max(height - size[0] * scale, 0) / 2
    left = max(width - size[1] * scale, 0) / 2
    return top, left, height - top, width - left


def _resize(image: np.ndarray, size: tuple[int, int], box: _Box, interpolation: Interpolation) -> np.ndarray:
    """Return what lies in `box` (top, left, bottom, right) at `size`."""
    top, left, bottom, right = box
    if image.shape[:2] == tuple(size) and box == _whole(image):
        return image
    if interpolation == "opencv":
        rows = _four_taps(image.astype(np.float64), top, bottom, size[0])
        both = _four_taps(rows.swapaxes(0, 1), left, right, size[1]).swapaxes(0, 1)
        return np.rint(both).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    resized = picture.resize((size[1], size[0]), Image.Resampling.BICUBIC, box=(left, top, right, bottom))
    return np.asarray(resized).reshape(*size, image.shape[-1])


def _four_taps(values: np.ndarray, start: float, end: float, count: int) -> np.ndarray:
    """Sample `count` points of the first axis between `start` and `end` with the cubic kernel of a = -0.75."""
    centres = start + (np.arange(count) + 0.5) * ((end - start) / count) - 0.5
    first = np.floor(centres).astype(np.int64) - 1
    sampled = np.zeros((count, *values.shape[1:]))
    for tap in (first, first + 1, first + 2, first + 3):
        weights = _cubic(np.abs(centres - tap))
        # Beyond the border the outermost pixel counts on.
        sampled += weights[:, None, None] * values[tap.clip(0, len(values) - 1)]
    return sampled


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Return the kernel of cubic convolution (Keys 1981) at distances from 0 to 2 pixels."""
    a = -0.75
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, far)


def _from_pil(image: Image.Image) -> np.ndarray:
    upright = ImageOps.exif_transpose(image)
    grey = upright.mode in ("1", "L", "I;16", "I", "F")
    if upright.mode == "I;16" and image.format == "PNG":
        # A PNG's 16 bits go from black to white, as 8 bits do.
        return (np.asarray(upright, dtype=np.float64) / 257).round().astype(np.uint8)[..., None]
    if upright.mode in ("I;16", "I", "F"):
        # Wider than 8 bits, with a white that no file names: spread the values it has.
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
