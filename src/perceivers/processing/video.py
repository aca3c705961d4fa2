"""Video with its sound: windows of a size, a frame rate and a sample rate that a model reads, one after the other."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from perceivers.processing.audio import (
    Chunk,
    FileSound,
    SoundTrack,
    Stereo,
    as_channels,
    audio_frames,
    check_rate,
    check_stereo,
    mono_chunks,
)
from perceivers.processing.media import Notes
from perceivers.processing.video_frames import (
    TIME_STEP,
    FilePictures,
    TimedPicture,
    as_bytes,
    check_frame_rate,
    check_times,
    check_video,
)

# Sound that begins so many seconds beside the picture is worth a word.
_AUDIBLE = 0.005
_LONGEST_SIDE = 2**13


@dataclass(frozen=True, kw_only=True)
class ClipForm:
    """What a window of a clip looks like; the defaults are those of the released video model.

    Args:
        num_frames: Frames of a window, T.
        frame_rate: Frames a second.
        size: Height and width.
        sample_rate: Samples a second.
        num_samples: Samples of a window, S; `None` takes as many as sound while its frames are shown.
        step: Frames from the beginning of a window to that of the next; `None` takes `num_frames`, so that windows
            neither overlap nor leave anything out.
        stereo: `mix` all channels to one, or take the `first`.
    """

    num_frames: int = 16
    frame_rate: float = 25.0
    size: tuple[int, int] = (224, 224)
    sample_rate: int = 48000
    num_samples: int | None = None
    step: int | None = None
    stereo: Stereo = "mix"

    def __post_init__(self) -> None:
        counts = {"num_frames": self.num_frames, "step": self.step, "num_samples": self.num_samples}
        for name, count in counts.items():
            if count is not None and count < 1:
                raise ValueError(f"{name} ({count}) must be at least 1")
        check_frame_rate(self.frame_rate)
        if not 1 <= min(self.size) <= max(self.size) <= _LONGEST_SIDE:
            raise ValueError(f"size {self.size}: height and width must lie between 1 and {_LONGEST_SIDE} pixels")
        check_rate(self.sample_rate)
        check_stereo(self.stereo)

    def samples_until(self, frame: int) -> int:
        """Return how many samples sound before a frame is shown."""
        return round(frame * self.sample_rate / self.frame_rate)

    @property
    def window_samples(self) -> int:
        """Samples of a window, S."""
        return self.samples_until(self.num_frames) if self.num_samples is None else self.num_samples


@dataclass(frozen=True, kw_only=True)
class ClipWindow:
    """A piece of a clip.

    Args:
        video: Frames, (T, H, W, 3).
        audio: One channel in [-1, 1], (S,).
        start: When it begins, in seconds from the first picture of the source.
        num_real_frames: How many frames come from the source; the others repeat the last of them.
        num_real_samples: How many samples belong to these frames; the others are silence.
        has_audio: Whether any sample comes from the source.
    """

    video: UInt8[np.ndarray, "T H W 3"]
    audio: Float32[np.ndarray, " S"]
    start: float
    num_real_frames: int
    num_real_samples: int
    has_audio: bool


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """Where a clip comes from.

    Args:
        name: Named in errors and notes.
        frame_rate: Pictures a second, where they follow each other evenly.
        seconds: How long it says that it lasts; `None` where it does not.
        has_audio: Whether there is a sound track.
        pictures: Reads the pictures anew, from `start` seconds or earlier.
        chunks: Reads the sound anew in pieces, sample 0 at `start` seconds; empty where there is none.
        pixel_aspect: Width of a pixel over its height.
    """

    name: str
    frame_rate: float
    seconds: float | None
    has_audio: bool
    pictures: Callable[[float, Notes], Iterator[TimedPicture]]
    chunks: Callable[[float, Notes], Iterator[Chunk]]
    pixel_aspect: float = 1.0


class Clip:
    """A video with its sound, read window by window; each loop over it reads anew and holds one window at a time.

    Get one from `open_clip` or `clip_from_arrays`.
    """

    def __init__(self, source: ClipSource, form: ClipForm, start: float = 0.0, end: float | None = None) -> None:
        check_times(start, end)
        self.form = form
        self.has_audio = source.has_audio
        self._source = source
        self._start = start
        self._end = end
        self._notes = Notes()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the source, in words; all is said at the end of a loop."""
        return self._notes.as_tuple()

    @property
    def seconds(self) -> float | None:
        """How long the source says that it lasts; `None` where it does not say."""
        return self._source.seconds

    @property
    def expected_windows(self) -> int | None:
        """How many windows there are if the source lasts as long as it says; `None` where it does not say."""
        ends = [end for end in (self._source.seconds, self._end) if end is not None]
        if self._source.seconds is None:
            return None
        form = self.form
        frames = math.ceil((min(ends) - self._start - TIME_STEP) * form.frame_rate)
        step = form.step or form.num_frames
        return max(math.ceil((frames - max(form.num_frames - step, 0)) / step), min(frames, 1), 0)

    def __iter__(self) -> Iterator[ClipWindow]:
        form, self._notes = self.form, Notes()
        step = form.step or form.num_frames
        notes = self._notes
        frames = self._frames(notes)
        track = SoundTrack(self._source.chunks(self._start, notes))
        held: list[np.ndarray] = []
        first = total = 0
        while fresh := list(islice(frames, form.num_frames - len(held))):
            held += fresh
            total = first + len(held)
            yield self._window(held, first, track, notes)
            # Windows that lie apart leave frames out.
            for _ in islice(frames, max(step - form.num_frames, 0)):
                pass
            held = held[step:]
            first += step
        if not total:
            raise ValueError(f"video '{self._source.name}' has no picture in the time asked for")
        self._note_sound(track, total, notes)

    def _frames(self, notes: Notes) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Yield frames of the form's size and rate: of each moment, the picture whose time is nearest."""
        source, rate = self._source, self.form.frame_rate
        if abs(source.frame_rate - rate) > 1e-3:
            notes.add(f"{source.frame_rate:.4g} frames a second resampled to {rate:g} by nearest frame")
        pictures = source.pictures(self._start, notes)
        current, following, frame = next(pictures, None), next(pictures, None), None
        for index in itertools.count():
            time = self._start + index / rate
            if current is None or (self._end is not None and time >= self._end - TIME_STEP):
                return
            while following is not None and following.time - time < abs(time - current.time) - TIME_STEP:
                current, following, frame = following, next(pictures, None), None
            if following is None and time >= current.end - TIME_STEP:
                return
            if frame is None:
                frame = fit_frame(current.make(), self.form.size, source.pixel_aspect, notes)
            yield frame

    def _window(self, held: list[np.ndarray], first: int, track: SoundTrack, notes: Notes) -> ClipWindow:
        form, num_real = self.form, len(held)
        missing = form.num_frames - num_real
        begin = form.samples_until(first)
        num_samples = form.window_samples
        if missing:
            padding = "repeating the last frame and by silence"
            notes.add(f"last window padded by {padding}: {num_real} of {form.num_frames} frames are real")
            num_samples = min(num_samples, form.samples_until(first + num_real) - begin)
        samples, num_sounding = track.take(begin, num_samples)
        if track.start is not None and not self._start and abs(track.start) > _AUDIBLE * form.sample_rate:
            side = "after" if track.start > 0 else "before"
            notes.add(f"sound starts {abs(track.start) / form.sample_rate:.2f} s {side} the video: aligned")
        return ClipWindow(
            video=np.stack(held + held[-1:] * missing),
            audio=np.pad(samples, (0, form.window_samples - num_samples)),
            start=self._start + first / form.frame_rate,
            num_real_frames=num_real,
            num_real_samples=num_samples,
            has_audio=num_sounding > 0,
        )

    def _note_sound(self, track: SoundTrack, num_frames: int, notes: Notes) -> None:
        early = (self.form.samples_until(num_frames) - track.end) / self.form.sample_rate
        if not self.has_audio:
            notes.add("no sound track: silence")
        elif not track.end:
            notes.add("no sound could be decoded: silence")
        elif early > 1 / self.form.frame_rate:
            notes.add(f"sound ends {early:.2f} s before the video: silence")


