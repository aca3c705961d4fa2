"""Scores of video and sound with known values, and pictures whose pixels say what they should."""

import math

import numpy as np
import pytest
from PIL import Image

from perceivers.processing.video_pictures import (
    psnr,
    side_by_side,
    signal_to_noise,
    spectrogram,
    spectrogram_picture,
    waveform_picture,
)

RNG = np.random.default_rng(0)
SOUND = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)).astype(np.float32)


def test_psnr_of_known_differences() -> None:
    video = RNG.random((2, 4, 5, 3))
    assert psnr(video, video) == math.inf
    assert psnr(video, video + 0.1) == pytest.approx(20)
    assert psnr(video, video - 0.01) == pytest.approx(40)
    assert psnr(video, video + 0.1, peak=2.0) == pytest.approx(20 + 20 * math.log10(2))
    # The same picture in bytes has the same score.
    assert psnr(255 * video, 255 * video + 2.55, peak=255.0) == pytest.approx(40)
    assert psnr(video.astype(np.float32), (video + 0.1).astype(np.float32)) == pytest.approx(20, abs=1e-4)


def test_signal_to_noise_of_known_differences() -> None:
    assert signal_to_noise(SOUND, SOUND) == math.inf
    assert signal_to_noise(SOUND, np.zeros_like(SOUND)) == pytest.approx(0)
    assert signal_to_noise(SOUND, 0.9 * SOUND) == pytest.approx(20, abs=1e-4)
    # How loud all is does not matter.
    assert signal_to_noise(0.01 * SOUND, 0.009 * SOUND) == pytest.approx(20, abs=1e-4)


