"""Marked parts of a text, drawn as coloured characters with what the colours mean below."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from perceivers.processing.glyphs import LINE_HEIGHT, Cell, characters, shipped_glyphs, wrapped

Colour = tuple[int, int, int]

# Pale, so that ink stands out, and apart from each other for eyes that do not see all colours.
_COLOURS: tuple[Colour, ...] = (
    (158, 202, 225),
    (253, 208, 120),
    (161, 217, 155),
    (250, 175, 190),
    (205, 190, 235),
    (225, 225, 130),
    (150, 220, 215),
    (220, 190, 160),
)
_PAPER: Colour = (255, 255, 255)
_MARGIN = 8
_MOST_LINES = 60


@dataclass(frozen=True)
class Mark:
    """A marked part of a text.

    Args:
        start: First character.
        stop: Character after the last.
        label: What it is; one of the legend's.
    """

    start: int
    stop: int
    label: str


def marks_on_text(text: str, marks: Sequence[Mark], labels: Sequence[str], *, columns: int = 80) -> Image.Image:
    """Draw a text with wrapped lines, marked parts on colours, and a legend of the labels that occur.

    The first sixty lines are drawn. What no font at hand can show is escaped as in Python.

    Args:
        text: At least one character.
        marks: What is marked; where two overlap, the later one is seen.
        labels: All labels that marks of such pictures may have: each keeps its colour from picture to picture.
        columns: Width of a line in characters.

    Raises:
        ValueError: The text is empty, or a mark lies outside of it or has another label.
    """
    if not text:
        raise ValueError("the text is empty; at least one character is needed")
    colour_of = {label: _COLOURS[i % len(_COLOURS)] for i, label in enumerate(labels)}
    paper: list[Colour] = [_PAPER] * len(text)
    for mark in marks:
        if not 0 <= mark.start < mark.stop <= len(text) or mark.label not in colour_of:
            raise ValueError(f"{mark} must lie in a text of {len(text)} characters, with one of {list(labels)}")
        paper[mark.start : mark.stop] = [colour_of[mark.label]] * (mark.stop - mark.start)
    glyphs = shipped_glyphs()
    letters = characters(text)
    cells = [glyphs.cell(letter) for letter in letters]
    lines = wrapped(letters, [cell.width for cell in cells], columns * glyphs.column)
    colours = _of_letters(letters, paper)
    rows = [[(cells[i], colours[i]) for i in line] for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        more = f"... and {len(lines) - _MOST_LINES} more lines"
        rows.append([(glyphs.cell(letter), _PAPER) for letter in more])
    rows += _legend({mark.label for mark in marks}, labels, colour_of, columns * glyphs.column)
    return _drawn(rows)


def _of_letters(letters: Sequence[str], paper: Sequence[Colour]) -> list[Colour]:
    """Return the colour of each letter; one with an accent of its own is more than one character."""
    colours, place = [], 0
    for letter in letters:
        colours.append(paper[place])
        place += len(letter)
    return colours


def _legend(
    used: set[str], labels: Sequence[str], colour_of: dict[str, Colour], limit: int
) -> list[list[tuple[Cell, Colour]]]:
    """Return rows of labels on their colours, below an empty row; none where nothing is marked."""
    glyphs = shipped_glyphs()
    rows: list[list[tuple[Cell, Colour]]] = [[]]
    for label in labels:
        if label not in used:
            continue
        entry = [(glyphs.cell(letter), colour_of[label]) for letter in f" {label} "]
        if not rows[-1] or sum(cell.width for cell, _ in [*rows[-1], *entry]) > limit:
            rows.append([])
        rows[-1] += [*entry, (glyphs.cell(" "), _PAPER)]
    return rows if len(rows) > 1 else []


def _drawn(rows: Sequence[Sequence[tuple[Cell, Colour]]]) -> Image.Image:
    width = max(sum(cell.width for cell, _ in row) for row in rows)
    panel = Image.new("RGB", (width + 2 * _MARGIN, len(rows) * LINE_HEIGHT + 2 * _MARGIN), _PAPER)
    draw = ImageDraw.Draw(panel)
    for i, row in enumerate(rows):
        left = _MARGIN
        for cell, colour in row:
            cell.draw(draw, left, _MARGIN + i * LINE_HEIGHT, colour)
            left += cell.width
    return panel
