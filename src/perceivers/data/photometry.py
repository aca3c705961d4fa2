"""What light and camera do to made-up frames: blur along the motion, fog, brightness, contrast, colours and noise."""

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from perceivers.data.textures import sample

_NUM_TAPS = 5


def smeared(picture: Float32[np.ndarray, "H W 3"], path: Float32[np.ndarray, "H W 2"]) -> Float32[np.ndarray, "H W 3"]:
    """Return the mean of a picture along a path about each pixel, (x, y) in pixels: what an open shutter sees."""
    height, width = picture.shape[:2]
    y, x = np.indices((height, width), dtype=np.float32)
    total = np.zeros_like(picture)
    for share in np.linspace(-0.5, 0.5, _NUM_TAPS).tolist():
        column = np.clip(x + share * path[..., 0], 0, width - 1)
        line = np.clip(y + share * path[..., 1], 0, height - 1)
        total += sample(picture, column, line)
    return total / np.float32(_NUM_TAPS)


def develop(
    random: np.random.Generator, pictures: Float32[np.ndarray, "T H W 3"], change: float, *, foggy: bool
) -> UInt8[np.ndarray, "T H W 3"]:
    """Change the light of pictures and make them bytes.

    Most of the change is common to all pictures; a fifth of it differs between them, and so does noise.

    Args:
        random: Source of all chance.
        pictures: Colours in [0, 1].
        change: How much; 1 for the usual, 0 for none.
        foggy: Whether there is fog.
    """
    if foggy:
        pictures = _with_fog(random, pictures)
    if change:
        common = random.normal(0, 0.15 * change, 6)
        own = random.normal(0, 0.03 * change, (len(pictures), 6))
        noise = change * random.uniform(0, 0.03)
        pictures = np.stack([_lit(picture, common + part) for picture, part in zip(pictures, own, strict=True)])
        pictures = pictures + np.float32(noise) * random.standard_normal(pictures.shape, dtype=np.float32)
    return np.rint(255 * np.clip(pictures, 0, 1)).astype(np.uint8)


def _lit(picture: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Return a picture with other contrast, brightness, gamma and strengths of the colours, 0 for no change."""
    contrast, brightness, gamma = np.exp(change[0]), 0.5 * change[1], np.exp(change[2])
    strengths = (contrast * np.exp(0.5 * change[3:])).astype(np.float32)
    light = (picture - np.float32(0.5)) * strengths + np.float32(0.5 + brightness)
    return np.power(np.clip(light, 0, 1), np.float32(gamma))


def _with_fog(random: np.random.Generator, pictures: np.ndarray) -> np.ndarray:
    """Lay the same uneven fog over all pictures."""
    height, width = pictures.shape[1:3]
    cells = Image.fromarray(random.integers(0, 256, (3, 4), dtype=np.uint8))
    clouds = np.asarray(cells.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    density = np.float32(random.uniform(0.2, 0.6)) * clouds[..., None]
    return pictures + (np.float32(random.uniform(0.5, 1)) - pictures) * density
