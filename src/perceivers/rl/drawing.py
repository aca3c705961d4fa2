"""Pictures of units on a square."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_SIDE, _MARGIN, _RADIUS = 320, 24, 8
# Drawn larger and made smaller, so that edges are smooth.
_OVERSAMPLING = 3
_GROUND, _LINE, _LOST = "#f6f7f9", "#d9dee5", "#c9ced6"
_OWN, _OTHER, _NEXT = "#1f77b4", "#d95f02", "#2b2f36"
# Corners of a unit of each type, as angles in turns; none is round.
_CORNERS: tuple[tuple[float, ...], ...] = ((), (0.25, 0.583, 0.917), (0.125, 0.375, 0.625, 0.875))


def draw_units(
    *,
    places: Float[np.ndarray, "M 2"],
    types: Int[np.ndarray, " M"],
    health: Float[np.ndarray, " M"],
    own: Bool[np.ndarray, " M"],
    next_to_act: Bool[np.ndarray, " M"],
    attacks: Sequence[tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]],
) -> NDArray[np.uint8]:
    """Draw units and their health, own ones blue: soldiers round, archers with three corners, giants with four.

    Args:
        places: (right, up) in [-1, 1].
        types: Index of the type.
        health: Share that is left.
        own: Which are one's own.
        next_to_act: Which gets a ring.
        attacks: From where to where there were attacks.

    Returns:
        The picture, (H, W, 3).
    """
    size = _SIDE * _OVERSAMPLING
    picture = Image.new("RGB", (size, size), _GROUND)
    draw = ImageDraw.Draw(picture)
    edge, width = (_MARGIN // 2) * _OVERSAMPLING, _OVERSAMPLING
    draw.rectangle((edge, edge, size - edge, size - edge), outline=_LINE, width=width)
    for start, end in attacks:
        draw.line((*_pixel(start), *_pixel(end)), fill=_NEXT, width=2 * width)
    for place, kind, left, mine, acts in zip(places, types, health, own, next_to_act, strict=True):
        x, y = _pixel(place)
        radius = _RADIUS * _OVERSAMPLING
        if acts:
            ring = radius + 3 * _OVERSAMPLING
            draw.ellipse((x - ring, y - ring, x + ring, y + ring), outline=_NEXT, width=2 * width)
        colour, box = _OWN if mine else _OTHER, (x - radius, y - radius, x + radius, y + radius)
        angles = 2 * np.pi * np.array(_CORNERS[kind])
        if len(angles):
            corners = np.stack([x + 1.2 * radius * np.cos(angles), y - 1.2 * radius * np.sin(angles)], axis=1)
            draw.polygon([tuple(corner) for corner in corners], fill=colour, outline="white", width=width)
        else:
            draw.ellipse(box, fill=colour, outline="white", width=width)
        bar = y + radius + 7 * _OVERSAMPLING
        draw.line((x - radius, bar, x + radius, bar), fill=_LOST, width=3 * width)
        draw.line((x - radius, bar, x - radius + 2 * radius * left, bar), fill=colour, width=3 * width)
    return np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))


def _pixel(place: Float[np.ndarray, "2"]) -> tuple[float, float]:
    right, up = (np.asarray(place, dtype=np.float64) + 1) / 2
    span = _SIDE - 2 * _MARGIN
    return (_MARGIN + span * right) * _OVERSAMPLING, (_MARGIN + span * (1 - up)) * _OVERSAMPLING
