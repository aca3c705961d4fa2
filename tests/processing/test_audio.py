"""Sound files to one channel at a rate and back, and sound laid on a clock."""

import re
import wave
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from media_examples import grey_frames, real_video, write_media
from perceivers.processing.audio import SoundTrack, as_channels, read_audio, resample, write_wav
from perceivers.processing.video_writing import write_video

SECONDS = np.arange(8000) / 8000
TONE = (0.5 * np.sin(2 * np.pi * 440 * SECONDS)).astype(np.float32)
OTHER = (0.3 * np.sin(2 * np.pi * 300 * SECONDS)).astype(np.float32)


def test_wav_gives_back_what_was_written(tmp_path: Path) -> None:
    samples = np.concatenate([TONE, [1, -1, 2, -2]]).astype(np.float64)
    write_wav(tmp_path / "a.WAV", samples, 8000)
    with wave.open(str(tmp_path / "a.WAV")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
    got, rate = read_audio(tmp_path / "a.WAV")
    assert (got.dtype, rate) == (np.float32, 8000)
    np.testing.assert_allclose(got, np.clip(samples, -1, 1), atol=2**-15)
    # 16 bits are exact from then on.
    write_wav(tmp_path / "b.wav", got, rate)
    np.testing.assert_array_equal(read_audio(tmp_path / "b.wav")[0], got)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.WAV", "b.wav"]


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".aiff"])
def test_other_formats_and_channels(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, np.stack([TONE, OTHER], axis=1), 8000)
    # Vorbis is not exact.
    atol = 0.02 if suffix == ".ogg" else 1e-4
    np.testing.assert_allclose(read_audio(path)[0], (TONE + OTHER) / 2, atol=atol)
    np.testing.assert_allclose(read_audio(path, stereo="first")[0], TONE, atol=atol)


def test_the_sound_of_a_video_is_read(tmp_path: Path) -> None:
    path = write_media(
        *(tmp_path / "a.mkv", grey_frames([0]), [0.0]),
        *(np.stack([TONE, OTHER])[None], [0.5], 8000),
    )
    got, rate = read_audio(path)
    assert rate == 8000
    np.testing.assert_allclose(got, (TONE + OTHER) / 2, atol=1e-4)
    np.testing.assert_allclose(read_audio(path, stereo="first")[0], TONE, atol=1e-4)
    write_video(tmp_path / "b.mp4", grey_frames([0] * 25), 25.0, TONE, 8000)
    got, rate = read_audio(tmp_path / "b.mp4")
    assert np.corrcoef(got[:8000], TONE)[0, 1] > 0.99


def test_more_channels_are_weighed_by_their_layout(tmp_path: Path) -> None:
    loudness = {}
    # The places of 5.1: left, right, centre, low effects, back left, back right.
    for place, name in enumerate(["left", "right", "centre", "low", "behind"]):
        voices = np.zeros((1, 6, 8000))
        voices[0, place] = TONE
        path = write_media(tmp_path / f"{name}.mkv", grey_frames([0]), [0.0], voices, [0.0], 8000, "flac")
        loudness[name] = float(np.abs(read_audio(path)[0]).max())
    assert loudness["left"] == pytest.approx(loudness["right"], rel=1e-3)
    assert loudness["centre"] == pytest.approx(2**0.5 * loudness["left"], rel=1e-3)
    assert loudness["behind"] == pytest.approx(0.5**0.5 * loudness["left"], rel=1e-3)
    assert loudness["low"] == 0
    everywhere = np.ones((1, 6, 8000)) * TONE
    path = write_media(tmp_path / "all.mkv", grey_frames([0]), [0.0], everywhere, [0.0], 8000, "flac")
    np.testing.assert_allclose(read_audio(path)[0], TONE, atol=1e-4)
    # Where nothing says which is which, they count alike.
    path = write_media(tmp_path / "unknown.mkv", grey_frames([0]), [0.0], voices, [0.0], 8000)
    np.testing.assert_allclose(read_audio(path)[0], TONE / 6, atol=1e-4)


