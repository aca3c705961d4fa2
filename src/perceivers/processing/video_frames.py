"""Pictures of a video one after the other: from a file, a folder of images, or an array."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from perceivers.processing.image import read_image
from perceivers.processing.media import Notes, decode, find_video, open_media, reason, seek, time_of

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg"),
    *(".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv", ".3gp", ".3g2"),
)
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

# A slip or a hostile file must not fill the memory.
_LONGEST_SIDE = 2**15
_MOST_PIXELS = 2**26
_USUAL_RATE = 25.0
# A file whose pictures end so many seconds earlier than it says is worth a word.
_CUT_SHORT = 0.5

# A damaged time stamp must not hold a picture for years.
_LONGEST_HOLD = 3600.0

# Times this close are the same: seconds are floats.
TIME_STEP = 1e-6


def is_video(path: str | Path) -> bool:
    """Return whether the ending of a file's name is that of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class TimedPicture:
    """A picture of a video, made when it is asked for.

    Args:
        time: When it is first shown, in seconds from the first picture.
        end: When it ends if no other follows.
        make: Returns it, (H, W, 3).
    """

    time: float
    end: float
    make: Callable[[], UInt8[np.ndarray, "H W 3"]]


class FilePictures:
    """The pictures of one video stream of a file.

    Args:
        path: The file.
        index: Number of the stream in the file; `None` takes the best.

    Raises:
        ValueError: The file is absent, has no such stream, or nothing of it can be decoded.
    """

    def __init__(self, path: Path, index: int | None) -> None:
        self.path = path
        with open_media(path) as container:
            stream = find_video(container, index, path)
            if stream is None:
                kinds = sorted({stream.type for stream in container.streams})
                raise ValueError(f"file '{path}' has no video that can be decoded; kinds of its streams = {kinds}")
            self._index = stream.index
            _check_size(path, stream.height, stream.width)
            rate = stream.average_rate or stream.guessed_rate
            self.frame_rate = float(rate) if rate else _USUAL_RATE
            self.said_seconds = (
                float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
            )
            notes = Notes()
            first = next(decode(container, stream, notes), None)
            if first is None:
                raise ValueError(f"file '{path}' has no picture that can be decoded; {'; '.join(notes.as_tuple())}")
            _check_size(path, first.height, first.width)
            self._has_times = time_of(first) is not None
            self.zero = time_of(first) or 0.0
            turned = _turn_of(first) % 2
            self.size = (first.width, first.height) if turned else (first.height, first.width)
            aspect = float(stream.sample_aspect_ratio or 1)
            self.pixel_aspect = 1 / aspect if turned else aspect

    def pictures(self, start: float, notes: Notes) -> Iterator[TimedPicture]:
        """Yield the pictures in their order, from `start` seconds or earlier."""
        if start > 1 and self._has_times:
            sought = self._read(start, notes)
            first = next(sought, None)
            # A file that cannot be sought in, or whose index is wrong, is read from its beginning.
            if first is not None and first.time <= start:
                yield first
                yield from sought
                return
        yield from self._read(None, notes)

    def _read(self, start: float | None, notes: Notes) -> Iterator[TimedPicture]:
        with open_media(self.path) as container:
            stream = find_video(container, self._index, self.path)
            assert stream is not None
            stream.thread_type = "AUTO"
            if start is not None and not seek(container, stream, self.zero + start):
                return
            last = None
            for frame in decode(container, stream, notes):
                time = time_of(frame)
                time = None if time is None else time - self.zero
                if last is not None and time is not None and time > last.time + _LONGEST_HOLD:
                    notes.add(f"a gap of more than {_LONGEST_HOLD:g} s between pictures was closed")
                    time = None
                # Without a time, or going backwards: as if it followed at once.
                if time is None or (last is not None and time <= last.time):
                    time = 0.0 if last is None else last.time + 1 / self.frame_rate
                last = TimedPicture(time, time + self._seconds(frame), partial(self._make, frame, notes))
                yield last
        reached = 0.0 if last is None else last.end
        if self.said_seconds is not None and reached < self.said_seconds - _CUT_SHORT:
            notes.add(f"the file says {self.said_seconds:.2f} s of video, but its pictures end at {reached:.2f} s")

    def _seconds(self, frame: "VideoFrame") -> float:
        """Return how long a frame is shown."""
        duration = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 0.0
        return min(duration, _LONGEST_HOLD) or 1 / self.frame_rate

    def _make(self, frame: "VideoFrame", notes: Notes) -> UInt8[np.ndarray, "H W 3"]:
        from av.error import FFmpegError

        _check_size(self.path, frame.height, frame.width)
        try:
            picture = frame.to_ndarray(format="rgb24")
        except FFmpegError as error:
            raise ValueError(f"a picture of '{self.path}' cannot be converted to RGB: {reason(error)}") from error
        turn = _turn_of(frame)
        if turn:
            notes.add(f"turned by {90 * turn} degrees, as the file asks")
            picture = np.ascontiguousarray(np.rot90(picture, turn))
        return picture


