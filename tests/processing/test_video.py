"""Windows of pictures and sound on one clock, from files and arrays, with bounded memory."""

import itertools
import re
import resource
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from media_examples import grey_frames, real_video, turn_mp4, write_media
from perceivers.processing.media import Notes
from perceivers.processing.video import Clip, ClipForm, clip_from_arrays, fit_frame, open_clip
from perceivers.processing.video_writing import write_video

SMALL = ClipForm(num_frames=4, size=(8, 8), sample_rate=8000)


def levels(clip: Clip) -> list[int]:
    """Return the grey level of each real frame of windows that follow each other."""
    frames = np.concatenate([window.video[: window.num_real_frames] for window in clip])
    return [int(level) for level in np.rint(frames.mean(axis=(1, 2, 3)))]


def sound(clip: Clip) -> np.ndarray:
    return np.concatenate([window.audio for window in clip])


def has_note(clip: Clip, pattern: str) -> bool:
    return any(re.search(pattern, note) for note in clip.notes)


def test_windows_of_the_released_models_form(tmp_path: Path) -> None:
    frames = grey_frames(list(range(20, 220, 10)), 48, 64)
    write_video(tmp_path / "a.mp4", frames, 25.0, np.zeros(38400, np.float32), 48000)
    clip = open_clip(tmp_path / "a.mp4")
    assert clip.has_audio
    assert clip.expected_windows == 2
    first, last = clip
    for window in (first, last):
        assert (window.video.shape, window.video.dtype) == ((16, 224, 224, 3), np.uint8)
        assert (window.audio.shape, window.audio.dtype) == ((30720,), np.float32)
        assert window.has_audio
    assert (first.start, first.num_real_frames, first.num_real_samples) == (0, 16, 30720)
    assert (last.start, last.num_real_frames, last.num_real_samples) == (0.64, 4, 7680)
    np.testing.assert_array_equal(last.video[4:], np.broadcast_to(last.video[3], (12, 224, 224, 3)))
    assert not last.audio[7680:].any()
    assert has_note(clip, "padded.*silence: 4 of 16 frames are real")
    assert np.abs(np.array(levels(clip)) - frames[:, 0, 0, 0]).max() <= 2


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_flash_and_a_click_stay_together(suffix: str, tmp_path: Path) -> None:
    frames = grey_frames([255 if i in (0, 21, 47) else 0 for i in range(50)])
    clicks = np.zeros(96000, np.float32)
    clicks[[21 * 1920, 47 * 1920]] = 0.9
    path = tmp_path / f"a{suffix}"
    write_video(path, frames, 25.0, clicks, 48000)
    windows = list(open_clip(path, ClipForm(size=(8, 8))))
    video = np.concatenate([window.video for window in windows])[:50]
    assert np.flatnonzero(video.mean(axis=(1, 2, 3)) > 128).tolist() == [0, 21, 47]
    heard = np.abs(np.concatenate([window.audio for window in windows]))
    for frame in (21, 47):
        near = heard[frame * 1920 - 960 : frame * 1920 + 960]
        # AAC smears a click by a few samples, and .mkv rounds times to milliseconds.
        assert abs(int(near.argmax()) - 960) <= (48 if suffix == ".mkv" else 2)
        assert near.max() > 10 * np.median(heard) + 0.2


def test_pictures_are_the_nearest_in_time(tmp_path: Path) -> None:
    # Uneven times: at 25 a second, each moment takes what is nearest, and of two as near the earlier.
    times = [0.0, 0.03, 0.1, 0.11, 0.3]
    path = write_media(tmp_path / "a.mkv", grey_frames([0, 60, 120, 180, 240]), times)
    got = levels(open_clip(path, SMALL))
    moments = np.arange(len(got)) * 0.04
    expected = [60 * int(np.abs(np.array(times) - moment).argmin()) for moment in moments]
    assert np.abs(np.array(got) - expected).max() <= 3
    # The last picture begins at 0.3 s and is shown for a while.
    assert len(got) >= 8


