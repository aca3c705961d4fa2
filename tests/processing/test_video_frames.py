"""Pictures one after the other, from video files and from folders of images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media_examples import grey_frames, real_video, turn_mp4, write_media
from perceivers.processing.video_frames import VIDEO_SUFFIXES, is_video, read_frames
from perceivers.processing.video_writing import write_video


def levels(frames: object) -> list[int]:
    return [int(np.rint(frame.mean())) for frame in frames]  # type: ignore[attr-defined]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    write_video(tmp_path / "a.mp4", grey_frames(list(range(10, 210, 4)), 30, 50), 12.5)
    return tmp_path / "a.mp4"


def test_pictures_come_at_their_own_size_and_rate(video: Path) -> None:
    frames = read_frames(video)
    assert frames.frame_rate == 12.5
    pictures = list(frames)
    assert {(picture.shape, picture.dtype.name) for picture in pictures} == {((30, 50, 3), "uint8")}
    assert np.abs(np.array(levels(pictures)) - np.arange(10, 210, 4)).max() <= 2
    # Each loop begins anew.
    assert levels(frames) == levels(pictures)


@pytest.mark.parametrize(
    ("every", "start", "end", "expected"),
    [
        (7, 0.0, None, range(0, 50, 7)),
        (1, 0.0, 0.4, range(5)),
        (2, 2.4, None, range(30, 50, 2)),
        (3, 1.61, 3.2, range(21, 40, 3)),
    ],
)
def test_a_part_is_read(video: Path, every: int, start: float, end: float | None, expected: range) -> None:
    whole = levels(read_frames(video))
    frames = read_frames(video, every=every, start=start, end=end)
    assert levels(frames) == [whole[i] for i in expected]
    assert frames.frame_rate == 12.5 / every


def test_a_turned_video_is_shown_upright(tmp_path: Path) -> None:
    frames = np.zeros((2, 32, 64, 3), np.uint8)
    frames[:, :16] = 250  # The upper half: turned clockwise, it is at the right.
    write_video(tmp_path / "a.mp4", frames, 25.0)
    turn_mp4(tmp_path / "a.mp4")
    read = read_frames(tmp_path / "a.mp4")
    picture = next(iter(read))
    assert picture.shape == (64, 32, 3)
    assert picture[:, 20:].min() > 200
    assert picture[:, :12].max() < 50
    assert read.notes == ("turned by 270 degrees, as the file asks",)


def test_colours_are_kept(tmp_path: Path) -> None:
    colours = np.array([[200, 50, 0], [10, 180, 60], [30, 30, 220], [250, 250, 250]], np.uint8)
    frames = np.broadcast_to(np.repeat(np.repeat(colours, 16, 0)[None], 32, 0)[None], (3, 32, 64, 3))
    write_video(tmp_path / "a.mp4", frames, 25.0)
    picture = next(iter(read_frames(tmp_path / "a.mp4")))
    for i, colour in enumerate(colours):
        inner = picture[4:-4, 16 * i + 4 : 16 * i + 12].reshape(-1, 3).astype(int)
        assert np.abs(inner.mean(axis=0) - colour).max() < 6


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 9, 100, 1):
        Image.new("RGB", (6, 4), (number, number, number)).save(tmp_path / f"frame{number}.png")
    Image.new("L", (6, 4), 2).save(tmp_path / "Frame02.PNG")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(b"no picture")
    frames = read_frames(tmp_path)
    assert frames.frame_rate is None
    assert levels(frames) == [2, 1, 9, 10, 100]
    assert {picture.shape for picture in frames} == {(4, 6, 3)}
    assert levels(read_frames(tmp_path, every=2)) == [2, 9, 100]
    with pytest.raises(ValueError, match="need a file"):
        read_frames(tmp_path, start=1.0)
    Image.new("RGB", (4, 6)).save(tmp_path / "frame99.png")
    with pytest.raises(ValueError, match="one has 6 x 4 pixels after 4 x 6"):
        list(read_frames(tmp_path))


def test_what_has_no_pictures_is_refused(tmp_path: Path, video: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.mp4' does not exist"):
        read_frames(tmp_path / "absent.mp4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty' has no images.*\.png"):
        read_frames(tmp_path / "empty")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"text\.mp4' cannot be read"):
        read_frames(tmp_path / "text.mp4")
    with pytest.raises(ValueError, match=r"every \(0\)"):
        read_frames(video, every=0)
    with pytest.raises(ValueError, match=r"start \(nan\)"):
        read_frames(video, start=float("nan"))
    with pytest.raises(ValueError, match="no picture in the time"):
        list(read_frames(video, start=100.0))
    with pytest.raises(ValueError, match=r"video_stream \(4\)"):
        read_frames(video, video_stream=4)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    from perceivers.processing.audio import write_wav

    write_wav(tmp_path / "a.wav", np.zeros(100), 8000)
    with pytest.raises(
        ValueError, match=r"a\.wav' has no video that can be decoded; kinds of its streams = \['audio'\]"
    ):
        read_frames(tmp_path / "a.wav")


def test_a_damaged_time_does_not_hold_a_picture_for_ever(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mkv", grey_frames([0, 50, 100, 150]), [0.0, 0.04, 9e6, 9e6 + 0.04])
    frames = read_frames(path, end=60.0)
    assert len(list(frames)) == 4
    assert any("gap" in note for note in frames.notes)


def test_videos_are_known_by_their_ending() -> None:
    assert all(is_video(f"folder/a{suffix}") and is_video(f"A{suffix.upper()}") for suffix in VIDEO_SUFFIXES)
    assert not any(is_video(name) for name in ("mp4", "a.wav", "a.png", "a.mp4.txt"))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "stream", "count", "rate", "shape"),
    [
        ("nasa_13013.mp4", None, 390, 30000 / 1001, (270, 480, 3)),
        ("nasa_13013.mp4", 0, 325, 25, (180, 320, 3)),
        ("big_buck_bunny_11s_17s.mp4", None, 144, 24, (270, 480, 3)),
        ("dog_eating_noaudio.mp4", None, 345, 25, (360, 640, 3)),
    ],
)
def test_real_videos(name: str, stream: int | None, count: int, rate: float, shape: tuple[int, ...]) -> None:
    frames = read_frames(real_video(name), video_stream=stream)
    pictures = [picture.shape for picture in frames]
    assert (len(pictures), frames.frame_rate, set(pictures)) == (count, rate, {shape})
    assert frames.notes == ()
    sought = read_frames(real_video(name), video_stream=stream, start=5.0, end=5.5)
    whole = [picture for i, picture in enumerate(frames) if 5.0 - 1e-6 <= i / rate < 5.5 - 1e-6]
    np.testing.assert_array_equal(np.stack(list(sought)), np.stack(whole))
