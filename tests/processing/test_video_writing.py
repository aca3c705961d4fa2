"""Videos and animations that are whole, that others can open, and whose frames may come one at a time."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from media_examples import grey_frames
from perceivers.processing.audio import read_audio
from perceivers.processing.video_frames import read_frames
from perceivers.processing.video_writing import video_writer, write_gif, write_video

TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)).astype(np.float32)


def codecs(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [stream.codec_context.name for stream in container.streams]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".M4V"])
def test_a_video_comes_back(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("what was there before")
    ramp = np.broadcast_to(np.linspace(0, 255, 64)[None, None, :, None], (25, 48, 64, 3))
    frames = np.stack([np.roll(frame, i, axis=1) for i, frame in enumerate(ramp)]).astype(np.uint8)
    write_video(path, frames, 25.0, TONE, 48000)
    assert codecs(path) == ["h264", "aac"]
    read = np.stack(list(read_frames(path)))
    assert read.shape == frames.shape
    error = np.mean((read.astype(float) - frames) ** 2)
    assert 10 * np.log10(255**2 / error) > 35
    heard, rate = read_audio(path)
    assert rate == 48000
    assert 48000 <= len(heard) <= 50048  # What fills AAC's last frame, or precedes the first.
    # .mkv rounds times to milliseconds, and some versions of FFmpeg leave AAC's 1024 samples of delay in it.
    near = range(-64, 1100) if suffix == ".mkv" else range(-1, 2)
    assert min(float(np.abs(heard[2000 + i : 46000 + i] - TONE[2000:46000]).max()) for i in near) < 0.02
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_windows_go_in_one_at_a_time(tmp_path: Path) -> None:
    frames = grey_frames(list(range(0, 250, 10)), 16, 16)
    with video_writer(tmp_path / "a.mp4", 25.0, 48000) as writer:
        for start in range(0, 25, 5):
            writer.write(frames[start : start + 5] / 255, TONE[start * 1920 : (start + 5) * 1920])
            assert not (tmp_path / "a.mp4").exists()
        assert (writer.num_frames, writer.num_samples) == (25, 48000)
    levels = [frame.mean() for frame in read_frames(tmp_path / "a.mp4")]
    assert np.abs(np.array(levels) - np.arange(0, 250, 10)).max() < 3
    np.testing.assert_allclose(read_audio(tmp_path / "a.mp4")[0][2000:46000], TONE[2000:46000], atol=0.02)


def test_frames_and_sound_are_taken_as_needed(tmp_path: Path) -> None:
    taken: list[str] = []

    def frames() -> Iterator[np.ndarray]:
        for level in range(10):
            taken.append("frame")
            yield np.full((16, 16, 3), level, np.uint8)

    def pieces() -> Iterator[np.ndarray]:
        for start in range(0, 800, 80):
            taken.append("sound")
            yield TONE[start : start + 80]

    write_video(tmp_path / "a.mp4", frames(), 100.0, pieces(), 8000)
    assert taken == ["frame", "sound"] * 10


@pytest.mark.parametrize(("height", "width"), [(31, 48), (32, 49), (1, 1)])
def test_odd_sizes_are_made_even(height: int, width: int, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", grey_frames([100, 100], height, width), 25.0)
    picture = next(iter(read_frames(tmp_path / "a.mp4")))
    assert picture.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(picture.astype(int) - 100).max() < 4


@pytest.mark.parametrize("rate", [23.976, 24.0, 29.97, 30000 / 1001, 12.5, 60.0, 7.3])
def test_any_rate_is_kept(rate: float, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", grey_frames([0] * 10, 16, 16), rate)
    assert read_frames(tmp_path / "a.mp4").frame_rate == pytest.approx(rate, rel=2e-4)


@pytest.mark.parametrize("rate", [200, 9000, 44100, 100_000])
def test_sound_of_any_rate_keeps_its_time(rate: int, tmp_path: Path) -> None:
    tone = (0.5 * np.sin(2 * np.pi * 20 * np.arange(rate) / rate)).astype(np.float32)
    write_video(tmp_path / "a.mp4", grey_frames([0] * 25, 16, 16), 25.0, tone, rate)
    heard, stored = read_audio(tmp_path / "a.mp4")
    assert stored >= min(rate, 96000)
    expected = 0.5 * np.sin(2 * np.pi * 20 * np.arange(stored) / stored)
    inner = slice(stored // 5, -stored // 5)
    np.testing.assert_allclose(heard[:stored][inner], expected[inner], atol=0.05)


def test_loud_sound_is_clipped(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", grey_frames([0] * 25, 16, 16), 25.0, 20 * TONE, 48000)
    assert np.abs(read_audio(tmp_path / "a.mp4")[0][2000:46000]).mean() < 1


def test_without_h264_another_encoder_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("av.codecs_available", {"mpeg4", "aac"})
    frames = grey_frames([20 * i for i in range(10)], 64, 64)
    write_video(tmp_path / "a.mp4", frames, 25.0)
    assert codecs(tmp_path / "a.mp4") == ["mpeg4"]
    levels = [frame.mean() for frame in read_frames(tmp_path / "a.mp4")]
    assert np.abs(np.array(levels) - 20 * np.arange(10)).max() < 5


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, grey_frames([0, 1]), 25.0)
    before = path.read_bytes()

    def frames() -> Iterator[np.ndarray]:
        yield from grey_frames([0] * 30)
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_video(path, frames(), 25.0, TONE, 48000)
    with pytest.raises(ValueError, match="at least one frame"):
        write_video(path, [], 25.0)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"a.mp4": before}


@pytest.mark.parametrize(
    ("video", "audio", "message"),
    [
        (np.zeros((16, 16, 3), np.uint8), None, r"\(16, 16, 3\)"),
        (np.zeros((1, 16, 16, 4), np.uint8), None, r"\(1, 16, 16, 4\)"),
        (np.full((1, 16, 16, 3), 2.0), None, "2"),
        (np.zeros((1, 8, 16, 3), np.uint8), None, r"\(8, 16, 3\).*\(16, 16, 3\)"),
        (np.zeros((1, 16, 16, 3), np.uint8), np.zeros((2, 9)), r"\(2, 9\)"),
        (np.zeros((1, 16, 16, 3), np.uint8), np.full(9, np.nan), "finite"),
    ],
)
def test_windows_that_do_not_fit_are_refused(
    video: np.ndarray, audio: np.ndarray | None, message: str, tmp_path: Path
) -> None:
    def write() -> None:
        with video_writer(tmp_path / "a.mp4", 25.0, 8000) as writer:
            writer.write(np.zeros((1, 16, 16, 3), np.uint8))
            writer.write(video, audio)

    with pytest.raises(ValueError, match=message):
        write()
    assert not list(tmp_path.iterdir())


def test_names_and_rates_that_cannot_be_are_refused(tmp_path: Path) -> None:
    frames = grey_frames([0])
    with pytest.raises(ValueError, match=r"a\.xyz' must end in one of \['\.mp4'"):
        write_video(tmp_path / "a.xyz", frames, 25.0)
    with pytest.raises(ValueError, match=r"absent.*does not exist"):
        write_video(tmp_path / "absent" / "a.mp4", frames, 25.0)
    with pytest.raises(ValueError, match=r"frame_rate \(0\.0\)"):
        write_video(tmp_path / "a.mp4", frames, 0.0)
    with pytest.raises(ValueError, match="given together"):
        write_video(tmp_path / "a.mp4", frames, 25.0, TONE)
    with pytest.raises(ValueError, match=r"a\.mp4' cannot be written"):
        write_video(tmp_path / "a.mp4", np.zeros((1, 2, 20000, 3), np.uint8), 25.0)
    with (
        pytest.raises(ValueError, match="first frame must be written"),
        video_writer(tmp_path / "a.mp4", 25.0, 8000) as writer,
    ):
        writer.write_sound(TONE)
    assert not list(tmp_path.iterdir())


def shown(path: Path) -> tuple[list[int], list[int], tuple[int, int]]:
    """Return level and duration (ms) of each frame of a GIF, and its size."""
    levels, durations = [], []
    with Image.open(path) as picture:
        for i in range(picture.n_frames):  # type: ignore[attr-defined]
            picture.seek(i)
            durations.append(int(picture.info["duration"]))
            levels.append(int(np.rint(np.asarray(picture.convert("RGB")).mean())))
        return levels, durations, picture.size


def test_a_gif_shows_frames_at_their_rate(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    write_gif(path, grey_frames(list(range(0, 240, 10))), 30.0)
    levels, durations, size = shown(path)
    assert levels == list(range(0, 240, 10))
    assert set(durations) == {30, 40}
    assert sum(durations) == 800
    assert size == (48, 32)
    with Image.open(path) as picture:
        assert picture.info["loop"] == 0
    write_gif(path, grey_frames([0, 100]) / 255, 30.0, loop=False)
    with Image.open(path) as picture:
        assert "loop" not in picture.info
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.gif"]


def test_a_gif_is_kept_small(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frames = grey_frames(list(range(0, 200, 2)), 100, 400)
    write_gif(path, iter(frames), 25.0, max_side=40, max_frames=30)
    levels, durations, size = shown(path)
    assert size == (40, 10)
    assert levels == list(range(0, 200, 8))
    assert sum(durations) == 4000
    # More than 50 frames a second cannot be shown.
    write_gif(path, frames, 100.0)
    levels, durations, _ = shown(path)
    assert levels == list(range(0, 200, 4))
    assert set(durations) == {20}


def test_a_gif_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.png' must end in \.gif"):
        write_gif(tmp_path / "a.png", grey_frames([0]), 25.0)
    with pytest.raises(ValueError, match="at least one frame"):
        write_gif(tmp_path / "a.gif", [], 25.0)
    with pytest.raises(ValueError, match=r"max_side \(0\)"):
        write_gif(tmp_path / "a.gif", grey_frames([0]), 25.0, max_side=0)
    with pytest.raises(ValueError, match="int64"):
        write_gif(tmp_path / "a.gif", np.zeros((1, 4, 4, 3), int), 25.0)
    assert not list(tmp_path.iterdir())
