"""Small pictures of text and of scores, and how they are put together."""

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw

from perceivers.processing.glyphs import LINE_HEIGHT, Cell, characters, shipped_font, shipped_glyphs, wrapped

_WHITE, _BAR = (255, 255, 255), (158, 202, 225)
_MOST_LINES = 12


def draw_text(text: str, width: int = 400) -> Image.Image:
    """Draw wrapped text on white; the first twelve lines of it. What no font here has is shown escaped."""
    glyphs = shipped_glyphs()
    letters = characters(text) or [" "]
    cells = [glyphs.cell(letter) for letter in letters]
    lines = wrapped(letters, [cell.width for cell in cells], width)[:_MOST_LINES]
    panel = Image.new("RGB", (width, LINE_HEIGHT * len(lines)), "white")
    draw = ImageDraw.Draw(panel)
    for i, line in enumerate(lines):
        _draw_line(draw, [cells[j] for j in line], 0, i * LINE_HEIGHT, _WHITE)
    return panel


def draw_bars(result: Sequence[Mapping[str, Any]], width: int = 320) -> Image.Image:
    """Draw labels with their scores as bars; a label with white space at its ends is quoted."""
    glyphs = shipped_glyphs()
    panel = Image.new("RGB", (width, LINE_HEIGHT * max(len(result), 1)), "white")
    draw = ImageDraw.Draw(panel)
    for i, entry in enumerate(result):
        label, score = str(entry["label"]), f"  {entry['score']:.1%}"
        label = f'"{label}"' if label != label.strip() else label
        room = width - glyphs.column * len(score)
        cells = [glyphs.cell(letter) for letter in characters(label)]
        fitting = [cell for j, cell in enumerate(cells) if sum(c.width for c in cells[: j + 1]) <= room]
        top = i * LINE_HEIGHT
        end = _draw_line(draw, fitting, 0, top, _WHITE)
        _draw_line(draw, [glyphs.cell(letter) for letter in score], end, top, _WHITE)
        draw.rectangle((0, top + LINE_HEIGHT - 3, round(width * entry["score"]), top + LINE_HEIGHT - 1), fill=_BAR)
    return panel


def _draw_line(
    draw: ImageDraw.ImageDraw, cells: Sequence[Cell], left: int, top: int, colour: tuple[int, int, int]
) -> int:
    """Draw characters one after the other, and return where they end."""
    for cell in cells:
        cell.draw(draw, left, top, colour)
        left += cell.width
    return left


def beside(left: Image.Image, right: Image.Image, gap: int = 12) -> Image.Image:
    """Put two pictures next to each other on white."""
    joined = Image.new("RGB", (left.width + gap + right.width, max(left.height, right.height)), "white")
    joined.paste(left, (0, 0))
    joined.paste(right, (left.width + gap, 0))
    return joined


def below(pictures: Sequence[Image.Image], gap: int = 12) -> Image.Image:
    """Put pictures under one another on white."""
    height = sum(picture.height for picture in pictures) + gap * (len(pictures) - 1)
    joined = Image.new("RGB", (max(picture.width for picture in pictures), height), "white")
    top = 0
    for picture in pictures:
        joined.paste(picture, (0, top))
        top += picture.height + gap
    return joined


def captioned(picture: Image.Image, caption: str, height: int = 18) -> Image.Image:
    """Put a line of text above a picture."""
    joined = Image.new("RGB", (picture.width, picture.height + height), "white")
    ImageDraw.Draw(joined).text((2, 2), caption, fill="black", font=shipped_font("DejaVuSans", height - 6))
    joined.paste(picture, (0, height))
    return joined
