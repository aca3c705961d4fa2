"""Sound: files to arrays and back, mixed to one channel, resampled, and laid on the clock of a video.

Sound is `float32` (S,), samples in [-1, 1].
"""

import itertools
import wave
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from jaxtyping import Float32

from perceivers.processing.files import whole_file
from perceivers.processing.media import Notes, decode, find_audio, open_media, seek, time_of

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

Stereo = Literal["mix", "first"]
Chunk = tuple[int, Float32[np.ndarray, " S"]]

# Time stamps of many formats are rounded; only what is further off is a gap, or sound that comes twice.
_JITTER = 0.02
_BLOCK = 2**16

# How much each channel counts in a mix, as when ITU-R BS.775 is followed down to one channel: the centre goes to both
# sides and what is behind to one, at -3 dB; what is not named counts as a side, and low effects are left out.
_WEIGHTS = {"FC": 2**0.5, "BL": 0.5**0.5, "BR": 0.5**0.5, "SL": 0.5**0.5, "SR": 0.5**0.5, "BC": 0.5**0.5, "LFE": 0.0}
_HIGHEST_RATE = 2**20


def read_audio(
    path: str | Path, sample_rate: int | None = None, stereo: Stereo = "mix"
) -> tuple[Float32[np.ndarray, " S"], int]:
    """Read a sound file, or the sound of a video, as one channel.

    Args:
        path: A file that `soundfile` or PyAV reads; of a video, the first audio stream.
        sample_rate: Samples a second wanted; `None` keeps the file's own.
        stereo: `mix` all channels (of two, the mean), or take the `first`.

    Returns:
        Samples in [-1, 1], and their rate.

    Raises:
        ValueError: The file is absent, broken, or has no sound, or the rate is not possible.
    """
    path = Path(path)
    check_stereo(stereo)
    if sample_rate is not None:
        check_rate(sample_rate)
    if not path.is_file():
        raise ValueError(f"sound file '{path}' does not exist")
    samples, rate = _read_by_soundfile(path, stereo) or _read_by_av(path, stereo)
    if samples.size == 0:
        raise ValueError(f"file '{path}' has no sound that can be decoded")
    if not np.isfinite(samples).all():
        raise ValueError(f"sound file '{path}' has samples that are no finite numbers")
    wanted = sample_rate or rate
    return np.clip(resample(samples, rate, wanted), -1, 1), wanted


def _read_by_soundfile(path: Path, stereo: Stereo) -> tuple[np.ndarray, int] | None:
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            if file.channels > 2:
                # Which channel is which is known to FFmpeg alone.
                return None
            # Block by block: what a header claims costs no memory before it is there.
            blocks = list(file.blocks(_BLOCK, dtype="float32", always_2d=True))
            rate = file.samplerate
    except soundfile.LibsndfileError:
        return None
    mono = [block[:, 0] if stereo == "first" else block.mean(axis=1) for block in blocks]
    return np.concatenate(mono) if mono else np.zeros(0, np.float32), rate


def _read_by_av(path: Path, stereo: Stereo) -> tuple[np.ndarray, int]:
    frames = FileSound(path, None).frames(0.0, Notes())
    first = next(frames, None)
    if first is None:
        return np.zeros(0, np.float32), 1
    time, frame = first
    rate = frame.sample_rate
    track = SoundTrack(mono_chunks(itertools.chain([first], frames), rate, stereo, time, Notes()))
    pieces = []
    # A second at a time: how long it is shows only at the end.
    while not pieces or track.end >= rate * len(pieces):
        pieces.append(track.take(rate * len(pieces), rate)[0])
    return np.concatenate(pieces)[: track.end], rate


