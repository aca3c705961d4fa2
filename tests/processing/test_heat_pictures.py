"""Colours at known places, scales, and weights that are even, single, absent or wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from perceivers.processing.glyphs import LINE_HEIGHT, Glyphs
from perceivers.processing.heat_pictures import heat_on_frames, heat_on_image, heat_on_text, heat_on_wave

RNG = np.random.default_rng(0)
# Both ends of the colour map, and what 0.65 of them leave on the pale grey of a black photo.
FULL = np.array([128, 0, 38])
FULL_ON_BLACK = 0.65 * FULL + 0.35 * 0.3 * 255
SCALE = 54


def pixels(picture: Image.Image) -> np.ndarray:
    assert picture.mode == "RGB"
    return np.asarray(picture).astype(float)


def assert_colour(pixel: np.ndarray, expected: Any) -> None:
    np.testing.assert_allclose(pixel, expected, atol=3)


def black(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 3), dtype=np.uint8)


def one_hot(*shape: int, at: tuple[int, ...]) -> np.ndarray:
    weights = np.zeros(shape)
    weights[at] = 0.25
    return weights


def test_a_photo_is_pale_where_nothing_is_and_painted_where_all_is() -> None:
    image = RNG.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    seen = pixels(heat_on_image(image, one_hot(3, 4, at=(1, 2))))
    assert seen.shape == (300 + SCALE, 400, 3)
    # Half a cell away from the hot one nothing is left of it.
    grey = (image @ np.array([0.299, 0.587, 0.114]))[..., None]
    pale = 0.3 * 255 + 0.7 * (0.88 * grey + 0.12 * image)
    assert_colour(seen[:300, :120], pale[:, :120])
    assert_colour(seen[150, 250], 0.65 * FULL + 0.35 * pale[150, 250])


def test_more_weight_has_more_colour() -> None:
    # From white to dark red, each cell is darker than the one before.
    weights = np.arange(9.0)[None].repeat(2, axis=0)
    seen = pixels(heat_on_image(np.full((256, 288), 255, dtype=np.uint8), weights))
    centres = seen[128, 16:288:32]
    assert (np.diff(centres.sum(axis=-1)) < -5).all()


def test_grids_finer_than_the_image_are_averaged() -> None:
    weights = np.zeros((512, 512))
    # A quarter of the points of each pixel of the left half: half of what is on the right, where half has it.
    weights[::2, :256:2] = 1
    weights[::2, 256:] = 1
    seen = pixels(heat_on_image(black(256, 256), weights, top=1.0))
    full, half = seen[100, 200], seen[100, 50]
    assert_colour(full, FULL_ON_BLACK)
    expected = pixels(heat_on_image(black(256, 256), np.array([[2.0, 4.0]] * 2), top=1.0))[100, 10]
    assert_colour(half, expected)


@pytest.mark.parametrize(("size", "shown"), [((8, 8), (256, 256)), ((28, 20), (280, 200)), ((256, 100), (256, 100))])
def test_small_images_are_enlarged(size: tuple[int, int], shown: tuple[int, int]) -> None:
    seen = heat_on_image(RNG.random(size), np.ones((4, 4)))
    assert seen.height == shown[0] + SCALE
    # The scale needs some width.
    assert seen.width == shown[1] if shown[1] >= 200 else 100 < seen.width < 200


TEXT = "Ein Bär\nκ 中"
AUDIO = RNG.normal(size=4000)
DRAWN: dict[str, tuple[Callable[..., Image.Image], tuple[int, ...]]] = {
    "image": (lambda weights, **more: heat_on_image(black(64, 64), weights, **more), (8, 8)),
    "frames": (lambda weights, **more: heat_on_frames(np.zeros((4, 32, 32, 3), np.uint8), weights, **more), (2, 4, 4)),
    "text": (lambda weights, **more: heat_on_text(TEXT, weights, **more), (len(TEXT.encode()),)),
    "wave": (lambda weights, **more: heat_on_wave(AUDIO, 8000, weights, **more), (50,)),
}
every_picture = pytest.mark.parametrize(("draw", "shape"), DRAWN.values(), ids=DRAWN.keys())


@every_picture
def test_only_shares_count(draw: Callable[..., Image.Image], shape: tuple[int, ...]) -> None:
    weights = RNG.random(shape)
    first = pixels(draw(weights))
    np.testing.assert_allclose(pixels(draw((weights * 1e-6).astype(np.float32))), first, atol=1)
    assert np.abs(pixels(draw(weights[..., ::-1])) - first).max() > 20
    assert np.abs(pixels(draw(weights, top=9.0)) - first).max() > 20


@every_picture
def test_even_weights_have_half_colour_and_no_weights_none(
    draw: Callable[..., Image.Image], shape: tuple[int, ...]
) -> None:
    def coloured(picture: Image.Image) -> np.ndarray:
        seen = pixels(picture)[:-SCALE]
        return seen[np.ptp(seen, axis=-1) > 30]

    even = coloured(draw(np.ones(shape)))
    # The middle of the colour map is an orange; there is nothing near its dark end.
    assert len(even) > 1000
    assert (even[:, 0] > even[:, 1]).all()
    assert (even[:, 1] > even[:, 2]).all()
    assert not len(coloured(draw(np.zeros(shape))))


@every_picture
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.1])
def test_weights_that_are_none_are_refused(
    draw: Callable[..., Image.Image], shape: tuple[int, ...], wrong: float
) -> None:
    weights = np.ones(shape)
    weights.flat[1] = wrong
    with pytest.raises(ValueError, match="weights must be finite and not negative"):
        draw(weights)
    with pytest.raises(ValueError, match=r"weights of shape .* must be"):
        draw(np.ones((*shape, 2)))
    with pytest.raises(ValueError, match="with at least one element"):
        draw(np.ones([0] * len(shape)))
    for top in (0.0, np.inf, np.nan):
        with pytest.raises(ValueError, match=r"top .* must be a positive number"):
            draw(np.ones(shape), top=top)


def test_frames_stand_in_rows_on_one_scale() -> None:
    frames = np.zeros((6, 112, 224, 3), dtype=np.uint8)
    weights = np.ones((3, 2, 2)) * np.array([0.0, 1, 3])[:, None, None]
    seen = pixels(heat_on_frames(frames, weights, columns=4))
    assert seen.shape == (2 * 132 + SCALE, 4 * 232 - 8, 3)
    places = [(56, 232 * i + 112) for i in range(4)] + [(56 + 132, 232 * i + 112) for i in range(2)]
    colours = [seen[place] for place in places]
    # Two frames a token; the last are the only ones with full colour.
    assert_colour(colours[0], [0.3 * 255] * 3)
    for first, second in ((0, 1), (2, 3), (4, 5)):
        assert_colour(colours[first], colours[second])
    assert_colour(colours[4], FULL_ON_BLACK)
    assert np.abs(colours[2] - colours[0]).max() > 20
    assert np.abs(colours[2] - colours[4]).max() > 20
    # What is no frame is white.
    assert_colour(seen[56 + 132, 2 * 232 + 112], [255] * 3)


def test_grey_and_floating_frames() -> None:
    grey = RNG.random((2, 10, 12, 1))
    first = pixels(heat_on_frames(grey, np.ones((1, 1, 1))))
    np.testing.assert_array_equal(first, pixels(heat_on_frames(grey.repeat(3, axis=-1), np.ones((1, 1, 1)))))


def test_frames_that_do_not_fit_are_refused() -> None:
    for frames in (np.zeros((5, 8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), np.zeros((0, 8, 8, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"must be \(T, H, W, C\), T a multiple of 2"):
            heat_on_frames(frames, np.ones((2, 4, 4)))
    with pytest.raises(ValueError, match=r"columns \(0\)"):
        heat_on_frames(np.zeros((2, 8, 8, 3), np.uint8), np.ones((2, 4, 4)), columns=0)


def cell_colour(seen: np.ndarray, column: int, row: int = 0) -> np.ndarray:
    """Return the background of a character: the upper left corner of its cell."""
    return seen[8 + row * LINE_HEIGHT, 8 + column * Glyphs().column]


def test_characters_have_the_colours_of_their_bytes() -> None:
    seen = pixels(heat_on_text("abcd\nefg", one_hot(8, at=(2,))))
    assert_colour(cell_colour(seen, 2), FULL)
    assert_colour(cell_colour(seen, 1), [255] * 3)
    assert_colour(cell_colour(seen, 3), [255] * 3)
    seen = pixels(heat_on_text("abcd\nefg", one_hot(8, at=(6,))))
    assert_colour(cell_colour(seen, 1, row=1), FULL)


def test_the_bytes_of_a_character_are_summed() -> None:
    # Each of ä (2 bytes) and e, accent (3 bytes) has all of its weight on one byte.
    weights = np.array([0, 0, 4, 0, 0, 6, 0, 0.0])
    seen = pixels(heat_on_text("xäye\u0301z", weights, top=2.0))
    assert_colour(cell_colour(seen, 1), cell_colour(seen, 3))
    even = pixels(heat_on_text("xäye\u0301z", np.ones(8), top=2.0))
    for column in range(5):
        assert_colour(cell_colour(even, column), cell_colour(even, 0))


def test_windows_on_bytes_may_cut_characters() -> None:
    data = "ä中x".encode()[1:-2]
    seen = pixels(heat_on_text(data, one_hot(len(data), at=(0,))))
    assert_colour(cell_colour(seen, 0), FULL)


def test_long_texts_are_wrapped() -> None:
    narrow = heat_on_text("word " * 40, np.ones(200), columns=20)
    # Four words a line, the last space over the edge.
    assert narrow.height == 10 * LINE_HEIGHT + 16 + SCALE
    assert narrow.width == 20 * Glyphs().column + 16


def test_texts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="3 weights must be one for each of the text's 4 bytes"):
        heat_on_text("Bär", np.ones(3))
    with pytest.raises(ValueError, match="with at least one element"):
        heat_on_text("", np.ones(0))
    with pytest.raises(ValueError, match=r"columns \(0\)"):
        heat_on_text("a", np.ones(1), columns=0)


def test_a_wave_has_the_colours_of_its_runs() -> None:
    audio = np.where(np.arange(8000) < 4000, 0.25, -0.5)
    seen = pixels(heat_on_wave(audio, 8000, one_hot(4, at=(3,))))
    assert seen.shape[1] == 960
    # Constant levels are lines: a quarter of the height above the middle, then the lowest line of all.
    ink = seen[:180, :, 2] < 250
    assert [float(np.flatnonzero(ink[:, x]).mean()) for x in (100, 600)] == pytest.approx([46, 177.5], abs=1)
    assert_colour(seen[46, 100], [0.72 * 255] * 3)
    assert_colour(seen[177, 600], [0.72 * 255] * 3)
    assert_colour(seen[177, 900], FULL)
    # The band below.
    assert_colour(seen[190, 600], [255] * 3)
    assert_colour(seen[190, 900], FULL)


def test_more_runs_than_pixels_are_averaged() -> None:
    few = np.array([1.0, 3.0])
    many = np.stack([0.5 * few, 1.5 * few], axis=-1)[:, None].repeat(960, axis=1).reshape(-1)
    drawn = [pixels(heat_on_wave(AUDIO, 8000, weights, top=2.0)) for weights in (few, many)]
    assert_colour(drawn[0][:-SCALE, :470], drawn[1][:-SCALE, :470])


@pytest.mark.parametrize("count", [1, 7, 961, 100_000])
def test_waves_of_any_length(count: int) -> None:
    seen = pixels(heat_on_wave(RNG.uniform(-1, 1, count), 16000, np.ones(1)))
    # No column is without ink.
    assert (seen[:180] < 250).any(axis=-1).any(axis=0).all()
    heat_on_wave(np.zeros(count), 16000, np.ones(3))


def test_waves_that_are_none_are_refused() -> None:
    for audio in (np.zeros((2, 8)), np.zeros(0), np.array([0.0, np.nan])):
        with pytest.raises(ValueError, match="audio of shape"):
            heat_on_wave(audio, 8000, np.ones(2))
    for rate in (0, -1, np.inf, np.nan):
        with pytest.raises(ValueError, match="sample_rate"):
            heat_on_wave(np.zeros(8), rate, np.ones(2))
