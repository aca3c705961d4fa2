"""What the video auto-encoder made of a clip: its frames, its sound and its labels, to be judged, drawn and written."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from PIL import Image

from perceivers.processing.audio import write_wav
from perceivers.processing.files import write_picture, write_whole
from perceivers.processing.video_pictures import decibels, side_by_side, spectrogram_picture, waveform_picture
from perceivers.processing.video_writing import video_writer, write_gif
from perceivers.tasks.drawing import below, captioned, draw_bars

# The largest difference that values in [0, 1], and samples in [-1, 1], can be apart from.
VIDEO_PEAK, AUDIO_PEAK = 1.0, 1.0


@dataclass(frozen=True)
class Window:
    """One window of a clip beside what came back.

    Args:
        video: Frames as the model read them, without those that were made up to fill the window, (T, H, W, 3).
        audio: Samples likewise, (S,).
        video_out: Frames that came back, (T, H, W, 3).
        audio_out: Samples that came back, (S,).
        video_mse: Mean squared error of the frames' values in [0, 1].
        audio_mse: Mean squared error of the samples.
        probabilities: Of each label, (E,).
        start: When the window begins, in seconds.
    """

    video: UInt8[np.ndarray, "T H W 3"]
    audio: Float32[np.ndarray, " S"]
    video_out: UInt8[np.ndarray, "T H W 3"]
    audio_out: Float32[np.ndarray, " S"]
    video_mse: float
    audio_mse: float
    probabilities: Float64[np.ndarray, " E"]
    start: float


@dataclass(frozen=True)
class VideoResult:
    """A clip, window by window, beside what the model made of it.

    Args:
        windows: The windows, in order.
        labels: Label names, in the order of the probabilities.
        top_k: How many labels `best_labels` gives.
        frame_rate: Frames a second.
        sample_rate: Samples a second.
        has_audio: Whether the clip had sound; silence was read otherwise.
        notes: What was done to the clip so that the model could read it, in words.
    """

    windows: tuple[Window, ...]
    labels: tuple[str, ...]
    top_k: int
    frame_rate: float
    sample_rate: int
    has_audio: bool
    notes: tuple[str, ...]

    @property
    def video(self) -> UInt8[np.ndarray, "T H W 3"]:
        """All frames as the model read them."""
        return np.concatenate([window.video for window in self.windows])

    @property
    def video_out(self) -> UInt8[np.ndarray, "T H W 3"]:
        """All frames that came back."""
        return np.concatenate([window.video_out for window in self.windows])

    @property
    def audio(self) -> Float32[np.ndarray, " S"]:
        """All samples as the model read them."""
        return np.concatenate([window.audio for window in self.windows])

    @property
    def audio_out(self) -> Float32[np.ndarray, " S"]:
        """All samples that came back."""
        return np.concatenate([window.audio_out for window in self.windows])

    @property
    def video_psnr(self) -> float:
        """Peak signal-to-noise ratio of all frames, in dB."""
        sizes = [window.video.size for window in self.windows]
        return decibels(VIDEO_PEAK**2, float(np.average([window.video_mse for window in self.windows], weights=sizes)))

    @property
    def audio_psnr(self) -> float | None:
        """Peak signal-to-noise ratio of all samples, in dB, for a peak of 1; `None` for a clip without sound."""
        sizes = [window.audio.size for window in self.windows]
        if not self.has_audio or not sum(sizes):
            return None
        return decibels(AUDIO_PEAK**2, float(np.average([window.audio_mse for window in self.windows], weights=sizes)))

    @property
    def best_labels(self) -> list[dict[str, Any]]:
        """The most probable labels by the mean over windows, the best first."""
        return self._best(np.mean([window.probabilities for window in self.windows], axis=0))

    def _best(self, probabilities: np.ndarray) -> list[dict[str, Any]]:
        order = np.argsort(-probabilities, kind="stable")[: self.top_k]
        return [{"label": self.labels[i], "score": float(probabilities[i])} for i in order]

    def summary(self) -> dict[str, Any]:
        """Return labels, PSNR and what was done to the clip; labels of each window too when there are several."""
        windows = [
            {
                "start": round(window.start, 4),
                "video_psnr": _rounded(decibels(VIDEO_PEAK**2, window.video_mse)),
                "audio_psnr": _rounded(decibels(AUDIO_PEAK**2, window.audio_mse)) if self.has_audio else None,
                "labels": self._best(window.probabilities),
            }
            for window in self.windows
        ]
        return {
            "labels": self.best_labels,
            "video_psnr": _rounded(self.video_psnr),
            "audio_psnr": None if self.audio_psnr is None else _rounded(self.audio_psnr),
            "seconds": round(sum(len(window.video) for window in self.windows) / self.frame_rate, 4),
            "frames": sum(len(window.video) for window in self.windows),
            "notes": list(self.notes),
            "windows": windows,
        }

    def pairs(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Yield each frame with the one that came back at its right."""
        for window in self.windows:
            for before, after in zip(window.video, window.video_out, strict=True):
                yield np.concatenate([before, after], axis=1)

    def sheet(self) -> Image.Image:
        """Draw a few frames above those that came back, and the labels."""
        psnr = f"video {self.video_psnr:.1f} dB"
        psnr += f", sound {self.audio_psnr:.1f} dB" if self.audio_psnr is not None else ", no sound"
        times = np.arange(len(self.video)) / self.frame_rate
        frames = side_by_side(self.video, self.video_out, times=times.tolist())
        return below([captioned(frames, psnr), draw_bars(self.best_labels)])

    def save(self, folder: Path, name: str) -> list[Path]:
        """Write the clip that came back with its sound, both side by side, pictures, and a summary.

        Returns:
            The files: `.mp4`, `.side.mp4`, `.gif`, `.sheet.png`, `.json`, and for clips with sound `.wav`,
            `.waveform.png` and `.spectrogram.png`.
        """
        paths = {ending: folder / f"{name}.{ending}" for ending in ("mp4", "side.mp4", "gif", "sheet.png", "json")}
        for ending, both in (("mp4", False), ("side.mp4", True)):
            self.write_video(paths[ending], both=both)
        write_gif(paths["gif"], self.pairs(), self.frame_rate)
        write_picture(paths["sheet.png"], self.sheet())
        write_whole(paths["json"], json.dumps(self.summary(), indent=2, ensure_ascii=False) + "\n")
        if self.has_audio:
            sounds = (self.audio, self.audio_out)
            paths |= {end: folder / f"{name}.{end}" for end in ("wav", "waveform.png", "spectrogram.png")}
            write_wav(paths["wav"], self.audio_out, self.sample_rate)
            write_picture(paths["waveform.png"], waveform_picture(*sounds, self.sample_rate))
            write_picture(paths["spectrogram.png"], spectrogram_picture(*sounds, self.sample_rate))
        return list(paths.values())

    def write_video(self, path: str | Path, *, both: bool = False) -> None:
        """Write the clip that came back, with its sound; with `both`, at the right of the clip as it was read."""
        with video_writer(Path(path), self.frame_rate, self.sample_rate if self.has_audio else None) as writer:
            for window in self.windows:
                frames = [window.video, window.video_out] if both else [window.video_out]
                writer.write(np.concatenate(frames, axis=2), window.audio_out if self.has_audio else None)


def _rounded(value: float) -> float | str:
    """Return a number as JSON has it, which knows no infinity."""
    return round(value, 3) if math.isfinite(value) else "infinite"