def write_wav(path: str | Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write sound as a WAV file of 16 bits; the file appears whole or not at all.

    Args:
        path: Ends in `.wav`.
        samples: (S,), floats; what lies beyond [-1, 1] is clipped.
        sample_rate: Samples a second.

    Raises:
        ValueError: The ending is another, the folder does not exist, or samples or rate are not possible.
    """
    path = Path(path)
    if path.suffix.lower() != ".wav":
        raise ValueError(f"sound file '{path}' must end in .wav")
    samples = as_samples(samples)
    check_rate(sample_rate)
    codes = np.clip(np.rint(samples * 2**15), -(2**15), 2**15 - 1).astype("<i2")
    with whole_file(path) as partial, wave.open(str(partial), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(codes.tobytes())


def as_samples(samples: np.ndarray) -> Float32[np.ndarray, " S"]:
    """Return sound of one channel as `float32` in [-1, 1]; what lies beyond is clipped.

    Raises:
        ValueError: It is not finite floats (S,).
    """
    array = np.asarray(samples)
    if array.ndim != 1 or array.dtype.kind != "f":
        raise ValueError(f"sound of type {array.dtype} and shape {array.shape} must be floats (S,)")
    if not np.isfinite(array).all():
        raise ValueError("sound has samples that are no finite numbers")
    return np.clip(array, -1, 1).astype(np.float32)


def as_channels(audio: np.ndarray) -> Float32[np.ndarray, "channels S"]:
    """Return sound as channels (1, S) or (2, S).

    Args:
        audio: (S,), (S, 1), (1, S), (S, 2) or (2, S): of two axes, the one of length 1 or 2 is that of the channels.
            Floats in [-1, 1], or `int16`.

    Raises:
        ValueError: It has another form, both axes might be that of the channels, or values lie beyond [-1, 1].
    """
    array = np.asarray(audio)
    forms = "must be (S,), (S, 1), (1, S), (S, 2) or (2, S)"
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or 0 in array.shape or min(array.shape) > 2:
        raise ValueError(f"sound of shape {np.shape(audio)} {forms}, with at least one sample")
    if np.ndim(audio) == 2 and max(array.shape) <= 2:
        raise ValueError(f"sound of shape {array.shape} is ambiguous: both axes might be that of the channels; {forms}")
    channels = array if array.shape[0] <= 2 else array.T
    if channels.dtype == np.int16:
        return channels.astype(np.float32) / 2**15
    if channels.dtype.kind != "f":
        raise ValueError(f"sound of type {channels.dtype} must be int16 or floats in [-1, 1]")
    low, high = float(channels.min()), float(channels.max())
    if not (low >= -1 and high <= 1):
        raise ValueError(f"sound has values from {low:g} to {high:g}; floats must lie in [-1, 1]")
    return channels.astype(np.float32)


def check_rate(sample_rate: int) -> None:
    """Refuse rates that no sound has.

    Raises:
        ValueError: It does not lie between 1 and 2**20 samples a second.
    """
    if not 1 <= sample_rate <= _HIGHEST_RATE:
        raise ValueError(f"sample_rate ({sample_rate}) must lie between 1 and {_HIGHEST_RATE} samples a second")


def check_stereo(stereo: str) -> None:
    """Refuse ways to make one channel that do not exist.

    Raises:
        ValueError: It is none of `Stereo`.
    """
    if stereo not in get_args(Stereo):
        raise ValueError(f"stereo ({stereo!r}) must be one of {list(get_args(Stereo))}")


def resample(samples: Float32[np.ndarray, " S"], sample_rate: int, new_rate: int) -> Float32[np.ndarray, " R"]:
    """Return sound at another rate, by FFmpeg's band-limited resampler; the first sample stays where it was."""
    if sample_rate == new_rate:
        return samples
    frames = audio_frames(samples[None], sample_rate)
    chunks = mono_chunks(frames, new_rate, "mix", 0.0, Notes())
    length = -(-len(samples) * new_rate // sample_rate)
    return SoundTrack(chunks).take(0, length)[0]


def audio_frames(channels: Float32[np.ndarray, "C S"], sample_rate: int) -> Iterator[tuple[float, "AudioFrame"]]:
    """Yield sound in pieces as PyAV holds it, each with its time in seconds."""
    from fractions import Fraction

    from av.audio.frame import AudioFrame

    layout = "mono" if len(channels) == 1 else "stereo"
    for start in range(0, channels.shape[1], _BLOCK):
        piece = np.ascontiguousarray(channels[:, start : start + _BLOCK])
        frame = AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
        frame.sample_rate = sample_rate
        frame.time_base = Fraction(1, sample_rate)
        frame.pts = start
        yield start / sample_rate, frame


def mono_chunks(
    frames: Iterable[tuple[float, "AudioFrame"]], sample_rate: int, stereo: Stereo, zero: float, notes: Notes
) -> Iterator[Chunk]:
    """Yield sound as one channel at a rate, in pieces, each with the number of its first sample.

    Args:
        frames: With their times in seconds.
        sample_rate: Wanted.
        stereo: See `read_audio`.
        zero: The time of sample 0; what comes before has negative numbers.
        notes: Takes what was done.
    """
    segment = None
    for time, frame in frames:
        if segment is None or not segment.goes_on(time - zero, frame):
            if segment is not None:
                yield from segment.push(None)
            segment = _Segment(time - zero, frame, sample_rate, stereo)
            _note_form(frame, sample_rate, stereo, notes)
        yield from segment.push(frame)
    if segment is not None:
        yield from segment.push(None)


class _Segment:
    """Sound without gap or change of form: one run of the resampler."""

    def __init__(self, time: float, frame: "AudioFrame", sample_rate: int, stereo: Stereo) -> None:
        from av.audio.resampler import AudioResampler

        self._form = _form_of(frame)
        self._next_time = time
        self._position = round(time * sample_rate)
        # FFmpeg's own mix of floats is louder than its parts, so that it would be clipped.
        self._weights = _mix_weights(frame, stereo)
        self._resampler: AudioResampler = AudioResampler(format="fltp", layout=frame.layout, rate=sample_rate)

    def goes_on(self, time: float, frame: "AudioFrame") -> bool:
        """Return whether a frame follows at once, in the same form."""
        return _form_of(frame) == self._form and abs(time - self._next_time) <= _JITTER

    def push(self, frame: "AudioFrame | None") -> Iterator[Chunk]:
        """Yield what comes out when a frame goes in; `None` says that no more comes."""
        if frame is not None:
            self._next_time += frame.samples / frame.sample_rate
        for resampled in self._resampler.resample(frame):
            # Without any need to resample, the end comes out as it went in.
            if resampled is not None:
                samples = self._weights @ resampled.to_ndarray()
                yield self._position, np.clip(np.nan_to_num(samples), -1, 1)
                self._position += len(samples)


def _form_of(frame: "AudioFrame") -> tuple[int, str, str]:
    return frame.sample_rate, frame.layout.name, frame.format.name


def _mix_weights(frame: "AudioFrame", stereo: Stereo) -> Float32[np.ndarray, " C"]:
    """Return by how much each channel counts; together they count 1."""
    count = frame.layout.nb_channels
    names = [channel.name for channel in frame.layout.channels]
    # A lone channel is all there is, whatever its name.
    known = len(names) == count > 1
    weights = np.array([_WEIGHTS.get(name, 1.0) for name in names] if known else np.ones(count), np.float32)
    if stereo == "first":
        weights = np.eye(count, dtype=np.float32)[0]
    return weights / weights.sum()


def _note_form(frame: "AudioFrame", sample_rate: int, stereo: Stereo, notes: Notes) -> None:
    count = frame.layout.nb_channels
    if count > 1 and stereo == "mix":
        # Formats that name no layout say "2 channels".
        name = "stereo" if count == 2 else frame.layout.name
        notes.add(f"{name} sound mixed to mono")
    elif count > 1:
        notes.add(f"first of {count} channels taken")
    if frame.sample_rate != sample_rate:
        notes.add(f"{frame.sample_rate} Hz resampled to {sample_rate} Hz")


class SoundTrack:
    """Sound on a clock of samples: gaps are silence, and of what comes twice the first is kept.

    Args:
        chunks: Pieces of sound with the number of their first sample, in order.

    It holds only what lies between the last sample that was asked for and the last that was read.
    """

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks
        self._pieces: deque[Chunk] = deque()
        self.start: int | None = None
        self.end = 0

    def take(self, first: int, count: int) -> tuple[Float32[np.ndarray, " S"], int]:
        """Return `count` samples from number `first` on, and how many of them are sound rather than silence.

        Samples before `first` are forgotten.
        """
        while self.end < first + count and (chunk := next(self._chunks, None)) is not None:
            position, samples = chunk
            self.start = position if self.start is None else self.start
            known = max(self.end - position, 0)
            if known < len(samples):
                self._pieces.append((position + known, samples[known:]))
                self.end = position + len(samples)
        while self._pieces and self._pieces[0][0] + len(self._pieces[0][1]) <= first:
            self._pieces.popleft()
        taken, num_real = np.zeros(count, np.float32), 0
        for position, samples in self._pieces:
            begin, end = max(position, first), min(position + len(samples), first + count)
            if begin < end:
                taken[begin - first : end - first] = samples[begin - position : end - position]
                num_real += end - begin
        return taken, num_real


class FileSound:
    """One sound stream of a file.

    Args:
        path: The file.
        index: Number of the stream in the file; `None` takes the first that holds sound.
    """

    def __init__(self, path: Path, index: int | None) -> None:
        self._path = path
        with open_media(path) as container:
            stream = find_audio(container, index, path)
            self._index = None if stream is None else stream.index
        self.exists = stream is not None

    def frames(self, start: float, notes: Notes) -> Iterator[tuple[float, "AudioFrame"]]:
        """Yield frames with their times on the file's clock, from `start` or earlier; none where there is no sound."""
        if self._index is None:
            return
        with open_media(self._path) as container:
            stream = find_audio(container, self._index, self._path)
            assert stream is not None
            # What the resampler and the decoder need to settle comes before.
            if start > 1:
                seek(container, stream, start - 0.5)
            expected = 0.0
            for frame in decode(container, stream, notes):
                time = time_of(frame)
                time = expected if time is None else time
                expected = time + frame.samples / frame.sample_rate
                yield time, frame