def open_clip(
    source: str | Path,
    form: ClipForm | None = None,
    *,
    start: float = 0.0,
    end: float | None = None,
    video_stream: int | None = None,
    audio_stream: int | None = None,
) -> Clip:
    """Open a video file to read it window by window.

    Each frame is the picture whose time stamp is nearest, so uneven rates are followed; its middle is cut to the
    proportions of the form's size (for a square size, the largest square) and resized by Pillow's bilinear filter,
    which is antialiased. Sound lies on the same clock by its own time stamps, gaps are silence; time 0 is the first
    picture.

    Args:
        source: A file that PyAV reads.
        form: What windows look like; `None` takes that of the released model.
        start: Seconds from the first picture.
        end: Seconds from the first picture; frames from there on are left out.
        video_stream: Number of the stream in the file, counted over streams of all kinds; `None` takes the best.
        audio_stream: The same for sound; `None` takes the first, if there is one.

    Raises:
        ValueError: The file is absent, has no such stream, or no picture in it can be decoded. A file that is damaged
            further on is read as far as it goes, and `notes` says so.
    """
    path, wanted = Path(source), form or ClipForm()
    file = FilePictures(path, video_stream)
    sound = FileSound(path, audio_stream)

    def chunks(start: float, notes: Notes) -> Iterator[Chunk]:
        zero = file.zero + start
        return mono_chunks(sound.frames(zero, notes), wanted.sample_rate, wanted.stereo, zero, notes)

    opened = ClipSource(
        name=str(path),
        frame_rate=file.frame_rate,
        seconds=file.said_seconds,
        has_audio=sound.exists,
        pictures=file.pictures,
        chunks=chunks,
        pixel_aspect=file.pixel_aspect,
    )
    return Clip(opened, wanted, start, end)