@pytest.mark.parametrize(
    ("rate", "count", "expected"),
    [
        (50.0, 8, [0, 2, 4, 6]),
        (12.5, 3, [0, 0, 1, 1, 2, 2]),
        (30.0, 6, [0, 1, 2, 4, 5]),
        (24.0, 24, [round(i * 0.96 - 1e-6) for i in range(25)]),
    ],
)
def test_rates_become_one_another(rate: float, count: int, expected: list[int]) -> None:
    clip = clip_from_arrays(grey_frames([10 * i for i in range(count)]), rate, form=SMALL)
    assert levels(clip) == [10 * i for i in expected]
    assert has_note(clip, f"{rate:g} frames a second resampled to 25 by nearest frame")


def test_sound_is_laid_by_its_own_times(tmp_path: Path) -> None:
    # It begins 0.1 s late, and lacks the time from 0.3 to 0.4 s.
    pieces = np.full((2, 1, 1600), 0.5)
    path = write_media(tmp_path / "a.mkv", grey_frames([0] * 20), [i / 25 for i in range(20)], pieces, [0.1, 0.4], 8000)
    clip = open_clip(path, SMALL)
    heard = sound(clip)
    expected = np.zeros(6400)
    expected[800:2400] = expected[3200:4800] = 0.5
    np.testing.assert_allclose(heard, expected, atol=1e-3)
    assert has_note(clip, r"sound starts 0\.10 s after the video: aligned")
    assert has_note(clip, r"sound ends 0\.20 s before the video: silence")
    assert [window.has_audio for window in clip] == [True, True, True, True, False]


def test_sound_from_before_the_video_is_left_out(tmp_path: Path) -> None:
    ramp = np.linspace(0, 0.8, 8000).reshape(1, 1, 8000)
    path = write_media(tmp_path / "a.mkv", grey_frames([0] * 10), [0.2 + i / 25 for i in range(10)], ramp, [0.0], 8000)
    clip = open_clip(path, SMALL)
    window = next(iter(clip))
    np.testing.assert_allclose(window.audio[:100], ramp[0, 0, 1600:1700], atol=1e-3)
    assert has_note(clip, r"sound starts 0\.20 s before the video: aligned")


def test_channels_and_rates_of_sound(tmp_path: Path) -> None:
    seconds = np.arange(16000) / 16000
    left, right = 0.5 * np.sin(2 * np.pi * 200 * seconds), 0.3 * np.sin(2 * np.pi * 300 * seconds)
    path = write_media(
        *(tmp_path / "a.mkv", grey_frames([0] * 20), [i / 25 for i in range(20)]),
        *(np.stack([left, right])[None], [0.0], 16000),
    )
    clip = open_clip(path, SMALL)
    mixed = sound(clip)
    np.testing.assert_allclose(mixed[100:6300], ((left + right) / 2)[::2][100:6300], atol=2e-3)
    assert has_note(clip, "stereo sound mixed to mono")
    assert has_note(clip, "16000 Hz resampled to 8000 Hz")
    clip = open_clip(path, ClipForm(num_frames=4, size=(8, 8), sample_rate=8000, stereo="first"))
    np.testing.assert_allclose(sound(clip)[100:6300], left[::2][100:6300], atol=2e-3)
    assert has_note(clip, "first of 2 channels taken")


def test_arrays_give_what_files_give() -> None:
    frames = np.random.default_rng(0).random((10, 12, 12, 3))
    audio = np.linspace(-1, 1, 3200, dtype=np.float32)
    form = ClipForm(num_frames=4, size=(12, 12), sample_rate=8000)
    windows = list(clip_from_arrays(frames, 25.0, audio, 8000, form))
    video = np.concatenate([window.video for window in windows])
    np.testing.assert_array_equal(video[:10], np.rint(frames * 255))
    heard = np.concatenate([window.audio for window in windows])
    np.testing.assert_allclose(heard[:3200], audio, atol=1e-6)
    assert not heard[3200:].any()
    for stereo in (np.stack([audio, -audio]), np.stack([audio, -audio], axis=1)):
        np.testing.assert_allclose(sound(clip_from_arrays(frames, 25.0, stereo, 8000, form)), 0, atol=1e-6)
    silent = clip_from_arrays(frames, 25.0, form=form)
    assert not silent.has_audio
    assert not any(window.has_audio or window.audio.any() for window in silent)
    assert has_note(silent, "no sound track: silence")


