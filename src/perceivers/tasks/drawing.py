"""Small pictures of text and of scores, and how they are put together."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw


def draw_text(text: str, width: int = 380, characters: int = 58, line: int = 16) -> Image.Image:
    """Draw wrapped text on white; the first twelve lines of it."""
    # Pillow's built-in font covers Latin text only; other characters are shown escaped rather than as boxes.
    shown = text.encode("latin-1", "backslashreplace").decode("latin-1")
    lines = textwrap.wrap(shown, characters)[:12] or [""]
    panel = Image.new("RGB", (width, line * len(lines) + 8), "white")
    draw = ImageDraw.Draw(panel)
    for i, content in enumerate(lines):
        draw.text((4, 4 + i * line), content, fill="black")
    return panel


def draw_bars(result: Sequence[Mapping[str, Any]], width: int = 260, row: int = 22) -> Image.Image:
    """Draw labels with their scores as bars."""
    panel = Image.new("RGB", (width, row * max(len(result), 1)), "white")
    draw = ImageDraw.Draw(panel)
    for i, entry in enumerate(result):
        top = i * row
        draw.rectangle((0, top + 2, round(width * entry["score"]), top + row - 3), fill="#9ecae1")
        draw.text((6, top + 5), f"{entry['label']}  {entry['score']:.1%}", fill="black")
    return panel


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
    ImageDraw.Draw(joined).text((2, 3), caption, fill="black")
    joined.paste(picture, (0, height))
    return joined
