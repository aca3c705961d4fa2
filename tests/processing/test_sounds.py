"""Sound in all the forms that it comes in, and what is wrong with files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from perceivers.processing.sound_pictures import draw_sound
from perceivers.processing.sounds import read_sound, sound_problem, sound_seconds


def tone(seconds: float = 0.5, rate: int = 8000, hertz: float = 300.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def test_every_form_gives_the_same(tmp_path: Path) -> None:
    wave = tone()
    path = tmp_path / "tone.flac"
    soundfile.write(path, wave, 8000)
    expected = read_sound(str(path), 8000)
    np.testing.assert_allclose(expected, wave, atol=1e-4)
    forms: list[Any] = [
        path,
        path.read_bytes(),
        {"path": str(path), "bytes": None},
        {"path": "elsewhere.flac", "bytes": path.read_bytes()},
        {"array": wave, "sampling_rate": 8000},
        {"raw": wave.tolist(), "sampling_rate": np.int64(8000)},
        {"array": np.stack([wave, wave], axis=1), "sampling_rate": 8000},
        wave,
        np.rint(wave * 2**15).astype(np.int16),
    ]
    for form in forms:
        found = read_sound(form, 8000)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_files_of_other_rates_and_two_channels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tone{suffix}"
    wave = tone(rate=44100)
    soundfile.write(path, np.stack([wave, -0.5 * wave], axis=1), 44100)
    found = read_sound(path, 8000)
    assert abs(len(found) - 4000) <= 450  # Lossy formats add a little at the ends.
    level = np.sqrt(np.mean(found[800:3200] ** 2))
    assert level == pytest.approx(0.5 / np.sqrt(2) / 4, rel=0.05)


def test_files_say_how_long_they_are(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(0.75), 8000)
    (tmp_path / "notes.wav").write_text("none")
    assert sound_seconds(tmp_path / "tone.wav") == 0.75
    assert sound_seconds(tmp_path / "notes.wav") is None


def test_resampling_keeps_the_pitch() -> None:
    found = read_sound({"array": tone(rate=16000), "sampling_rate": 16000}, 8000)
    assert np.abs(np.fft.rfft(found)).argmax() == 150  # 300 Hz in half a second.


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_files_that_are_cut_off_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, 4000), 8000)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"cut.* (is cut off: it says 4000 samples and has \d+|has no sound)"):
        read_sound(path, 8000)
    with pytest.raises(ValueError, match="of 3000 bytes"):
        read_sound(path.read_bytes(), 8000)


def test_wav_files_of_unknown_length_are_read(tmp_path: Path) -> None:
    """A program that writes to a pipe cannot go back to say how long it became."""
    path = tmp_path / "piped.wav"
    soundfile.write(path, tone(), 8000)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert len(read_sound(path, 8000)) == 4000


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("absent.wav", "sound file 'absent.wav' does not exist"),
        (b"no sound", "of 8 bytes"),
        ({"array": [0.0, 0.5]}, "needs 'sampling_rate', a whole number; got None"),
        ({"array": [0.0, 0.5], "sampling_rate": 0}, r"sample_rate \(0\) must lie between"),
        ({"array": [[0.0], [0.5, 1.0]], "sampling_rate": 8000}, "one length in all channels"),
        ({"label": 1}, r"must have 'path', 'bytes', or 'array' and 'sampling_rate'; got \['label'\]"),
        (np.zeros((0,), np.float32), "at least one sample"),
        (np.full(4, 2.0), "floats must lie in"),
        (None, "not of type object"),
    ],
)
def test_what_is_no_sound(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_sound(value, 8000)


def test_problems_of_values_in_data(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), 8000)
    assert sound_problem(str(path)) is None
    assert sound_problem({"array": tone(), "sampling_rate": 8000}) is None
    assert sound_problem("") == sound_problem(None) == "the sound is missing"
    path.write_text("words")
    assert "a.wav" in (sound_problem(str(path)) or "")


def test_pictures_show_when_and_how_high() -> None:
    wave = np.concatenate([np.zeros(4000), tone(hertz=3500.0)]).astype(np.float32)
    pixels = np.asarray(draw_sound(wave, 8000)).astype(int)
    plane = pixels[77:187, 1:479].sum(axis=2)
    plane = plane.max() - plane  # Ink of the spectrogram.
    assert plane[:, 300:].mean() > 4 * plane[:, :200].mean()
    assert plane[:, 300:].sum(axis=1).argmax() < 30
    assert (pixels[:60, :200] == 255).mean() > 0.95
    # Neither silence nor a single sample is too little to draw.
    assert draw_sound(np.zeros(1, np.float32), 8000).size == draw_sound(wave, 8000).size