@pytest.mark.parametrize(
    ("step", "starts", "first_levels"),
    [
        (1, [0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6]),
        (2, [0, 2, 4, 6], [0, 2, 4, 6]),
        (4, [0, 4, 8], [0, 4, 8]),
        (7, [0, 7], [0, 7]),
        (20, [0], [0]),
    ],
)
def test_windows_overlap_or_lie_apart(step: int, starts: list[int], first_levels: list[int]) -> None:
    form = ClipForm(num_frames=4, size=(8, 8), sample_rate=8000, step=step)
    ramp = np.arange(3200, dtype=np.float32) / 3200
    clip = clip_from_arrays(grey_frames(list(range(10)), 8, 8), 25.0, ramp, 8000, form)
    windows = list(clip)
    assert [round(window.start * 25) for window in windows] == starts
    assert clip.expected_windows == len(starts)
    assert [int(window.video[0, 0, 0, 0]) for window in windows] == first_levels
    for window in windows:
        begin = round(window.start * 8000)
        real = window.num_real_samples
        np.testing.assert_allclose(window.audio[:real], ramp[begin : begin + real], atol=1e-6)
        assert real == 320 * window.num_real_frames
    # Every frame is in some window where they do not lie apart.
    seen = {i + k for window, i in zip(windows, starts, strict=True) for k in range(window.num_real_frames)}
    assert step > 4 or seen == set(range(10))


def test_samples_may_be_counted_apart_from_frames() -> None:
    form = ClipForm(num_frames=4, size=(8, 8), sample_rate=8000, num_samples=500)
    windows = list(clip_from_arrays(grey_frames([0] * 8), 25.0, np.ones(2560, np.float32), 8000, form))
    assert [window.audio.shape for window in windows] == [(500,), (500,)]


def test_a_stretch_of_time_is_what_it_is_in_the_whole(tmp_path: Path) -> None:
    frames = grey_frames([(37 * i) % 250 for i in range(100)])
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 32000).astype(np.float32)
    write_video(tmp_path / "a.mp4", frames, 25.0, noise, 8000)
    whole = list(open_clip(tmp_path / "a.mp4", SMALL))
    clip = open_clip(tmp_path / "a.mp4", SMALL, start=2.24, end=2.88)
    part = list(clip)
    assert clip.expected_windows == len(part) == 4
    for one, other in zip(part, whole[14:18], strict=True):
        assert one.start == pytest.approx(other.start)
        np.testing.assert_array_equal(one.video, other.video)
        # The first samples after a jump may differ: the resampler and AAC look back.
        np.testing.assert_allclose(one.audio, other.audio, atol=1e-3)
    with pytest.raises(ValueError, match=r"a\.mp4.*no picture in the time"):
        next(iter(open_clip(tmp_path / "a.mp4", SMALL, start=9.0)))


def test_pictures_are_turned_as_the_file_asks(tmp_path: Path) -> None:
    frames = np.zeros((2, 32, 64, 3), np.uint8)
    frames[:, :, :32] = 250  # The left half: turned clockwise, it is on top.
    write_video(tmp_path / "a.mp4", frames, 25.0)
    turn_mp4(tmp_path / "a.mp4")
    clip = open_clip(tmp_path / "a.mp4", ClipForm(num_frames=2, size=(64, 32)))
    video = next(iter(clip)).video
    assert video[0, :28].min() > 200
    assert video[0, 36:].max() < 50
    assert has_note(clip, "turned by 270 degrees")


