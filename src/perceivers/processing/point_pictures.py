"""Pictures of clouds of points, from three sides."""

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from perceivers.processing.glyphs import shipped_font

_SIDE, _GAP, _CAPTION, _MARGIN = 200, 8, 18, 10
_INK, _LINE = "#5f6c7b", "#d9dee5"
# Drawn larger and made smaller, so that points are round.
_OVERSAMPLING = 3
# For each view the axes that go right and up, the one that it looks along, and whether that one comes nearer.
_VIEWS = {"front": (0, 2, 1, -1), "side": (1, 2, 0, 1), "top": (0, 1, 2, 1)}


def draw_points(points: Float[np.ndarray, "P C"]) -> Image.Image:
    """Draw a cloud from the front, the side and above (z is up): what is near dark, what is far pale.

    Args:
        points: Coordinates, and further columns that are not looked at.
    """
    from matplotlib import colormaps

    nearness = {name: _nearness(points, axis, sign) for name, (_, _, axis, sign) in _VIEWS.items()}
    colours = {name: colormaps["Blues"](0.25 + 0.75 * near)[:, :3] for name, near in nearness.items()}
    return draw_views(points, colours)


def draw_views(
    points: Float[np.ndarray, "P C"],
    colours: dict[str, Float[np.ndarray, "P 3"]],
    frame: Float[np.ndarray, "Q C"] | None = None,
) -> Image.Image:
    """Draw a cloud from three sides; what is near covers what is far.

    Args:
        points: Coordinates, and further columns that are not looked at.
        colours: Of the points in each view, "front", "side" and "top", in [0, 1].
        frame: Another cloud that the picture is laid out for, to compare two; `None` takes the points themselves.
    """
    places = np.asarray(points, dtype=np.float64)[:, :3]
    corners = places if frame is None else np.asarray(frame, dtype=np.float64)[:, :3]
    low, high = corners.min(axis=0), corners.max(axis=0)
    scaled = (places - (low + high) / 2) / (float((high - low).max()) or 1.0)
    radius = float(np.clip(40 / np.sqrt(len(corners)), 1.0, 3.5))
    sheet = Image.new("RGB", (3 * _SIDE + 2 * _GAP, _SIDE + _CAPTION), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (name, view) in enumerate(_VIEWS.items()):
        left = i * (_SIDE + _GAP)
        draw.text((left + 2, 2), name, fill=_INK, font=shipped_font("DejaVuSans", 11))
        sheet.paste(_view(scaled, view, colours[name], radius), (left, _CAPTION))
        draw.rectangle((left, _CAPTION, left + _SIDE - 1, _CAPTION + _SIDE - 1), outline=_LINE)
    return sheet


def _nearness(points: Float[np.ndarray, "P C"], axis: int, sign: int) -> Float[np.ndarray, " P"]:
    """Return 0 for the farthest point to 1 for the nearest."""
    along = np.asarray(points, dtype=np.float64)[:, axis] * sign
    return (along - along.min()) / (float(np.ptp(along)) or 1.0)


def _view(
    scaled: Float[np.ndarray, "P 3"],
    view: tuple[int, int, int, int],
    colours: Float[np.ndarray, "P 3"],
    radius: float,
) -> Image.Image:
    side = _SIDE * _OVERSAMPLING
    tile = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(tile)
    right, up, near, sign = view
    reach = side - 2 * _MARGIN * _OVERSAMPLING
    radius *= _OVERSAMPLING
    shades = np.rint(colours * 255).astype(int)
    for i in np.argsort(scaled[:, near] * sign, kind="stable"):
        x, y = side / 2 + scaled[i, right] * reach, side / 2 - scaled[i, up] * reach
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tuple(shades[i].tolist()))
    return tile.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
