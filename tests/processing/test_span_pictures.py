import numpy as np
import pytest

from perceivers.processing.glyphs import LINE_HEIGHT
from perceivers.processing.span_pictures import Mark, marks_on_text


def colours(picture) -> dict[tuple[int, ...], int]:
    values, counts = np.unique(np.asarray(picture).reshape(-1, 3), axis=0, return_counts=True)
    return {tuple(value.tolist()): int(count) for value, count in zip(values, counts, strict=True)}


def test_marked_characters_have_the_colour_of_their_label() -> None:
    labels = ("person", "place")
    plain = marks_on_text("Ada in Paris", [], labels)
    marked = marks_on_text("Ada in Paris", [Mark(0, 3, "person"), Mark(7, 12, "place")], labels)
    blue, orange = (158, 202, 225), (253, 208, 120)
    assert blue not in colours(plain)
    row = np.asarray(marked)[9]
    assert (row == blue).all(axis=-1).any()
    # Five characters are wider than three, and a label keeps its colour when others are absent.
    assert (row == orange).all(axis=-1).sum() > (row == blue).all(axis=-1).sum()
    alone = colours(marks_on_text("Ada in Paris", [Mark(7, 12, "place")], labels))
    assert orange in alone
    assert blue not in alone
    # The legend has an empty row above it, and is there only when it says something.
    assert marked.height == plain.height + 2 * LINE_HEIGHT


def test_an_accent_takes_no_cell_of_its_own() -> None:
    decomposed = marks_on_text("e\u0301t\u00e9 x", [Mark(0, 4, "a")], ("a",))
    composed = marks_on_text("\u00e9t\u00e9 x", [Mark(0, 3, "a")], ("a",))
    np.testing.assert_array_equal(np.asarray(decomposed), np.asarray(composed))


def test_long_texts_end_with_how_much_is_left_out() -> None:
    picture = marks_on_text("word " * 2000, [Mark(9000, 9004, "a")], ("a",))
    # Sixty lines, one that says what is missing, an empty one and the legend.
    assert picture.height == 63 * LINE_HEIGHT + 16


@pytest.mark.parametrize("mark", [Mark(0, 9, "a"), Mark(2, 2, "a"), Mark(-1, 2, "a"), Mark(0, 1, "b")])
def test_marks_that_do_not_fit_are_refused(mark: Mark) -> None:
    with pytest.raises(ValueError, match=r"must lie in a text of 4 characters, with one of \['a'\]"):
        marks_on_text("text", [mark], ("a",))
    with pytest.raises(ValueError, match="the text is empty"):
        marks_on_text("", [], ("a",))