def test_the_middle_is_cut_out_and_resized() -> None:
    notes = Notes()
    picture = np.zeros((10, 20, 3), np.uint8)
    picture[:, 5:15] = 200
    assert (fit_frame(picture, (5, 5), 1.0, notes) == 200).all()
    assert notes.as_tuple() == (
        "10 x 20 pixels cut to the middle 10 x 10",
        "10 x 10 pixels resized to 5 x 5, bilinear",
    )
    assert fit_frame(picture, (10, 20), 1.0, notes) is not None
    np.testing.assert_array_equal(fit_frame(picture, (10, 20), 1.0, notes), picture)
    # Pixels twice as wide as high: all 10 rows, but only 5 columns make a square.
    marked = np.zeros((10, 20, 3), np.uint8)
    marked[:, 8:13] = 255
    assert (fit_frame(marked, (10, 10), 2.0, notes) == 255).all()
    assert fit_frame(picture, (2, 200), 1.0, notes).shape == (2, 200, 3)


def write_long(path: Path, num_frames: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    frames: Iterator[np.ndarray] = (np.roll(picture, i, axis=1) for i in range(num_frames))
    write_video(path, frames, 25.0, (np.zeros(1920, np.float32) for _ in range(num_frames)), 48000)


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    write_long(tmp_path / "a.mp4", 750)
    form = ClipForm(size=(128, 128))
    tracemalloc.start()
    try:
        held, resident = [], []
        for _ in open_clip(tmp_path / "a.mp4", form):
            held.append(tracemalloc.get_traced_memory()[0])
            resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize())
    finally:
        tracemalloc.stop()
    assert len(held) == 47
    # Held as a whole, the frames alone would take 37 MB. What FFmpeg holds shows in the memory of the process.
    assert max(held[6:]) < max(held[:6]) + 1e6
    assert max(resident[6:]) < max(resident[:6]) + 15e6


def test_damaged_files_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    whole = tmp_path / "a.mkv"
    noise = np.random.default_rng(2).integers(0, 256, (60, 64, 64, 3), np.uint8)
    write_video(whole, noise, 25.0, np.zeros(57600 * 2, np.float32), 48000)
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) // 2])
    clip = open_clip(whole, SMALL)
    num_real = sum(window.num_real_frames for window in clip)
    assert 10 < num_real < 50
    whole.write_bytes(data[:300])
    with pytest.raises(ValueError, match=re.escape(str(whole))):
        list(open_clip(whole, SMALL))
    movie = tmp_path / "a.mp4"
    write_video(movie, noise, 25.0)
    data = bytearray(movie.read_bytes())
    position = data.index(b"mdat") + len(data) // 3
    data[position : position + len(data) // 3] = bytes(len(data) // 3)
    movie.write_bytes(data)
    clip = open_clip(movie, SMALL)
    list(clip)
    assert has_note(clip, "damaged|ends|end at")


def test_damage_never_raises_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, grey_frames([9 * i for i in range(12)]), 25.0, np.zeros(8000 // 2, np.float32), 8000)
    data, noise, refused = path.read_bytes(), np.random.default_rng(3), 0
    for _ in range(60):
        changed = bytearray(data)
        for position in noise.integers(0, len(data), 6):
            changed[position] = noise.integers(256)
        path.write_bytes(changed[: noise.integers(len(data))] if noise.random() < 0.2 else changed)
        try:
            for window in itertools.islice(open_clip(path, SMALL), 20):
                assert np.isfinite(window.audio).all()
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
    assert 0 < refused < 60


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_frames": 0}, r"num_frames \(0\)"),
        ({"step": 0}, r"step \(0\)"),
        ({"num_samples": 0}, r"num_samples \(0\)"),
        ({"frame_rate": 0.0}, r"frame_rate \(0\.0\)"),
        ({"frame_rate": float("nan")}, r"frame_rate \(nan\)"),
        ({"size": (0, 8)}, r"size \(0, 8\)"),
        ({"size": (8, 100000)}, r"size \(8, 100000\)"),
        ({"sample_rate": 0}, r"sample_rate \(0\)"),
    ],
)
def test_impossible_forms_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClipForm(**settings)  # type: ignore[arg-type]


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "a.mp4"
    with pytest.raises(ValueError, match=r"a\.mp4' does not exist"):
        open_clip(text)
    text.write_text("no video")
    with pytest.raises(ValueError, match=r"a\.mp4' cannot be read as video or sound"):
        open_clip(text)
    with pytest.raises(ValueError, match="must be a file"):
        open_clip(tmp_path)
    write_video(text, grey_frames([1, 2]), 25.0)
    with pytest.raises(ValueError, match=r"video_stream \(3\) of .*a\.mp4' must be one of \[0\]"):
        open_clip(text, video_stream=3)
    with pytest.raises(ValueError, match=r"audio_stream \(0\).*\[\]"):
        open_clip(text, audio_stream=0)
    with pytest.raises(ValueError, match=r"start \(-1"):
        open_clip(text, start=-1.0)
    with pytest.raises(ValueError, match=r"end \(1\.0\) must be later than start \(2\.0\)"):
        open_clip(text, start=2.0, end=1.0)