class Frames:
    """Pictures of one size, read one at a time; each loop over it reads anew.

    `frame_rate` is how many of them make a second, `None` for a folder. `notes` says in words what was done; all is
    said at the end of a loop.
    """

    def __init__(self, origin: Path, frame_rate: float | None, read: Callable[[Notes], Iterator[np.ndarray]]) -> None:
        self.frame_rate = frame_rate
        self._origin = origin
        self._read = read
        self._notes = Notes()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done, in words."""
        return self._notes.as_tuple()

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        self._notes = Notes()
        shape = None
        for picture in self._read(self._notes):
            shape = picture.shape if shape is None else shape
            if picture.shape != shape:
                sizes = f"{picture.shape[0]} x {picture.shape[1]} pixels after {shape[0]} x {shape[1]}"
                raise ValueError(f"pictures of '{self._origin}' must have one size; one has {sizes}")
            yield picture
        if shape is None:
            raise ValueError(f"'{self._origin}' has no picture in the time asked for")


def read_frames(
    source: str | Path, *, every: int = 1, start: float = 0.0, end: float | None = None, video_stream: int | None = None
) -> Frames:
    """Read the pictures of a video, or of a folder of images, as they are: `uint8` (H, W, 3).

    Args:
        source: A video file, or a folder whose images follow each other in natural order (2 before 10).
        every: Take one picture of so many.
        start: Seconds from the first picture of the video.
        end: Seconds from the first picture; pictures from there on are left out.
        video_stream: Number of the stream in the file; `None` takes the best.

    Raises:
        ValueError: `source` is absent, broken or has no picture, or `every` or the times are not possible; while
            reading, pictures differ in size.
    """
    source = Path(source)
    if every < 1:
        raise ValueError(f"every ({every}) must be at least 1")
    check_times(start, end)
    if source.is_dir():
        if start or end is not None or video_stream is not None:
            raise ValueError(f"folder '{source}' has no times and no streams: start, end and video_stream need a file")
        paths = _image_files(source)[::every]
        return Frames(source, None, lambda notes: map(_read_colour, paths))
    file = FilePictures(source, video_stream)

    def read(notes: Notes) -> Iterator[np.ndarray]:
        index = 0
        for picture in file.pictures(start, notes):
            if end is not None and picture.time >= end - TIME_STEP:
                return
            if picture.time >= start - TIME_STEP:
                if index % every == 0:
                    yield picture.make()
                index += 1

    return Frames(source, file.frame_rate / every, read)


def check_video(video: np.ndarray) -> None:
    """Refuse arrays that are no video.

    Raises:
        ValueError: It is not (T, H, W, 3) of `uint8` or of floats in [0, 1], with at least one pixel.
    """
    if video.ndim != 4 or video.shape[-1] != 3 or 0 in video.shape:
        raise ValueError(f"video of shape {video.shape} must be (T, H, W, 3)")
    if video.dtype == np.uint8:
        return
    if video.dtype.kind != "f":
        raise ValueError(f"video of type {video.dtype} must be uint8 or floats in [0, 1]")
    low, high = float(video.min()), float(video.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"video has values from {low:g} to {high:g}; floats must lie in [0, 1]")


def check_frame_rate(frame_rate: float) -> None:
    """Refuse rates that no video has.

    Raises:
        ValueError: It does not lie between 0, exclusive, and 1000 frames a second.
    """
    if not 0 < frame_rate <= 1000:
        raise ValueError(f"frame_rate ({frame_rate}) must lie between 0, exclusive, and 1000 frames a second")


def as_bytes(video: np.ndarray) -> UInt8[np.ndarray, "..."]:
    """Return what `check_video` lets pass as `uint8`."""
    return video if video.dtype == np.uint8 else np.rint(video * 255).astype(np.uint8)


def check_times(start: float, end: float | None) -> None:
    """Refuse a stretch of time that is none.

    Raises:
        ValueError: `start` is negative or not before `end`.
    """
    if not 0 <= start < float("inf"):
        raise ValueError(f"start ({start}) must be 0 or more seconds")
    if end is not None and not end > start:
        raise ValueError(f"end ({end}) must be later than start ({start})")


def _image_files(folder: Path) -> list[Path]:
    shown = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    paths = [path for path in shown if path.suffix.lower() in _PICTURE_SUFFIXES]
    if not paths:
        raise ValueError(f"folder '{folder}' has no images; kinds = {list(_PICTURE_SUFFIXES)}")
    return sorted(paths, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return what sorts numbers in names by their value."""
    parts = re.split(r"(\d+)", path.name)
    # Text and numbers alternate, so that text stands against text; the name itself decides between 1 and 01.
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)] + [(0, path.name)]


def _read_colour(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    image = read_image(path)
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image


def _turn_of(frame: "VideoFrame") -> int:
    """Return by how many quarters of a turn, anticlockwise, a frame is to be shown."""
    return round(frame.rotation / 90) % 4


def _check_size(path: Path, height: int, width: int) -> None:
    # A stream whose header says nothing shows its size with the first frame.
    if max(height, width) > _LONGEST_SIDE or height * width > _MOST_PIXELS:
        rule = f"sides may be at most {_LONGEST_SIDE}, their product at most {_MOST_PIXELS}"
        raise ValueError(f"video '{path}' is {height} x {width} pixels large; {rule}")
