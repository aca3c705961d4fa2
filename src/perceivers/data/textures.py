"""Surfaces for made-up scenes: noise of several scales, ramps, stripes, checks, and cut-outs of photographs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from perceivers.data.roles import DataError
from perceivers.data.tables import image_files

Photo = UInt8[np.ndarray, "_ _ 3"]
# Draws a square mask of so many pixels.
Pattern = Callable[[np.random.Generator, int], Image.Image]

# Photographs are kept in memory; larger ones would be shrunk again for each cut-out.
_LONGEST_PHOTO_SIDE = 768
_SMALLEST_CUT = 0.3


@dataclass(frozen=True)
class Texture:
    """A surface, and how it lies on a layer of a scene.

    Args:
        pixels: Colours in [0, 1], (S, S, 3); beyond its border it is mirrored.
        turn: Texels a pixel along x and y, (2, 2).
        start: Texel at the origin, (2,).
    """

    pixels: Float32[np.ndarray, "S S 3"]
    turn: Float32[np.ndarray, "2 2"]
    start: Float32[np.ndarray, " 2"]

    def colours(self, x: Float32[np.ndarray, "*P"], y: Float32[np.ndarray, "*P"]) -> Float32[np.ndarray, "*P 3"]:
        """Return the colours at places of the layer, between texels by bilinear interpolation."""
        last = len(self.pixels) - 1
        column = self.turn[0, 0] * x + self.turn[0, 1] * y + self.start[0]
        line = self.turn[1, 0] * x + self.turn[1, 1] * y + self.start[1]
        return sample(self.pixels, last - np.abs(last - column % (2 * last)), last - np.abs(last - line % (2 * last)))


def sample(
    pixels: Float32[np.ndarray, "H W 3"], x: Float32[np.ndarray, "*P"], y: Float32[np.ndarray, "*P"]
) -> Float32[np.ndarray, "*P 3"]:
    """Return the colours of an image at places inside of it, between pixels by bilinear interpolation."""
    height, width = pixels.shape[:2]
    left, top = np.minimum(x.astype(np.int32), width - 2), np.minimum(y.astype(np.int32), height - 2)
    # float32 less int32 would be float64.
    across, down = ((place - before.astype(np.float32))[..., None] for place, before in ((x, left), (y, top)))
    flat, corner = pixels.reshape(-1, 3), top * width + left
    upper = _between(flat.take(corner, axis=0), flat.take(corner + 1, axis=0), across)
    lower = _between(flat.take(corner + width, axis=0), flat.take(corner + width + 1, axis=0), across)
    return _between(upper, lower, down)


def _between(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    mixed = second - first
    mixed *= share
    mixed += first
    return mixed


def draw_texture(random: np.random.Generator, extent: float, photos: Sequence[Photo]) -> Texture:
    """Draw the surface of a layer.

    Args:
        random: Source of all chance.
        extent: How large the layer is, in pixels.
        photos: Photographs; where there are any, two surfaces in three are cut out of one.
    """
    size = max(round(1.3 * extent), 8)
    if photos and random.random() < 2 / 3:
        image = _cut_out(random, photos[int(random.integers(len(photos)))], size)
    else:
        image = _made_up(random, size)
    pixels = np.asarray(image, dtype=np.float32) / np.float32(255)
    # Photographs stand upright, about.
    angle = random.normal(0, 0.2) if photos else random.uniform(0, 2 * np.pi)
    density = random.uniform(0.8, 1.2)
    cosine, sine = density * np.cos(angle), density * np.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]], dtype=np.float32)
    return Texture(pixels, turn, random.uniform(0, size, 2).astype(np.float32))


def _cut_out(random: np.random.Generator, photo: Photo, size: int) -> Image.Image:
    height, width = photo.shape[:2]
    side = random.uniform(_SMALLEST_CUT, 1) * min(height, width)
    left, top = random.uniform(0, width - side), random.uniform(0, height - side)
    box = (left, top, left + side, top + side)
    return Image.fromarray(photo).resize((size, size), Image.Resampling.BILINEAR, box=box)


def _made_up(random: np.random.Generator, size: int) -> Image.Image:
    """Return two colours that take turns by a pattern, under noise in colour of two scales."""
    pattern = _PATTERNS[random.integers(len(_PATTERNS))](random, size)
    first, second = (
        Image.new("RGB", (size, size), tuple(colour)) for colour in random.integers(0, 256, (2, 3)).tolist()
    )
    coarse, fine = (_noise(random, size, cells, 3) for cells in random.integers(2, max(size // 3, 3), 2).tolist())
    noise = Image.blend(coarse, fine, random.random())
    return Image.blend(Image.composite(first, second, pattern), noise, random.uniform(0.1, 0.8))


def _noise(random: np.random.Generator, size: int, cells: int, channels: int) -> Image.Image:
    """Return smooth noise with so many cells along each side."""
    grid = random.integers(0, 256, (cells, cells, channels), dtype=np.uint8)
    return Image.fromarray(grid if channels == 3 else grid[..., 0]).resize((size, size), Image.Resampling.BICUBIC)


def _mask(values: np.ndarray) -> Image.Image:
    """Return shares from 0 to 1, and what lies beyond cut off, as a mask."""
    return Image.fromarray((255 * np.clip(values, 0, 1)).astype(np.uint8))


def _clouds(random: np.random.Generator, size: int) -> Image.Image:
    sharpness = random.uniform(1, 10)
    cells = _noise(random, size, int(random.integers(3, 9)), 1)
    return cells.point([min(max(round(128 + sharpness * (i - 128)), 0), 255) for i in range(256)])


def _ramp(random: np.random.Generator, size: int) -> Image.Image:
    weights = random.dirichlet((1, 1))
    line = np.linspace(0, 1, size)
    return _mask(weights[0] * line + weights[1] * line[:, None])


def _stripes(random: np.random.Generator, size: int) -> Image.Image:
    return _mask(_square_wave(random, size)[0])


def _checks(random: np.random.Generator, size: int) -> Image.Image:
    first, second = np.clip(_square_wave(random, size), 0, 1)
    return _mask(np.abs(first - second))


def _square_wave(random: np.random.Generator, size: int) -> Float32[np.ndarray, "2 S S"]:
    """Return two waves of one length at right angles, with edges sharp or soft where they are cut off at 0 and 1."""
    count, angle, sharpness = random.uniform(1.5, size / 6 + 2), random.uniform(0, np.pi), random.uniform(1, 6)
    line = np.arange(size, dtype=np.float32) * np.float32(2 * np.pi * count / size)
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    along = np.stack([cosine * line + sine * line[:, None], cosine * line[:, None] - sine * line])
    return 0.5 + sharpness * np.sin(along)


_PATTERNS: tuple[Pattern, ...] = (_clouds, _ramp, _stripes, _checks)


@cache
def read_photos(folder: str) -> tuple[Photo, ...]:
    """Read all images of a folder, large ones at a smaller size; once a process.

    Raises:
        DataError: It is no folder, or has no images.
    """
    files = image_files(Path(folder)) if Path(folder).is_dir() else []
    if not files:
        raise DataError(f"'{folder}' must be a folder of photographs")
    photos = []
    for file in files:
        with Image.open(file) as image:
            image.draft("RGB", (_LONGEST_PHOTO_SIDE, _LONGEST_PHOTO_SIDE))
            image = image.convert("RGB")
            image.thumbnail((_LONGEST_PHOTO_SIDE, _LONGEST_PHOTO_SIDE))
            photos.append(np.asarray(image))
    return tuple(photos)