@pytest.mark.parametrize(("rate", "new_rate"), [(8000, 48000), (48000, 8000), (44100, 48000), (200, 7350)])
def test_resampling_keeps_time_and_level(rate: int, new_rate: int) -> None:
    def tone(at: int) -> np.ndarray:
        return (0.7 * np.sin(2 * np.pi * 30 * np.arange(at) / at)).astype(np.float32)

    got = resample(tone(rate), rate, new_rate)
    assert got.shape == (new_rate,)
    inner = slice(new_rate // 10, -new_rate // 10)
    np.testing.assert_allclose(got[inner], tone(new_rate)[inner], atol=2e-3)


def test_resampling_removes_what_the_new_rate_cannot_hold() -> None:
    high = np.sin(2 * np.pi * 10000 * np.arange(48000) / 48000).astype(np.float32)
    assert np.abs(resample(high, 48000, 8000)[200:-200]).max() < 0.01
    click = np.zeros(4000, np.float32)
    click[1234] = 1
    assert int(resample(click, 8000, 48000).argmax()) == 6 * 1234


def test_a_rate_may_be_asked_for(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", TONE, 8000)
    got, rate = read_audio(str(tmp_path / "a.wav"), 16000)
    assert (got.shape, rate) == ((16000,), 16000)
    np.testing.assert_allclose(got[200:-200:2], TONE[100:-100], atol=1e-3)


def test_a_track_fills_gaps_and_drops_repeats() -> None:
    def piece(first: int, count: int, value: float) -> tuple[int, np.ndarray]:
        return first, np.full(count, value, np.float32)

    pieces = [piece(-3, 5, 1), piece(4, 3, 2), piece(5, 1, 9), piece(6, 4, 3), piece(20, 2, 4)]
    track = SoundTrack(iter(pieces))
    samples, num_real = track.take(0, 6)
    assert (samples.tolist(), num_real) == ([1, 1, 0, 0, 2, 2], 4)
    assert track.start == -3
    # What was taken may be taken again as long as nothing later was.
    samples, num_real = track.take(3, 9)
    assert (samples.tolist(), num_real) == ([0, 2, 2, 2, 3, 3, 3, 0, 0], 6)
    samples, num_real = track.take(12, 20)
    assert (np.flatnonzero(samples).tolist(), num_real) == ([8, 9], 2)
    assert track.end == 22
    assert track.take(100, 3)[1] == 0


def test_channels_are_found() -> None:
    both = np.stack([TONE, OTHER])
    for array in (both, both.T):
        np.testing.assert_array_equal(as_channels(array), both)
    for array in (TONE, TONE[None], TONE[:, None]):
        np.testing.assert_array_equal(as_channels(array), TONE[None])
    np.testing.assert_array_equal(as_channels(np.array([-(2**15), 2**14], np.int16)), [[-1, 0.5]])


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros((2, 2)), "ambiguous"),
        (np.zeros((1, 2)), "ambiguous"),
        (np.zeros((3, 100)), r"\(3, 100\)"),
        (np.zeros((2, 0)), r"\(2, 0\)"),
        (np.zeros(0), r"\(0,\)"),
        (np.zeros((1, 2, 5)), r"\(1, 2, 5\)"),
        (np.zeros(9, np.int32), "int32"),
        (np.array([0.0, 1.5]), r"0 to 1\.5"),
        (np.array([0.0, np.nan]), "nan"),
    ],
)
def test_sound_of_other_forms_is_refused(audio: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_channels(audio)


def test_files_that_hold_no_sound_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with pytest.raises(ValueError, match=r"a\.wav' does not exist"):
        read_audio(path)
    path.write_bytes(b"no sound")
    with pytest.raises(ValueError, match=r"a\.wav' cannot be read"):
        read_audio(path)
    write_wav(path, np.zeros(0), 8000)
    with pytest.raises(ValueError, match=r"a\.wav' has no sound"):
        read_audio(path)
    write_video(tmp_path / "b.mp4", grey_frames([0, 1]), 25.0)
    with pytest.raises(ValueError, match=r"b\.mp4' has no sound"):
        read_audio(tmp_path / "b.mp4")
    soundfile.write(path, np.array([0, np.nan]), 8000, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"a\.wav'.*finite"):
        read_audio(path)
    with pytest.raises(ValueError, match=r"sample_rate \(0\)"):
        read_audio(path, 0)
    with pytest.raises(ValueError, match=r"stereo \('left'\) must be one of \['mix', 'first'\]"):
        read_audio.__wrapped__(path, None, "left")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "samples", "rate", "message"),
    [
        ("a.mp3", TONE, 8000, r"a\.mp3' must end in \.wav"),
        ("a.wav", TONE[None], 8000, r"\(1, 8000\)"),
        ("a.wav", np.zeros(4, np.int16), 8000, "int16"),
        ("a.wav", np.array([np.inf]), 8000, "finite"),
        ("a.wav", TONE, 0, r"sample_rate \(0\)"),
        ("absent/a.wav", TONE, 8000, "absent.*does not exist"),
    ],
)
def test_writing_refuses_what_is_no_sound(
    name: str, samples: np.ndarray, rate: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        write_wav(tmp_path / name, samples, rate)
    assert not list(tmp_path.iterdir())


def test_damage_is_refused_by_name_or_read(tmp_path: Path) -> None:
    source = tmp_path / "whole.mp4"
    write_video(source, grey_frames([0] * 25), 25.0, TONE, 8000)
    data, noise, path = source.read_bytes(), np.random.default_rng(0), tmp_path / "a.mp4"
    for _ in range(40):
        changed = bytearray(data)
        for position in noise.integers(0, len(data), 6):
            changed[position] = noise.integers(256)
        path.write_bytes(changed)
        try:
            assert np.abs(read_audio(path)[0]).max() <= 1
        except ValueError as error:
            assert re.search(re.escape(str(path)), str(error))  # noqa: PT017


@pytest.mark.shared
def test_real_sound_is_what_ffmpeg_decodes() -> None:
    path = real_video("nasa_13013.mp4")
    samples, rate = read_audio(path)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    expected = np.concatenate(frames, axis=1).mean(axis=0)
    assert rate == 8000
    np.testing.assert_allclose(samples, np.clip(expected, -1, 1), atol=1e-6)
