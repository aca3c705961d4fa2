"""Characters as coloured cells: which font has them, how wide they are, where lines break.

The fonts are those that come with matplotlib: DejaVu has Latin, Greek, Cyrillic, Arabic, many signs and more, but no
Chinese, Japanese or Korean. What it lacks is shown escaped rather than as a box.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil

from PIL import ImageDraw, ImageFont

LINE_HEIGHT = 22
_SIZE, _SMALL = 15, 11
_INK, _LIGHT_INK, _FAINT = "#1f2933", "white", "#8a96a3"
# White space that would not be seen.
_MARKS = {"\n": "\u21b5", "\t": "\u2192"}


@dataclass(frozen=True)
class Cell:
    """One character as it is shown.

    Args:
        shown: What is drawn.
        font: In which font.
        width: Width of the cell in pixels.
        faint: It stands for something that cannot be shown itself.
    """

    shown: str
    font: ImageFont.FreeTypeFont
    width: int
    faint: bool = False

    def draw(self, draw: ImageDraw.ImageDraw, left: int, upper: int, colour: tuple[int, int, int]) -> None:
        """Draw the cell on `colour`, in ink that stands out."""
        draw.rectangle((left, upper, left + self.width - 1, upper + LINE_HEIGHT - 3), fill=colour)
        red, green, blue = colour
        light = 0.299 * red + 0.587 * green + 0.114 * blue
        ink = _LIGHT_INK if light < 120 else _FAINT if self.faint and light > 230 else _INK
        middle = left + self.width / 2
        draw.text((middle, upper + LINE_HEIGHT - 7), self.shown, fill=ink, font=self.font, anchor="ms")


class Glyphs:
    """The fonts, and what they have. `column` is the width of most characters in pixels."""

    def __init__(self) -> None:
        self.mono, self._in_mono = shipped_font("DejaVuSansMono", _SIZE), _characters("DejaVuSansMono")
        self.sans, self._in_sans = shipped_font("DejaVuSans", _SIZE), _characters("DejaVuSans")
        self.small = shipped_font("DejaVuSansMono", _SMALL)
        self.column = ceil(self.mono.getlength("m"))

    def cell(self, character: str) -> Cell:
        """Return the cell of one of `characters`."""
        if character in _MARKS:
            return Cell(_MARKS[character], self.mono, self.column, faint=True)
        character = unicodedata.normalize("NFC", character) if len(character) > 1 else character
        # Without a letter of its own to stand on, an accent would be drawn beside its cell.
        if character.isprintable() and not unicodedata.combining(character):
            if ord(character) in self._in_mono:
                return Cell(character, self.mono, self.column)
            if ord(character) in self._in_sans:
                return Cell(character, self.sans, max(self.column, ceil(self.sans.getlength(character)) + 2))
        broken = character.encode("utf-8", "surrogateescape") if len(character) == 1 else b""
        escaped = f"\\x{broken[0]:02x}" if len(broken) == 1 else character.encode("unicode_escape").decode("ascii")
        return Cell(escaped, self.small, ceil(self.small.getlength(escaped)) + 4, faint=True)


@cache
def shipped_glyphs() -> Glyphs:
    """Return the fonts, read once."""
    return Glyphs()


def characters(text: str) -> list[str]:
    """Cut a text into characters; an accent stays with its letter where Unicode has the two as one."""
    found: list[str] = []
    for character in text:
        if found and unicodedata.combining(character) and len(unicodedata.normalize("NFC", found[-1] + character)) == 1:
            found[-1] += character
        else:
            found.append(character)
    return found


def wrapped(text: Sequence[str], widths: Sequence[int], limit: int) -> list[list[int]]:
    """Break a text into lines: after each newline, else after the last space that fits, else anywhere.

    Args:
        text: Its characters, at least one.
        widths: Width of each character.
        limit: Widest line; a character that is wider has a line of its own.

    Returns:
        The indices of each line's characters; all of them, in their order.
    """
    lines: list[list[int]] = [[]]
    for i, character in enumerate(text):
        line = lines[-1]
        # One space may stand over the edge.
        needed = 0 if character in " \n" else widths[i]
        if line and (text[line[-1]] == "\n" or sum(widths[j] for j in line) + needed > limit):
            spaces = [at + 1 for at, j in enumerate(line) if text[j] in " \n"]
            cut = spaces[-1] if spaces and character != " " else len(line)
            lines[-1], moved = line[:cut], line[cut:]
            lines.append(moved)
        lines[-1].append(i)
    return lines


def shipped_font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font that comes with matplotlib, `DejaVuSans` or `DejaVuSansMono`, `size` pixels high."""
    return ImageFont.truetype(_path(name), size)


def _characters(name: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(_path(name)).get_charmap())


def _path(name: str) -> str:
    import matplotlib

    return f"{matplotlib.get_data_path()}/fonts/ttf/{name}.ttf"
