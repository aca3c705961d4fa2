"""Small pictures of text."""

import textwrap

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
