"""Video with sound to files: H.264 and AAC, or an animated GIF; windows go in one after the other."""

import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from perceivers.processing.audio import as_samples, audio_frames, check_rate
from perceivers.processing.files import whole_file
from perceivers.processing.media import reason
from perceivers.processing.video_frames import as_bytes, check_frame_rate, check_video

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

WRITTEN_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")

# The first that this build of FFmpeg has is taken.
_ENCODERS = ("libx264", "libopenh264", "mpeg4")
# Of libx264: hardly to be told from the original by eye.
_QUALITY: dict[str, object] = {"crf": "18"}
# With fewer bits a sample, FFmpeg's AAC is clearly worse; AAC itself ends at 6.
_BITS_PER_SAMPLE = 4
# Bits a pixel of encoders that know no constant quality.
_BITS_PER_PIXEL = 0.3
_AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
# FFmpeg's numbers for the colours of high definition, and for values that leave head room.
_BT709 = 1
_LIMITED_RANGE = 1

# A GIF counts hundredths of a second, and browsers slow down what is faster than two of them.
_GIF_TICKS = 100
_GIF_SHORTEST = 2


class VideoWriter:
    """A video that is being written; get one from `video_writer`.

    `num_frames` and `num_samples` say how much was written.
    """

    def __init__(self, container: "OutputContainer", name: str, frame_rate: float, sample_rate: int | None) -> None:
        self.num_frames = 0
        self.num_samples = 0
        self._container = container
        self._name = name
        self._frame_rate = frame_rate
        self._sample_rate = sample_rate
        self._shape: tuple[int, ...] = ()
        self._video: VideoStream | None = None
        self._audio: AudioStream | None = None

    def write(self, video: np.ndarray, audio: np.ndarray | None = None) -> None:
        """Write what comes next.

        Args:
            video: (T, H, W, 3), `uint8` or floats in [0, 1], of the size of what was written before.
            audio: (S,), one channel; what lies beyond [-1, 1] is clipped. `None` writes none.

        Raises:
            ValueError: An array has another form or size, there is sound but the writer has no sample rate, or the
                encoder refuses.
        """
        from av.video.frame import VideoFrame

        video = np.asarray(video)
        check_video(video)
        stream = self._video or self._begin(video.shape[1:])
        if video.shape[1:] != self._shape:
            raise ValueError(f"frames of shape {video.shape[1:]} must have the shape of the first, {self._shape}")
        for picture in video:
            even = np.pad(as_bytes(picture), [(0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)], "edge")
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED_RANGE)
            frame.pts, frame.time_base = self.num_frames, 1 / _fraction(self._frame_rate)
            self._encode(stream, frame)
            self.num_frames += 1
        if audio is not None:
            self.write_sound(audio)

    def write_sound(self, audio: np.ndarray) -> None:
        """Write the sound that comes next, as in `write`; at least one frame must be there."""
        if self._sample_rate is None:
            raise ValueError(f"video '{self._name}' has sound: sample_rate (None) must be given")
        samples = as_samples(audio)
        if self._audio is None:
            raise ValueError(f"video '{self._name}': the first frame must be written before sound")
        for _, frame in audio_frames(samples[None], self._sample_rate):
            frame.pts = self.num_samples
            self._encode(self._audio, frame)
            self.num_samples += frame.samples

    def finish(self) -> None:
        """Write what the encoders hold back.

        Raises:
            ValueError: There is no frame.
        """
        if self._video is None:
            raise ValueError(f"video '{self._name}' must have at least one frame")
        self._encode(self._video, None)
        if self._audio is not None:
            self._encode(self._audio, None)

    def _begin(self, shape: tuple[int, ...]) -> "VideoStream":
        from av.audio.stream import AudioStream
        from av.video.stream import VideoStream

        encoder = _encoder()
        stream = self._container.add_stream(encoder, rate=_fraction(self._frame_rate))
        assert isinstance(stream, VideoStream)
        height, width = (side + side % 2 for side in shape[:2])
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        if encoder == "libx264":
            stream.options = _QUALITY
        else:
            stream.bit_rate = max(round(_BITS_PER_PIXEL * height * width * self._frame_rate), 100_000)
        context = stream.codec_context
        # What was done to the colours is said, so that no player has to guess.
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        if self._sample_rate is not None:
            rate = _aac_rate(self._sample_rate)
            sound = self._container.add_stream("aac", rate=rate, layout="mono")
            assert isinstance(sound, AudioStream)
            sound.bit_rate = _BITS_PER_SAMPLE * rate
            self._audio = sound
        self._video, self._shape = stream, shape
        return stream

    def _encode(self, stream: "VideoStream | AudioStream", frame: "VideoFrame | AudioFrame | None") -> None:
        from av.error import FFmpegError

        try:
            self._container.mux(stream.encode(frame))  # pyright: ignore[reportArgumentType]
        except FFmpegError as error:
            raise ValueError(f"video '{self._name}' cannot be written: {reason(error)}") from error


