"""Sound in any form that data and users have it in, to samples of one channel."""

import struct
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float32

from perceivers.processing.audio import as_channels, check_rate, read_audio, resample

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff", ".au")
# Formats whose headers say exactly how long they are. Those of MP3 and Ogg may be estimates.
_EXACT_FORMATS = ("FLAC", "AIFF", "AU")
# Headers that were written before the length was known say so by the largest numbers there are.
_LONGEST_WAV = 2**31 - 2**16


def read_sound(value: Any, sample_rate: int) -> Float32[np.ndarray, " S"]:
    """Return sound as one channel at a rate.

    Args:
        value: A sound file's path; the bytes of one; a mapping with `array` (or `raw`) and `sampling_rate`, or with
            `path` or `bytes`, as data sets and pipelines of Hugging Face have it; or an array (S,), (S, 2) or (2, S)
            that has the wanted rate already. Arrays are `int16`, or floats in [-1, 1].
        sample_rate: Samples a second.

    Returns:
        Samples in [-1, 1], at least one.

    Raises:
        ValueError: The file is absent, broken, cut off or without sound, or the value is none of these.
    """
    check_rate(sample_rate)
    samples, rate = _as_it_is(value)
    return samples if rate is None else np.clip(resample(samples, rate, sample_rate), -1, 1)


def sound_problem(value: Any) -> str | None:
    """Return what is wrong with sound that a data set has, all of which is read, or `None`."""
    if value is None or value == "":
        return "the sound is missing"
    try:
        _as_it_is(value)
    except ValueError as error:
        return str(error)
    return None


def sound_seconds(path: Path) -> float | None:
    """Return how long a sound file says it is, or `None` where its format does not say."""
    import soundfile

    try:
        return soundfile.info(path).duration
    except soundfile.LibsndfileError:
        return None


def _as_it_is(value: Any) -> tuple[Float32[np.ndarray, " S"], int | None]:
    """Return samples and their rate; that of a bare array is not known."""
    if isinstance(value, Mapping):
        return _from_mapping(value)
    if isinstance(value, bytes):
        return _from_bytes(value)
    if isinstance(value, str | Path):
        return _from_file(Path(value))
    return _mixed(value), None


def _from_mapping(value: Mapping[str, Any]) -> tuple[Float32[np.ndarray, " S"], int]:
    array = value.get("array", value.get("raw"))
    if array is not None:
        rate = value.get("sampling_rate")
        if not isinstance(rate, int | np.integer):
            raise ValueError(f"sound given as an array needs 'sampling_rate', a whole number; got {rate!r}")
        check_rate(int(rate))
        return _mixed(array), int(rate)
    # A data set may name where the bytes came from beside them: that file need not be here.
    if value.get("bytes"):
        return _from_bytes(value["bytes"])
    if value.get("path"):
        return _from_file(Path(value["path"]))
    raise ValueError(f"sound must have 'path', 'bytes', or 'array' and 'sampling_rate'; got {sorted(value)}")


def _from_bytes(data: bytes) -> tuple[Float32[np.ndarray, " S"], int]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sound"
        path.write_bytes(data)
        try:
            return _from_file(path)
        except ValueError as error:
            raise ValueError(str(error).replace(f"'{path}'", f"of {len(data)} bytes")) from error


def _from_file(path: Path) -> tuple[Float32[np.ndarray, " S"], int]:
    samples, rate = read_audio(path)
    promised = _promised_samples(path)
    if promised is not None and len(samples) < promised:
        raise ValueError(f"sound file '{path}' is cut off: it says {promised} samples and has {len(samples)}")
    return samples, rate


def _mixed(array: Any) -> Float32[np.ndarray, " S"]:
    try:
        array = np.asarray(array)
    except ValueError as error:
        raise ValueError(f"sound must be an array of one length in all channels: {error}") from error
    if array.dtype.kind not in "if":
        raise ValueError(f"sound must be a file, bytes, a mapping or an array of numbers, not of type {array.dtype}")
    return as_channels(array).mean(axis=0)


def _promised_samples(path: Path) -> int | None:
    """Return how many samples the header of a file says it has; `None` where none says so exactly."""
    import soundfile

    with path.open("rb") as file:
        if file.read(4) == b"RIFF":
            return _promised_by_wav(path)
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError:
        return None
    return info.frames if info.format in _EXACT_FORMATS else None


def _promised_by_wav(path: Path) -> int | None:
    """Return what the header of a WAV file says; libsndfile only tells what of it is there."""
    frame_bytes = 0
    with path.open("rb") as file:
        file.seek(12)
        while len(header := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", header)
            if name == b"data":
                return size // frame_bytes if frame_bytes and size < _LONGEST_WAV else None
            content = file.read(size + size % 2)
            if name == b"fmt " and len(content) >= 14:
                frame_bytes = struct.unpack_from("<H", content, 12)[0]
    return None