@pytest.mark.parametrize(
    ("reference", "other", "peak", "message"),
    [
        (SOUND, SOUND[1:], 1.0, r"\(7999,\).*\(8000,\)"),
        (SOUND[:0], SOUND[:0], 1.0, r"\(0,\)"),
        (np.zeros(4, np.uint8), np.zeros(4), 1.0, "reference of type uint8"),
        (np.zeros(4), np.array([0, 0, 0, np.nan]), 1.0, "other must be finite"),
        (SOUND, SOUND, 0.0, r"peak \(0\.0\)"),
        (SOUND, SOUND, math.inf, r"peak \(inf\)"),
    ],
)
def test_signals_that_do_not_fit_are_refused(
    reference: np.ndarray, other: np.ndarray, peak: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        psnr(reference, other, peak)


def test_without_a_signal_there_is_no_ratio() -> None:
    with pytest.raises(ValueError, match="zero everywhere"):
        signal_to_noise(np.zeros(5), np.ones(5))


def colours_of(sheet: Image.Image, row: int, column: int) -> np.ndarray:
    """Return the middle of a frame 40 wide and 20 high in a contact sheet."""
    line = 13 + 2 * 4
    top = line + row * (line + 20) + line + 10
    return np.asarray(sheet)[top, 4 + column * 44 + 20]


def test_a_sheet_shows_frames_under_each_other() -> None:
    levels = np.arange(0, 180, 20, dtype=np.uint8)  # 9 frames
    original = np.broadcast_to(levels[:, None, None, None], (9, 10, 20, 3)).copy()
    reconstruction = original + np.array([16, 0, 0], np.uint8)
    reconstruction[8] = original[8] + 64
    sheet = side_by_side(original, reconstruction, num_frames=3, frame_width=40)
    for column, frame in enumerate((0, 4, 8)):
        np.testing.assert_array_equal(colours_of(sheet, 0, column), original[frame, 0, 0])
        np.testing.assert_array_equal(colours_of(sheet, 1, column), reconstruction[frame, 0, 0])
    # The mean of the channels, 16 / 3 of 64, then the end of the scale.
    assert colours_of(sheet, 2, 0).tolist() == [round(255 * (1 - 16 / 3 / 64))] * 3
    assert colours_of(sheet, 2, 2).tolist() == [0, 0, 0]
    without = side_by_side(original, reconstruction, num_frames=3, frame_width=40, errors=False)
    assert without.height == sheet.height - 20 - 21
    floats = side_by_side(original / 255, reconstruction / 255, num_frames=3, frame_width=40)
    np.testing.assert_array_equal(np.asarray(floats), np.asarray(sheet))


def test_a_sheet_names_its_rows_and_times() -> None:
    video = RNG.random((4, 10, 20, 3))
    plain = np.asarray(side_by_side(video, video, frame_width=60))
    timed = np.asarray(side_by_side(video, video, frame_width=60, times=[0.5, 1.0, 1.5, 2.0]))
    named = np.asarray(side_by_side(video, video, frame_width=60, labels=("seen", "made")))
    assert (plain[:20] != timed[:20]).any()
    np.testing.assert_array_equal(plain[21:], timed[21:])
    np.testing.assert_array_equal(plain[:20], named[:20])
    assert (plain[21:42] != named[21:42]).any()
    # Names are never cut off, however narrow the frames are.
    narrow = np.asarray(side_by_side(video, video, num_frames=1, frame_width=4))
    assert narrow.shape[1] > 150


@pytest.mark.parametrize(
    ("other", "settings", "message"),
    [
        (np.zeros((3, 4, 4, 3)), {}, r"\(3, 4, 4, 3\).*\(2, 4, 4, 3\)"),
        (np.full((2, 4, 4, 3), 2.0), {}, "2"),
        (np.zeros((2, 4, 4, 3)), {"num_frames": 0}, r"num_frames \(0\)"),
        (np.zeros((2, 4, 4, 3)), {"frame_width": 0}, r"frame_width \(0\)"),
        (np.zeros((2, 4, 4, 3)), {"times": [0.0]}, r"times \(1\).*\(2\)"),
    ],
)
def test_sheets_that_cannot_be_are_refused(other: np.ndarray, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        side_by_side(np.zeros((2, 4, 4, 3)), other, **settings)  # type: ignore[arg-type]


def coloured(picture: Image.Image, colour: str) -> np.ndarray:
    """Return where a picture has a colour, (H, W)."""
    values = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return np.abs(np.asarray(picture).astype(int) - values).max(axis=-1) < 12


def test_waves_are_drawn_where_sound_is() -> None:
    half = SOUND.copy()
    half[4000:] = 0
    picture = waveform_picture(SOUND, half, 8000)
    blue, orange = coloured(picture, "#2563a8"), coloured(picture, "#c2480c")
    third, middle = picture.height // 3, picture.width // 2 + 30
    # The original everywhere, the reconstruction in the first half, the difference in the second.
    filled = [blue[:third], blue[third : 2 * third], orange[2 * third :]]
    left, right = zip(*((part[:, 80:middle].mean(), part[:, middle + 20 : -20].mean()) for part in filled), strict=True)
    assert min(left[0], right[0], left[1], right[2]) > 0.2
    assert max(right[1], left[2]) < 0.05
    silent = waveform_picture(np.zeros(50), np.zeros(50), 8000)
    assert silent.size == picture.size


def test_a_spectrogram_shows_level_and_frequency() -> None:
    levels = spectrogram(SOUND)
    assert levels.shape == (513, 28)
    # 1000 of 8000 Hz lies at 1/4 of the frequencies up to 4000; half of full scale is -6 dB.
    assert (levels.argmax(axis=0) == 128).all()
    np.testing.assert_allclose(levels[128], 20 * math.log10(0.5), atol=1e-3)
    assert levels.min() == -80
    assert (spectrogram(np.zeros(100)) == -80).all()
    assert spectrogram(np.ones(1)).shape == (2, 1)


def test_spectrograms_share_their_colours() -> None:
    alone = np.asarray(spectrogram_picture(SOUND, SOUND, 8000)).astype(int)
    quiet = np.asarray(spectrogram_picture(SOUND, 0.01 * SOUND, 8000)).astype(int)
    half = alone.shape[0] // 2
    # The louder sets the scale, and keeps its colours; the quieter is darker.
    np.testing.assert_array_equal(alone[: half - 20], quiet[: half - 20])
    inner = (slice(half + 40, -60), slice(100, -200))
    assert quiet[inner].max(axis=(0, 1)).sum() < alone[inner].max(axis=(0, 1)).sum()


@pytest.mark.parametrize("draw", [waveform_picture, spectrogram_picture])
def test_sounds_that_do_not_fit_are_refused(draw: object) -> None:
    for first, second, rate, message in [
        (SOUND, SOUND[1:], 8000, r"\(7999,\)"),
        (SOUND[None], SOUND[None], 8000, r"\(1, 8000\)"),
        (SOUND, SOUND, 0, r"sample_rate \(0\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            draw(first, second, rate)  # type: ignore[operator]