@contextmanager
def video_writer(path: str | Path, frame_rate: float, sample_rate: int | None = None) -> Iterator[VideoWriter]:
    """Give a writer that takes windows one after the other; the file appears whole at the end, or not at all.

    Odd heights and widths, which H.264 with this colour format cannot hold, are made even by repeating the last row
    or column. A build of FFmpeg without H.264 writes MPEG-4 part 2 instead, and a sample rate that AAC does not have
    is resampled to the next that it has.

    Args:
        path: Ends in one of `WRITTEN_SUFFIXES`; its folder exists.
        frame_rate: Frames a second.
        sample_rate: Samples a second of its sound; `None` for a video without.

    Raises:
        ValueError: The ending is another, the folder does not exist, or a rate is not possible; when the block ends,
            no frame was written.
    """
    import av

    path = Path(path)
    if path.suffix.lower() not in WRITTEN_SUFFIXES:
        raise ValueError(f"video file '{path}' must end in one of {list(WRITTEN_SUFFIXES)}")
    check_frame_rate(frame_rate)
    if sample_rate is not None:
        check_rate(sample_rate)
    with whole_file(path) as partial, av.open(str(partial.absolute()), "w") as container:
        writer = VideoWriter(container, str(path), frame_rate, sample_rate)
        yield writer
        writer.finish()


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    frame_rate: float,
    audio: np.ndarray | Iterable[np.ndarray] | None = None,
    sample_rate: int | None = None,
) -> None:
    """Write a video; see `video_writer`. Frames and sound are taken as they are needed.

    Args:
        path: Ends in one of `WRITTEN_SUFFIXES`.
        frames: (H, W, 3) each, `uint8` or floats in [0, 1]: an array (T, H, W, 3), or any iterable.
        frame_rate: Frames a second.
        audio: One channel, (S,), or an iterable of pieces of it; what lies beyond [-1, 1] is clipped.
        sample_rate: Samples a second of `audio`.

    Raises:
        ValueError: See `video_writer` and `VideoWriter.write`; or one of `audio` and `sample_rate` is missing.
    """
    if (audio is None) != (sample_rate is None):
        raise ValueError(f"audio and sample_rate ({sample_rate}) must be given together")
    pieces = iter([audio] if isinstance(audio, np.ndarray) else audio or ())
    with video_writer(path, frame_rate, sample_rate) as writer:
        for frame in frames:
            writer.write(np.asarray(frame)[None])
            # Sound keeps up with the frames, so that neither has to wait in memory for the other.
            while sample_rate and writer.num_samples / sample_rate < writer.num_frames / frame_rate:
                piece = next(pieces, None)
                if piece is None:
                    break
                writer.write_sound(piece)
        for piece in pieces:
            writer.write_sound(piece)


def write_gif(
    path: str | Path,
    frames: Iterable[np.ndarray],
    frame_rate: float,
    *,
    max_side: int = 320,
    max_frames: int = 250,
    loop: bool = True,
) -> None:
    """Write an animated GIF of 256 colours a frame; the file appears whole or not at all.

    Args:
        path: Ends in `.gif`.
        frames: (H, W, 3) each, `uint8` or floats in [0, 1].
        frame_rate: Frames a second of `frames`; a GIF shows at most 50, so that of more only some are taken.
        max_side: Frames that are higher or wider are made smaller.
        max_frames: Of more frames, every second, fourth, ... is taken; all of the time is shown.
        loop: Whether it begins again at the end.

    Raises:
        ValueError: The ending is another, the folder does not exist, there is no frame, or a number is not possible.
    """
    path = Path(path)
    if path.suffix.lower() != ".gif":
        raise ValueError(f"animation '{path}' must end in .gif")
    check_frame_rate(frame_rate)
    if max_side < 1 or max_frames < 1:
        raise ValueError(f"max_side ({max_side}) and max_frames ({max_frames}) must be at least 1")
    kept, step, count = [], math.ceil(_GIF_SHORTEST * frame_rate / _GIF_TICKS), 0
    for count, frame in enumerate(frames, 1):
        if (count - 1) % step == 0:
            if len(kept) == max_frames:
                kept, step = kept[::2], 2 * step
            if (count - 1) % step == 0:
                kept.append(_gif_frame(frame, max_side))
    if not kept:
        raise ValueError(f"animation '{path}' must have at least one frame")
    # Rounded from the beginning of the whole, so that errors do not add up.
    ticks = [round(i * _GIF_TICKS / frame_rate) for i in [*range(0, count, step), count]]
    durations = [max(end - start, 1) * 1000 // _GIF_TICKS for start, end in itertools.pairwise(ticks)]
    with whole_file(path) as partial:
        forever = {"loop": 0} if loop else {}
        kept[0].save(partial, save_all=True, append_images=kept[1:], duration=durations, disposal=1, **forever)


def _gif_frame(frame: np.ndarray, max_side: int) -> Image.Image:
    frame = np.asarray(frame)
    check_video(frame[None])
    picture = Image.fromarray(as_bytes(frame))
    # Makes it smaller, never larger.
    picture.thumbnail((max_side, max_side), Image.Resampling.BOX)
    return picture.quantize(256)


def _encoder() -> str:
    """Return the name of the best encoder that there is."""
    import av

    return next(name for name in _ENCODERS if name in av.codecs_available)


def _aac_rate(sample_rate: int) -> int:
    """Return the lowest rate that AAC has and that loses nothing, or its highest."""
    return next((rate for rate in _AAC_RATES if rate >= sample_rate), _AAC_RATES[-1])


def _fraction(frame_rate: float) -> Fraction:
    """Return a rate as the fraction that it is meant to be, such as 30000/1001."""
    return Fraction(frame_rate).limit_denominator(1001)