def clip_from_arrays(
    video: np.ndarray,
    frame_rate: float,
    audio: np.ndarray | None = None,
    sample_rate: int | None = None,
    form: ClipForm | None = None,
) -> Clip:
    """Read a video that is in memory window by window; see `open_clip`.

    Args:
        video: (T, H, W, 3), `uint8` or floats in [0, 1].
        frame_rate: Its frames a second.
        audio: Its sound, see `perceivers.processing.audio.as_channels`: (S,), or with an axis of 1 or 2 channels
            before or after.
        sample_rate: Samples a second of `audio`.
        form: What windows look like; `None` takes that of the released model.

    Raises:
        ValueError: An array has another form, or a rate is missing or not possible.
    """
    video, wanted = np.asarray(video), form or ClipForm()
    check_video(video)
    check_frame_rate(frame_rate)
    if (audio is None) != (sample_rate is None):
        raise ValueError(f"audio and sample_rate ({sample_rate}) must be given together")
    channels = None if audio is None else as_channels(audio)
    if sample_rate is not None:
        check_rate(sample_rate)

    def pictures(start: float, notes: Notes) -> Iterator[TimedPicture]:
        for i, frame in enumerate(video):
            yield TimedPicture(i / frame_rate, (i + 1) / frame_rate, partial(as_bytes, frame))

    def chunks(start: float, notes: Notes) -> Iterator[Chunk]:
        if channels is None or sample_rate is None:
            return iter(())
        frames = audio_frames(channels, sample_rate)
        return mono_chunks(frames, wanted.sample_rate, wanted.stereo, start, notes)

    source = ClipSource(
        name="array",
        frame_rate=frame_rate,
        seconds=len(video) / frame_rate,
        has_audio=channels is not None,
        pictures=pictures,
        chunks=chunks,
    )
    return Clip(source, wanted)


def fit_frame(
    picture: UInt8[np.ndarray, "H W 3"], size: tuple[int, int], pixel_aspect: float, notes: Notes
) -> UInt8[np.ndarray, "h w 3"]:
    """Cut the middle of a picture to the proportions of a size, and resize it by Pillow's bilinear filter.

    Args:
        picture: What to fit.
        size: Height and width wanted.
        pixel_aspect: Width of a pixel of the picture over its height.
        notes: Takes what was done.
    """
    height, width = picture.shape[:2]
    proportion = size[1] / size[0] / pixel_aspect
    rows = max(min(height, round(width / proportion)), 1)
    columns = max(min(width, round(height * proportion)), 1)
    # Parity: where the middle lies between pixels, as in the original's notebook.
    top, left = height // 2 - rows // 2, width // 2 - columns // 2
    if (rows, columns) != (height, width):
        notes.add(f"{height} x {width} pixels cut to the middle {rows} x {columns}")
        picture = picture[top : top + rows, left : left + columns]
    if (rows, columns) == size:
        return np.ascontiguousarray(picture)
    notes.add(f"{rows} x {columns} pixels resized to {size[0]} x {size[1]}, bilinear")
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BILINEAR))
