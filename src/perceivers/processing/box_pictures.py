"""Pictures of boxes on an image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from perceivers.processing.glyphs import LINE_HEIGHT, Cell, characters, shipped_glyphs

# Told apart by most eyes, and from black and white (after Okabe and Ito); taken in turn.
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167), (0, 114, 178))
_RIM = (31, 41, 51)
_LEAST_SIDE, _MOST_SIDE = 640, 1280
_GAP = 10


def draw_boxes(image: np.ndarray, found: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> Image.Image:
    """Draw what was found on an image, with a legend below it that counts each label.

    A line has a dark rim and a label a ground of its own, so that they can be seen on any image. The surest objects
    are drawn last, over others.

    Args:
        image: `uint8` (H, W, C).
        found: {"label", "score", "box": {"xmin", "ymin", "xmax", "ymax"}} in pixels of the image, the surest first.
        labels: All label names: a label's colour follows from its place among them.
    """
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("RGB")
    longest = max(picture.size)
    scale = min(max(_LEAST_SIDE / longest, 1.0), _MOST_SIDE / longest)
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    picture = picture.resize(size, Image.Resampling.NEAREST if scale > 4 else Image.Resampling.BICUBIC)
    colours = {label: _COLOURS[i % len(_COLOURS)] for i, label in enumerate(labels)}
    draw = ImageDraw.Draw(picture)
    for entry in reversed(found):
        box = tuple(round(entry["box"][side] * scale) for side in ("xmin", "ymin", "xmax", "ymax"))
        _draw_box(draw, box, colours[entry["label"]])
    for entry in reversed(found):
        corner = round(entry["box"]["xmin"] * scale), round(entry["box"]["ymin"] * scale)
        room = round((entry["box"]["xmax"] - entry["box"]["xmin"]) * scale)
        _draw_tag(draw, picture.size, corner, room, f"{entry['label']} {entry['score']:.0%}", colours[entry["label"]])
    return _with_legend(picture, Counter(entry["label"] for entry in found), colours)


def _draw_box(draw: ImageDraw.ImageDraw, box: tuple[int, ...], colour: tuple[int, int, int]) -> None:
    left, upper, right, lower = box
    right, lower = max(right, left), max(lower, upper)
    draw.rectangle((left - 2, upper - 2, right + 2, lower + 2), outline=_RIM, width=5)
    draw.rectangle((left - 1, upper - 1, right + 1, lower + 1), outline=colour, width=3)


def _draw_tag(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    corner: tuple[int, int],
    room: int,
    text: str,
    colour: tuple[int, int, int],
) -> None:
    """Write in the upper left corner of a box, or above a box that is too narrow for it; never beyond the image."""
    cells = _cells(text)
    width = sum(cell.width for cell in cells)
    left, upper = corner
    if width > room:
        upper -= LINE_HEIGHT
    left = min(max(left, 0), max(size[0] - width, 0))
    upper = min(max(upper, 0), max(size[1] - LINE_HEIGHT, 0))
    _draw_cells(draw, cells, left, upper, colour)


def _with_legend(
    picture: Image.Image, counts: Mapping[str, int], colours: Mapping[str, tuple[int, int, int]]
) -> Image.Image:
    """Put the labels that were found, and how often, on white below the picture."""
    entries = [(label, _cells(f"{label}: {counts[label]}")) for label in colours if counts.get(label)]
    if not entries:
        entries = [("", _cells("nothing found"))]
    places, ends, left, line = [], [], _GAP, 0
    for _, cells in entries:
        width = LINE_HEIGHT + sum(cell.width for cell in cells) + 2 * _GAP
        if left > _GAP and left + width > picture.width:
            left, line = _GAP, line + 1
        places.append((left, line))
        left += width
        ends.append(left)
    joined = Image.new("RGB", (max(picture.width, *ends), picture.height + (line + 1) * LINE_HEIGHT + _GAP), "white")
    joined.paste(picture, (0, 0))
    draw = ImageDraw.Draw(joined)
    for (left, line), (label, cells) in zip(places, entries, strict=True):
        upper = picture.height + _GAP // 2 + line * LINE_HEIGHT
        if label:
            draw.rectangle((left, upper + 3, left + 14, upper + 17), fill=colours[label], outline=_RIM)
            left += LINE_HEIGHT
        _draw_cells(draw, cells, left, upper, (255, 255, 255))
    return joined


def _cells(text: str) -> list[Cell]:
    glyphs = shipped_glyphs()
    return [glyphs.cell(letter) for letter in characters(text)]


def _draw_cells(
    draw: ImageDraw.ImageDraw, cells: Sequence[Cell], left: int, upper: int, colour: tuple[int, int, int]
) -> None:
    for cell in cells:
        cell.draw(draw, left, upper, colour)
        left += cell.width