@pytest.mark.parametrize(
    ("video", "audio", "rate", "message"),
    [
        (np.zeros((2, 8, 8), np.uint8), None, None, r"\(2, 8, 8\)"),
        (np.zeros((0, 8, 8, 3), np.uint8), None, None, r"\(0, 8, 8, 3\)"),
        (np.zeros((2, 8, 8, 3), np.int32), None, None, "int32"),
        (np.full((2, 8, 8, 3), 1.5), None, None, "1.5"),
        (np.full((2, 8, 8, 3), np.nan), None, None, "nan"),
        (np.zeros((2, 8, 8, 3)), np.zeros(10), None, r"sample_rate \(None\)"),
        (np.zeros((2, 8, 8, 3)), np.zeros((2, 2)), 8000, "ambiguous"),
        (np.zeros((2, 8, 8, 3)), np.zeros((3, 8)), 8000, r"\(3, 8\)"),
    ],
)
def test_arrays_of_other_forms_are_refused(
    video: np.ndarray, audio: np.ndarray | None, rate: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        clip_from_arrays(video, 25.0, audio, rate)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "streams", "windows", "last_real", "notes"),
    [
        (
            *("nasa_13013.mp4", (None, None), 21, 6),
            ["29.97 frames a second", "stereo sound mixed", "8000 Hz", "middle 270 x 270"],
        ),
        ("nasa_13013.mp4", (0, 4), 21, 5, ["16000 Hz", "middle 180 x 180"]),
        ("big_buck_bunny_5s_720p.mp4", (None, None), 9, 4, [r"5\.1 sound mixed to mono", "middle 720 x 720"]),
        ("big_buck_bunny_11s_17s.mp4", (None, None), 10, 6, ["24 frames a second", "44100 Hz"]),
        ("dog_eating_noaudio.mp4", (None, None), 22, 9, ["no sound track"]),
    ],
)
def test_real_clips(
    name: str, streams: tuple[int | None, int | None], windows: int, last_real: int, notes: list[str]
) -> None:
    clip = open_clip(real_video(name), ClipForm(size=(32, 32)), video_stream=streams[0], audio_stream=streams[1])
    read = list(clip)
    assert len(read) == clip.expected_windows == windows
    assert read[-1].num_real_frames == last_real
    assert [note for note in notes if not has_note(clip, note)] == []
    loud = max(float(np.abs(window.audio).max()) for window in read)
    assert (0.05 < loud <= 1) if clip.has_audio else loud == 0
    # Sound reaches the end of each of them.
    assert not has_note(clip, "sound ends|damaged")


@pytest.mark.shared
def test_streams_of_a_real_clip_must_be_there() -> None:
    path = real_video("nasa_13013.mp4")
    with pytest.raises(ValueError, match=r"video_stream \(1\).*\[0, 3\]"):
        open_clip(path, video_stream=1)
    with pytest.raises(ValueError, match=r"audio_stream \(2\).*\[1, 4\]"):
        open_clip(path, audio_stream=2)
