import numpy as np
from PIL import Image

from perceivers.processing.glyphs import LINE_HEIGHT
from perceivers.tasks.drawing import below, beside, captioned, draw_bars, draw_text

BAR = (0x9E, 0xCA, 0xE1)


def test_bars_are_as_long_as_the_scores() -> None:
    bars = np.asarray(draw_bars([{"label": "", "score": 0.5}, {"label": "", "score": 0.0}], width=200))
    assert bars.shape == (2 * LINE_HEIGHT, 200, 3)
    coloured = (bars == BAR).all(axis=-1)
    assert coloured[:LINE_HEIGHT].any(axis=0).sum() == 101
    assert coloured[LINE_HEIGHT:].any(axis=0).sum() <= 1
    assert draw_bars([]).size == (320, LINE_HEIGHT)


def test_white_space_is_quoted_and_long_labels_leave_the_score_its_room() -> None:
    def ink(label: str) -> np.ndarray:
        return (np.asarray(draw_bars([{"label": label, "score": 0.0}], width=200)) < 200).any(axis=-1)

    # The quotes are seen, where the space alone would not be.
    assert ink(" ").sum() > ink("").sum()
    assert not np.array_equal(ink(" the"), ink("the"))
    # The score at the right is the same behind every long label.
    np.testing.assert_array_equal(ink("x" * 40)[:, 150:], ink("y" * 400)[:, 150:])


def test_text_of_any_script_is_drawn() -> None:
    pictures = [np.asarray(draw_text(text)) for text in ("Hello", "Привет", "日本語", "\U0001f642", "")]
    for drawn in pictures[:4]:
        assert (drawn < 200).any()
    assert (pictures[4] == 255).all()
    assert len({picture.tobytes() for picture in pictures}) == 5
    # Twelve lines are shown.
    assert draw_text("line\n" * 50).height == 12 * LINE_HEIGHT


def test_pictures_are_put_together() -> None:
    red, blue = Image.new("RGB", (10, 20), "red"), Image.new("RGB", (30, 5), "blue")
    side, stacked = np.asarray(beside(red, blue, gap=2)), np.asarray(below([red, blue], gap=3))
    assert side.shape == (20, 42, 3)
    assert stacked.shape == (28, 30, 3)
    assert tuple(side[0, 12]) == tuple(stacked[23, 0]) == (0, 0, 255)
    assert tuple(side[10, 12]) == tuple(stacked[0, 20]) == (255, 255, 255)
    named = np.asarray(captioned(blue, "x"))
    assert named.shape == (23, 30, 3)
    assert (named[:18] < 128).all(axis=-1).any()
