"""Scores against numbers by hand, colours against the published circle, warping against real pairs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perceivers.processing import read_image
from perceivers.processing.flow import read_flow
from perceivers.processing.flow_pictures import (
    colour_wheel,
    end_point_error,
    error_picture,
    flow_picture,
    overlay,
    warp,
)

PAIRS = Path(__file__).resolve().parents[3] / "shared" / "data" / "optical_flow" / "warped_pairs" / "test"
RNG = np.random.default_rng(0)


def constant(u: float, v: float, height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((height, width, 2), (u, v), dtype=np.float32)


def test_scores_by_hand() -> None:
    # Errors 0, 2, 4, 5, 10 pixels; the fourth is 5 % of its motion, the fifth 10 %.
    truth = np.array([[[1, 1], [0, 0], [0, 0], [100, 0], [0, 100], [0, 0]]], dtype=np.float32)
    off = np.array([[[0, 0], [2, 0], [0, 4], [3, 4], [-6, 8], [99, 0]]], dtype=np.float32)
    valid = np.array([[True, True, True, True, True, False]])
    scores = end_point_error(truth + off, truth, valid)
    assert scores == pytest.approx({"epe": 4.2, "px1": 0.8, "px3": 0.6, "px5": 0.2, "fl_all": 0.4})
    assert end_point_error(truth + off, truth)["epe"] == pytest.approx(20)
    assert end_point_error(truth, truth) == {"epe": 0, "px1": 0, "px3": 0, "px5": 0, "fl_all": 0}


def test_a_flow_that_is_no_number_counts_as_wrong() -> None:
    scores = end_point_error(constant(np.nan, 0), constant(0, 0))
    assert np.isnan(scores.pop("epe"))
    assert set(scores.values()) == {1.0}


@pytest.mark.parametrize(
    ("truth", "valid", "message"),
    [
        (constant(0, 0, 1, 6), None, r"\(1, 6, 2\)"),
        (constant(0, 0), np.zeros((4, 6), dtype=bool), "False everywhere"),
        (constant(0, np.nan), None, "truth is not known"),
        (constant(0, 0), np.ones((4, 1), dtype=bool), r"\(4, 1\)"),
    ],
)
def test_truths_that_do_not_fit_are_refused(truth: np.ndarray, valid: np.ndarray | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        end_point_error(constant(0, 0), truth, valid)


# Entries of the published circle: a turn takes 54 steps, from red over yellow (15), green (21), cyan (25), blue (36)
# and magenta (49) back.
@pytest.mark.parametrize(
    ("step", "colour"),
    [
        (0, (255, 0, 0)),
        (1, (255, 17, 0)),
        (15, (255, 255, 0)),
        (18, (127, 255, 0)),
        (21, (0, 255, 0)),
        (25, (0, 255, 255)),
        (36, (0, 0, 255)),
        (49, (255, 0, 255)),
        (53, (255, 0, 85)),
    ],
)
def test_directions_have_the_published_colours(step: int, colour: tuple[int, ...]) -> None:
    angle = 2 * np.pi * step / 54
    picture = flow_picture(constant(3 * np.cos(angle), 3 * np.sin(angle)), max_motion=3.0001)
    assert picture.size == (6, 4)
    np.testing.assert_allclose(np.asarray(picture)[0, 0], colour, atol=1)


def test_paleness_is_the_length() -> None:
    flow = np.array([[[0, 0], [-1, 0], [-2, 0], [-4, 0]]], dtype=np.float32)
    # To the left, step 27: two of eleven from cyan to blue.
    pure = np.array([0, 255 * 9 / 11, 255])
    expected = [np.full(3, 255), (255 + pure) / 2, pure, 0.75 * pure]
    np.testing.assert_allclose(np.asarray(flow_picture(flow, max_motion=2.0))[0], expected, atol=1)
    longest = np.asarray(flow_picture(flow))[0]
    np.testing.assert_allclose(longest[[0, 2, 3]], [expected[0], expected[1], pure], atol=1)


def test_what_is_not_known_is_black() -> None:
    flow = constant(1, 0)
    flow[0, 0], flow[0, 1, 1] = np.nan, 1e10
    valid = np.ones((4, 6), dtype=bool)
    valid[0, 2] = False
    picture = np.asarray(flow_picture(flow, valid=valid))
    assert not picture[0, :3].any()
    assert (picture[1:] == (255, 0, 0)).all()
    assert (np.asarray(flow_picture(constant(0, 0))) == 255).all()


@pytest.mark.parametrize("max_motion", [0.0, -1.0, np.nan, np.inf])
def test_max_motion_must_be_positive(max_motion: float) -> None:
    with pytest.raises(ValueError, match="max_motion"):
        flow_picture(constant(1, 0), max_motion=max_motion)


def test_the_wheel_shows_each_motion_where_it_leads() -> None:
    wheel = np.asarray(colour_wheel(101))
    assert wheel.shape == (101, 101, 3)
    assert (wheel[[0, 0, -1, -1, 50], [0, -1, 0, -1, 50]] == 255).all()
    np.testing.assert_allclose(wheel[50, 100], (255, 0, 0), atol=4)
    # Down, step 13.5 of 15 from red to yellow; up, 40.5.
    np.testing.assert_allclose(wheel[100, 50], (255, 230, 0), atol=4)
    np.testing.assert_allclose(wheel[0, 50], (255 * 4.5 / 13, 0, 255), atol=4)
    assert colour_wheel(1).size == (1, 1)
    with pytest.raises(ValueError, match=r"size \(0\)"):
        colour_wheel(0)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_warping_by_whole_pixels_shifts(dtype: type) -> None:
    frame = RNG.integers(1, 256, (5, 7, 3)).astype(dtype)
    fetched, outside = warp(frame, constant(2, -1, 5, 7))
    assert fetched.dtype == dtype
    np.testing.assert_array_equal(fetched[1:, :5], frame[:-1, 2:])
    expected = np.ones((5, 7), dtype=bool)
    expected[1:, :5] = False
    np.testing.assert_array_equal(outside, expected)
    assert not fetched[outside].any()


def test_warping_between_pixels_is_bilinear() -> None:
    rows, columns = np.indices((6, 8))
    frame = (10 * rows + 3 * columns)[..., None].astype(np.float64)
    fetched, outside = warp(frame, constant(0.25, 0.5, 6, 8))
    np.testing.assert_allclose(fetched[~outside], frame[~outside] + 0.25 * 3 + 0.5 * 10)
    assert (~outside).sum() == 5 * 7
    unmoved, outside = warp(frame, constant(0, 0, 6, 8))
    np.testing.assert_array_equal(unmoved, frame)
    assert not outside.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e30])
def test_what_comes_from_nowhere_is_outside(value: float) -> None:
    assert warp(np.ones((4, 6, 1), np.uint8), constant(value, 0))[1].all()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((4, 5, 3), np.uint8), r"\(4, 5, 3\)"),
        (np.zeros((4, 6), np.uint8), r"\(4, 6\)"),
        (np.zeros((4, 6, 3), np.int64), "int64"),
    ],
)
def test_frames_that_do_not_fit_are_refused(frame: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        warp(frame, constant(0, 0))


@pytest.mark.shared
@pytest.mark.parametrize("name", ["000", "005", "010"])
def test_the_true_flow_fetches_the_first_frame(name: str) -> None:
    if not PAIRS.is_dir():
        pytest.skip(f"needs {PAIRS}")
    first, second = (read_image(PAIRS / f"{name}_img{i}.jpg").astype(np.float32) for i in (1, 2))
    field = read_flow(PAIRS / f"{name}_flow.npz")
    assert field.occluded is not None
    fetched, outside = warp(second, field.flow)
    seen = ~field.occluded & ~outside
    # Everything that leaves the frame is marked as hidden in the data.
    assert (outside & ~field.occluded).mean() < 0.02
    right, still = (np.abs(image - first)[seen].mean() for image in (fetched, second))
    wrong_way = np.abs(warp(second, -field.flow)[0] - first)[seen].mean()
    assert right < 0.3 * min(still, wrong_way)


def test_arrows_lead_where_the_flow_does() -> None:
    frame = np.full((40, 60, 3), 200, np.uint8)
    picture = np.asarray(overlay(frame, constant(12, 0, 40, 60), spacing=20))
    drawn = (picture != 100).any(axis=-1)
    for y in (10, 30):
        assert drawn[y, 10:23].all()
        assert not drawn[y, 24:28].any()
        assert (picture[y, 15] == (255, 0, 0)).all()
    assert not drawn[20].any()
    # The barbs stand at the end.
    assert drawn[8:13, 16:23].sum() > 7 + 4
    assert not drawn[8:10, 8:15].any()


def test_the_frame_shows_between_the_arrows() -> None:
    frame = RNG.integers(0, 256, (20, 20), dtype=np.uint8)
    picture = overlay(Image.fromarray(frame), constant(np.nan, 0, 20, 20))
    np.testing.assert_array_equal(np.asarray(picture), np.repeat(frame[..., None] // 2, 3, axis=-1))
    still = np.asarray(overlay(np.zeros((20, 20, 3), np.uint8), constant(0, 0, 20, 20), spacing=100))
    assert np.argwhere(still.any(axis=-1)).tolist() == [[10, 10]]
    assert overlay(frame, constant(1e9, -1e9, 20, 20)).size == (20, 20)


def test_overlays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(4, 5\)"):
        overlay(np.zeros((4, 5, 3), np.uint8), constant(0, 0))
    with pytest.raises(ValueError, match=r"spacing \(0\)"):
        overlay(np.zeros((4, 6, 3), np.uint8), constant(0, 0), spacing=0)


def test_errors_have_the_colour_of_their_class_on_the_scale() -> None:
    errors = [0, 0.2, 0.5, 1, 2, 3, 7, 13, 30, np.nan]
    flow = np.array([[[0, error] for error in errors]], dtype=np.float32)
    valid = np.ones((2, 10), dtype=bool)
    valid[1] = False
    flow, truth = np.repeat(flow, 2, axis=0), np.zeros((2, 10, 2), np.float32)
    picture = np.asarray(error_picture(flow, truth, valid))
    colours = [tuple(colour) for colour in picture[0, :10].tolist()]
    assert len(set(colours)) == 10
    assert not picture[1, :10].any()
    # The scale stands at the right, the largest error on top.
    scale = [tuple(colour) for colour in picture[7::14, 18].tolist()]
    assert scale == colours[::-1]
    blue, red = np.array(colours[:5]), np.array(colours[5:])
    assert (blue[:, 2] > blue[:, 0]).all()
    assert (red[:, 0] > red[:, 2]).all()
    assert (picture[2:, :10] == 255).all()
