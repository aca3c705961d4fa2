"""Layers of a scene: outlines, and motions that are known in both directions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from perceivers.data.textures import Texture

Places = Float[np.ndarray, "*P"]
Box = tuple[slice, slice]

# How fine the table of an outline is, and how many of its points bound a moved layer.
_NUM_ANGLES, _NUM_POINTS = 1024, 32
_DEGREE = np.pi / 180


@dataclass(frozen=True)
class Motion:
    """A map of the plane: two waves, x by y and then y by the new x, then a projective map.

    Each of them is undone exactly, which is what makes flow and occlusion exact.

    Args:
        matrix: The projective map of points (x, y, 1), (3, 3).
        waves: Height in pixels, radians a pixel, and phase of both waves, (2, 3).
    """

    matrix: Float[np.ndarray, "3 3"]
    waves: Float[np.ndarray, "2 3"]

    def forward(self, x: Places, y: Places) -> tuple[Places, Places]:
        """Return where points of the first frame lie in the second."""
        x = x + self._wave(0, y)
        y = y + self._wave(1, x)
        return _projected(self.matrix, x, y)

    def backward(self, x: Places, y: Places) -> tuple[Places, Places]:
        """Return where points of the second frame lay in the first."""
        x, y = _projected(np.linalg.inv(self.matrix), x, y)
        y = y - self._wave(1, x)
        x = x - self._wave(0, y)
        return x, y

    def _wave(self, number: int, place: Places) -> Places | float:
        height, frequency, phase = self.waves[number].tolist()
        return height * np.sin(frequency * place + phase) if height else 0.0


def _projected(matrix: np.ndarray, x: Places, y: Places) -> tuple[Places, Places]:
    # Python's numbers leave arrays of float32 what they are.
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    scale = g * x + h * y + i
    return (a * x + b * y + c) / scale, (d * x + e * y + f) / scale


def draw_motion(
    random: np.random.Generator, centre: np.ndarray, extent: float, shift: float, strength: float, deformation: float
) -> Motion:
    """Draw how a layer moves: shift, turn, zoom, slant, perspective and waves.

    Args:
        random: Source of all chance.
        centre: What it turns about, (x, y).
        extent: How large the layer is, in pixels.
        shift: Largest shift along each axis, in pixels.
        strength: How much of all this is used, between 0 and 1.
        deformation: How high the waves are; 1 for 1 % of the extent.
    """
    angle = strength * random.normal(0, 6 * _DEGREE)
    zoom = np.exp(strength * random.normal(0, 0.05, 2))
    slant = strength * random.normal(0, 0.03)
    cosine, sine = np.cos(angle), np.sin(angle)
    inner = np.eye(3)
    inner[:2, :2] = np.array([[cosine, -sine], [sine, cosine]]) @ np.array([[1, slant], [0, 1]]) @ np.diag(zoom)
    inner[2, :2] = np.clip(strength * random.normal(0, 0.02, 2), -0.06, 0.06) / extent
    to_centre, back = np.eye(3), np.eye(3)
    to_centre[:2, 2] = -centre
    back[:2, 2] = centre + strength * shift * random.uniform(-1, 1, 2)
    heights = strength * deformation * random.normal(0, 0.01, 2) * extent
    # From half a wave to two waves over the layer.
    frequencies, phases = random.uniform(np.pi, 4 * np.pi, 2) / extent, random.uniform(0, 2 * np.pi, 2)
    return Motion(back @ inner @ to_centre, np.stack([heights, frequencies, phases], axis=1))


@dataclass(frozen=True)
class Outline:
    """A shape without overhangs as seen from its centre.

    Args:
        centre: (x, y).
        radii: Distance of the edge from the centre for directions from 0 on, all around, (A,).
        softness: Over how many pixels the edge fades.
    """

    centre: tuple[float, float]
    radii: Float32[np.ndarray, " A"]
    softness: float

    def cover(self, x: Places, y: Places) -> Places:
        """Return how much of places the shape covers, from 0 to 1."""
        x, y = x - self.centre[0], y - self.centre[1]
        direction = (np.arctan2(y, x) * (len(self.radii) / (2 * np.pi))).astype(np.int32)
        # Directions below 0 count from the end, as indices do.
        return np.clip((self.radii[direction] - np.sqrt(x * x + y * y)) / self.softness + 0.5, 0, 1)


def draw_outline(random: np.random.Generator, centre: np.ndarray, radius: float) -> Outline:
    """Draw a blob or a polygon within a circle; one edge in three is soft."""
    radii = _blob(random) if random.random() < 0.5 else _polygon(random)
    softness = random.uniform(2, 0.3 * radius + 3) if random.random() < 1 / 3 else 1.0
    return Outline((float(centre[0]), float(centre[1])), (radius * radii).astype(np.float32), softness)


def _blob(random: np.random.Generator) -> Float[np.ndarray, " A"]:
    angles = np.arange(_NUM_ANGLES) * (2 * np.pi / _NUM_ANGLES)
    turns = np.arange(1, 6)[:, None]
    heights, phases = random.normal(0, 0.25, (5, 1)) / turns, random.uniform(0, 2 * np.pi, (5, 1))
    radii = np.maximum(1 + (heights * np.cos(turns * angles + phases)).sum(axis=0), 0.2)
    return radii / radii.max()


def _polygon(random: np.random.Generator) -> Float[np.ndarray, " A"]:
    count = int(random.integers(3, 9))
    # Steps of less than half a turn, so that the centre lies inside.
    corners = (np.arange(count) + random.uniform(-0.2, 0.2, count)) * (2 * np.pi / count) + random.uniform(0, 2 * np.pi)
    distances = random.uniform(0.5, 1, count)
    x, y = distances * np.cos(corners), distances * np.sin(corners)
    angles = np.arange(_NUM_ANGLES) * (2 * np.pi / _NUM_ANGLES)
    side = np.searchsorted(corners - corners[0], (angles - corners[0]) % (2 * np.pi), side="right") - 1
    following = (side + 1) % count
    along_x, along_y = x[following] - x[side], y[following] - y[side]
    # Where the ray meets the side: r d = p + s e, of which the cross product with e leaves r.
    return (x[side] * along_y - y[side] * along_x) / (np.cos(angles) * along_y - np.sin(angles) * along_x)


@dataclass(frozen=True)
class Layer:
    """A surface with its outline and its motion.

    Args:
        texture: What it looks like; lies as in the first frame.
        motion: From the first frame to the second.
        outlines: The shape, then its holes; none for a background, which has no end.
    """

    texture: Texture
    motion: Motion
    outlines: tuple[Outline, ...] = ()

    def cover(self, x: Places, y: Places) -> Places:
        """Return how much of places of the first frame the layer covers, from 0 to 1."""
        if not self.outlines:
            return np.ones_like(x)
        shape, *holes = self.outlines
        cover = shape.cover(x, y)
        for hole in holes:
            cover = cover * (1 - hole.cover(x, y))
        return cover

    def box(self, size: tuple[int, int], *, moved: bool) -> Box:
        """Return lines and columns of a frame that the layer may cover; `moved` asks for the second frame."""
        height, width = size
        if not self.outlines:
            return slice(0, height), slice(0, width)
        shape = self.outlines[0]
        # A polygon around the circle, not in it.
        reach = (float(shape.radii.max()) + shape.softness) / np.cos(np.pi / _NUM_POINTS)
        angles = np.arange(_NUM_POINTS) * (2 * np.pi / _NUM_POINTS)
        x = (shape.centre[0] + reach * np.cos(angles)).astype(np.float32)
        y = (shape.centre[1] + reach * np.sin(angles)).astype(np.float32)
        if moved:
            x, y = self.motion.forward(x, y)
        slack = 1 + float(np.abs(self.motion.waves[:, 0]).sum()) * moved
        return _within(y, slack, height), _within(x, slack, width)


def _within(places: np.ndarray, slack: float, end: int) -> slice:
    start, stop = int(np.floor(places.min() - slack)), int(np.ceil(places.max() + slack)) + 1
    return slice(min(max(start, 0), end), min(max(stop, 0), end))
