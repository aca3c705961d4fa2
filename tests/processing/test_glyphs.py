"""Which characters can be shown and how; where lines break."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from perceivers.processing.glyphs import LINE_HEIGHT, Glyphs, characters, wrapped


@pytest.mark.parametrize(
    ("character", "shown", "whole_column"),
    [
        ("a", "a", True),
        (" ", " ", True),
        ("Ж", "Ж", True),
        ("é", "é", True),
        ("e\u0301", "é", True),
        ("\n", "↵", True),
        ("\t", "→", True),
        ("😀", "😀", False),
        ("中", r"\u4e2d", False),
        ("🚀", r"\U0001f680", False),
        ("\x00", r"\x00", False),
        ("\u0301", r"\u0301", False),
        ("\udce4", r"\xe4", False),
    ],
)
def test_characters_are_shown_or_escaped(character: str, shown: str, whole_column: bool) -> None:
    glyphs = Glyphs()
    cell = glyphs.cell(character)
    assert cell.shown == shown
    assert cell.width >= cell.font.getlength(shown)
    assert (cell.width == glyphs.column) == whole_column


def test_ink_stands_out_from_its_cell() -> None:
    cell = Glyphs().cell("m")
    for colour in ((255, 255, 255), (253, 141, 60), (128, 0, 38)):
        panel = Image.new("RGB", (cell.width + 4, LINE_HEIGHT + 4), "blue")
        cell.draw(ImageDraw.Draw(panel), 2, 2, colour)
        pixels = np.asarray(panel).astype(int)
        assert tuple(pixels[2, 2]) == tuple(pixels[LINE_HEIGHT - 1, cell.width + 1]) == colour
        assert tuple(pixels[1, 1]) == tuple(pixels[2, cell.width + 2]) == (0, 0, 255)
        inside = pixels[2 : LINE_HEIGHT - 1, 2 : cell.width + 2].reshape(-1, 3)
        assert np.abs(inside - colour).max(axis=0).max() > 120


def test_accents_stay_with_letters_that_have_them() -> None:
    assert characters("ae\u0301b") == ["a", "e\u0301", "b"]
    # No such letter exists, and nothing stands before the second.
    assert characters("q\u0301") == ["q", "\u0301"]
    assert characters("\u0301") == ["\u0301"]


@pytest.mark.parametrize(
    ("text", "limit", "lines"),
    [
        ("one two three", 7, ["one two ", "three"]),
        ("one two three", 8, ["one two ", "three"]),
        ("one two three", 6, ["one ", "two ", "three"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("a bcdefgh", 4, ["a ", "bcde", "fgh"]),
        ("ab\n\ncd", 9, ["ab\n", "\n", "cd"]),
        ("ab\n", 9, ["ab\n"]),
        ("a    b", 2, ["a  ", "  ", "b"]),
        ("x", 1, ["x"]),
    ],
)
def test_lines_break_at_spaces(text: str, limit: int, lines: list[str]) -> None:
    broken = wrapped(text, [1] * len(text), limit)
    assert ["".join(text[i] for i in line) for line in broken] == lines
    assert [i for line in broken for i in line] == list(range(len(text)))


def test_what_is_wider_than_a_line_has_its_own() -> None:
    assert wrapped("abc", [1, 9, 1], 4) == [[0], [1], [2]]
