"""Streams of media files, decoded one frame at a time, each with its time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


class Notes:
    """What was done to a file's content, in words, each said once."""

    def __init__(self) -> None:
        self._said: dict[str, None] = {}

    def add(self, note: str) -> None:
        """Say something, unless it was said before."""
        self._said.setdefault(note)

    def as_tuple(self) -> tuple[str, ...]:
        """Return all that was said, in its order."""
        return tuple(self._said)


@contextmanager
def open_media(path: Path) -> Iterator["InputContainer"]:
    """Open a media file to read from it.

    Raises:
        ValueError: The file does not exist, or nothing in it is known.
    """
    import av
    from av.error import FFmpegError

    if not path.exists():
        raise ValueError(f"file '{path}' does not exist")
    if not path.is_file():
        raise ValueError(f"'{path}' must be a file of video or sound")
    try:
        # A playlist must not reach into the network. An absolute path is never taken for the name of a protocol.
        options = {"protocol_whitelist": "file"}
        container = av.open(str(path.absolute()), options=options, metadata_errors="ignore")
    except (FFmpegError, UnicodeError) as error:
        raise ValueError(f"file '{path}' cannot be read as video or sound: {reason(error)}") from error
    with container:
        yield container


def reason(error: Exception) -> str:
    """Return what FFmpeg says, without its number and the path."""
    return str(getattr(error, "strerror", None) or error)


def find_video(container: "InputContainer", index: int | None, path: Path) -> "VideoStream | None":
    """Choose a video stream: the one asked for, else the best; `None` where there is none.

    Args:
        container: An open file.
        index: Number of the stream in the file, counted over streams of all kinds.
        path: Named in errors.

    Raises:
        ValueError: There is no video stream of that number.
    """
    choices = [stream for stream in container.streams.video if _is_known(stream) and not _is_cover(stream)]
    if index is None:
        best = container.streams.best("video")
        return next((stream for stream in choices if stream == best), next(iter(choices), None))
    return choices[_position(index, choices, "video_stream", path)]


def find_audio(container: "InputContainer", index: int | None, path: Path) -> "AudioStream | None":
    """Choose a sound stream as in `find_video`, but the first where none is asked for."""
    choices = [stream for stream in container.streams.audio if _is_known(stream)]
    if index is None:
        return next(iter(choices), None)
    return choices[_position(index, choices, "audio_stream", path)]


def _position(index: int, choices: Sequence["Stream"], name: str, path: Path) -> int:
    numbers = [stream.index for stream in choices]
    if index not in numbers:
        raise ValueError(f"{name} ({index}) of '{path}' must be one of {numbers}, as the file numbers its streams")
    return numbers.index(index)


def _is_known(stream: "Stream") -> bool:
    """Return whether there is a decoder."""
    return stream.codec_context is not None


def _is_cover(stream: "Stream") -> bool:
    """Return whether a stream is a picture that belongs to a sound file."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


@overload
def decode(container: "InputContainer", stream: "VideoStream", notes: Notes) -> Iterator["VideoFrame"]: ...
@overload
def decode(container: "InputContainer", stream: "AudioStream", notes: Notes) -> Iterator["AudioFrame"]: ...
def decode(
    container: "InputContainer", stream: "VideoStream | AudioStream", notes: Notes
) -> Iterator["VideoFrame | AudioFrame"]:
    """Yield the frames of a stream; what is damaged is left out, and noted."""
    from av.error import EOFError as EndError
    from av.error import FFmpegError

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except FFmpegError as error:
            notes.add(f"the file is damaged, {stream.type} was read up to there: {reason(error)}")
            packet = None
        try:
            # Without a packet, the decoder gives what it holds back.
            frames = stream.decode(packet)
        except EndError:
            frames = []
        except FFmpegError as error:
            notes.add(f"damaged {stream.type} was left out: {reason(error)}")
            frames = []
        yield from frames
        if packet is None:
            return


def time_of(frame: "AudioFrame | VideoFrame") -> float | None:
    """Return when a frame is shown or heard, in seconds on the file's clock; `None` where the file does not say."""
    return None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)


def seek(container: "InputContainer", stream: "Stream", seconds: float) -> bool:
    """Go to the last key frame before a time on the file's clock; return whether the file allows it."""
    from av.error import FFmpegError

    if stream.time_base is None:
        return False
    try:
        container.seek(int(seconds / stream.time_base), stream=stream)
    except FFmpegError:
        return False
    return True
