"""Small media files that tests write, and where real ones lie."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

VIDEOS = Path(__file__).resolve().parents[2] / "shared" / "data" / "video"


def real_video(name: str) -> Path:
    """Return the path of a real clip; skip the test where there is none."""
    if not VIDEOS.is_dir():
        pytest.skip(f"needs {VIDEOS}")
    return VIDEOS / name


def grey_frames(levels: list[int], height: int = 32, width: int = 48) -> np.ndarray:
    """Return one even frame a level, (T, H, W, 3): what is in a frame shows which one it is."""
    return np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], (len(levels), height, width, 3)).copy()


def write_media(
    path: Path,
    frames: np.ndarray,
    times: list[float],
    audio: np.ndarray | None = None,
    audio_times: list[float] | None = None,
    sample_rate: int = 48000,
    codec: str = "pcm_s16le",
) -> Path:
    """Write frames at any times, and pieces of lossless sound (pieces, channels, samples) at any times."""
    tick = Fraction(1, 1000)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        video.options = {"crf": "10", "bf": "0"}
        video.codec_context.time_base = tick
        sound = None
        if audio is not None:
            layout = {1: "mono", 2: "stereo", 4: "4.0", 6: "5.1"}[audio.shape[1]]
            sound = container.add_stream(codec, rate=sample_rate, layout=layout)
        for picture, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(time / tick), tick
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is None or audio_times is None or sound is None:
            return path
        for piece, time in zip(audio, audio_times, strict=True):
            codes = np.rint(piece * (2**15 - 1)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(codes.T.reshape(1, -1), format="s16", layout=sound.layout.name)
            frame.sample_rate, frame.time_base = sample_rate, Fraction(1, sample_rate)
            frame.pts = round(time * sample_rate)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def turn_mp4(path: Path) -> None:
    """Say in the header of the first track of an .mp4 that its pictures are to be shown turned clockwise."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    assert struct.unpack_from(">i", data, matrix)[0] == 0x10000
    struct.pack_into(">9i", data, matrix, 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    path.write_bytes(data)
