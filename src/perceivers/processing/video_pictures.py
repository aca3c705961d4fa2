"""Video and sound judged and drawn beside what a model made of them: signal to noise, frames, waves, spectrograms."""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from perceivers.processing.audio import check_rate
from perceivers.processing.video_frames import as_bytes, check_video

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PAPER, _INK, _FAINT, _LINE = "#ffffff", "#1f2933", "#5f6c7b", "#d9dee5"
_ACCENT, _ERROR = "#2563a8", "#c2480c"
_TEXT, _GAP = 13, 4

# A difference of so much, of 255, is the end of the colour scale of errors: larger ones look the same.
_LARGEST_ERROR = 64
_QUIETEST = -80.0


def psnr(reference: np.ndarray, other: np.ndarray, peak: float = 1.0) -> float:
    """Return the ratio of the peak to the difference of two signals, in dB; infinite where they are equal.

    It is 10 log10(peak^2 / mean squared difference). For video in [0, 1] the peak is 1, the largest value. For sound
    in [-1, 1] it is 1 too, full scale: the result is then how far the difference lies below it, in dB. Who takes the
    whole range of sound instead, a peak of 2, gets 6.02 dB more for anything.

    Args:
        reference: Floats of any shape.
        other: Floats of the same shape.
        peak: The largest value that the signal can have.

    Raises:
        ValueError: Shapes or types are wrong, a value is not finite, or the peak is not positive.
    """
    if not 0 < peak < math.inf:
        raise ValueError(f"peak ({peak}) must be a positive number")
    reference, other = _pair(reference, other)
    return decibels(peak**2, float(np.mean((reference - other) ** 2)))


def signal_to_noise(reference: np.ndarray, other: np.ndarray) -> float:
    """Return the ratio of a signal to what differs from it, in dB; infinite where nothing differs.

    Unlike `psnr` it does not reward a quiet signal: silence instead of it is 0 dB.

    Args:
        reference: Floats of any shape, not all zero.
        other: Floats of the same shape.

    Raises:
        ValueError: Shapes or types are wrong, a value is not finite, or the reference is zero everywhere.
    """
    reference, other = _pair(reference, other)
    power = float(np.mean(reference**2))
    if not power:
        raise ValueError("reference is zero everywhere; without a signal there is no ratio")
    return decibels(power, float(np.mean((reference - other) ** 2)))


def _pair(reference: np.ndarray, other: np.ndarray) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    pair = np.asarray(reference), np.asarray(other)
    if pair[0].shape != pair[1].shape or not pair[0].size:
        raise ValueError(f"other of shape {pair[1].shape} must have the shape of the reference, {pair[0].shape}")
    for name, array in zip(("reference", "other"), pair, strict=True):
        if array.dtype.kind != "f":
            raise ValueError(f"{name} of type {array.dtype} must be floats: bytes of video divided by 255")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite numbers")
    return pair[0].astype(np.float64), pair[1].astype(np.float64)


def decibels(power: float, noise: float) -> float:
    """Return how far a mean square lies above that of the noise, in dB; infinite where there is no noise."""
    return math.inf if noise == 0 else 10 * math.log10(power / noise)


def side_by_side(
    original: np.ndarray,
    reconstruction: np.ndarray,
    *,
    num_frames: int = 6,
    labels: tuple[str, str] = ("original", "reconstruction"),
    times: Sequence[float] | None = None,
    errors: bool = True,
    frame_width: int = 160,
) -> Image.Image:
    """Draw a few frames spread over a video, under each what a model made of it, and where they differ.

    Args:
        original: (T, H, W, 3), `uint8` or floats in [0, 1].
        reconstruction: The same of the same shape.
        num_frames: Columns, at most.
        labels: Names of the two rows.
        times: Seconds at which the frames are shown; `None` writes their numbers.
        errors: Whether a third row shows the mean difference of the channels: the darker, the larger.
        frame_width: Pixels of a frame across in the picture.

    Raises:
        ValueError: Shapes or types are wrong, or a number is not positive.
    """
    original, reconstruction = np.asarray(original), np.asarray(reconstruction)
    check_video(original)
    check_video(reconstruction)
    if original.shape != reconstruction.shape:
        shapes = f"reconstruction of shape {reconstruction.shape} must have the shape of the original"
        raise ValueError(f"{shapes}, {original.shape}")
    if num_frames < 1 or frame_width < 1:
        raise ValueError(f"num_frames ({num_frames}) and frame_width ({frame_width}) must be at least 1")
    if times is not None and len(times) != len(original):
        raise ValueError(f"times ({len(times)}) must be as many as the frames ({len(original)})")
    chosen = np.unique(np.linspace(0, len(original) - 1, min(num_frames, len(original))).round().astype(int))
    rows = [(labels[0], as_bytes(original[chosen])), (labels[1], as_bytes(reconstruction[chosen]))]
    if errors:
        rows.append((f"difference (black: {_LARGEST_ERROR} of 255 or more)", _differences(rows[0][1], rows[1][1])))
    heads = [f"frame {i}" if times is None else f"{times[i]:.2f} s" for i in chosen]
    return _sheet(rows, heads, frame_width)


def _differences(original: np.ndarray, reconstruction: np.ndarray) -> np.ndarray:
    difference = np.abs(original.astype(np.float64) - reconstruction).mean(axis=-1, keepdims=True)
    shade = 255 * (1 - np.minimum(difference / _LARGEST_ERROR, 1))
    return np.repeat(np.rint(shade), 3, axis=-1).astype(np.uint8)


def _sheet(rows: Sequence[tuple[str, np.ndarray]], heads: Sequence[str], frame_width: int) -> Image.Image:
    """Put rows of frames under each other, with their names above them and heads above all."""
    height, width = rows[0][1].shape[1:3]
    frame_height = max(round(height * frame_width / width), 1)
    font = ImageFont.load_default(_TEXT)
    line = _TEXT + 2 * _GAP
    widest = max(math.ceil(font.getlength(name)) for name, _ in rows)
    across = max(len(heads) * (frame_width + _GAP) - _GAP, widest)
    sheet = Image.new("RGB", (across + 2 * _GAP, line + len(rows) * (line + frame_height) + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    lefts = [_GAP + i * (frame_width + _GAP) for i in range(len(heads))]
    for left, head in zip(lefts, heads, strict=True):
        draw.text((left, _GAP), head, fill=_FAINT, font=font)
    top = line
    for name, frames in rows:
        draw.text((_GAP, top + _GAP // 2), name, fill=_INK, font=font)
        for left, frame in zip(lefts, frames, strict=True):
            small = Image.fromarray(frame).resize((frame_width, frame_height), Image.Resampling.BICUBIC)
            sheet.paste(small, (left, top + line))
            corners = (left, top + line, left + frame_width - 1, top + line + frame_height - 1)
            draw.rectangle(corners, outline=_LINE)
        top += line + frame_height
    return sheet


def waveform_picture(original: np.ndarray, reconstruction: np.ndarray, sample_rate: int) -> Image.Image:
    """Draw two sounds over time on the same scale, and their difference.

    Args:
        original: (S,), floats in [-1, 1].
        reconstruction: (S,).
        sample_rate: Samples a second.

    Raises:
        ValueError: Shapes or types are wrong, or the rate is not possible.
    """
    original, reconstruction = _sounds(original, reconstruction, sample_rate)
    rows = [
        ("original", original, _ACCENT),
        ("reconstruction", reconstruction, _ACCENT),
        ("difference", reconstruction - original, _ERROR),
    ]
    highest = max(float(np.abs(sound).max()) for _, sound, _ in rows) or 1.0
    figure = _figure(8.0, 4.2)
    grid = figure.subplots(len(rows), 1, sharex=True)
    for axes, (name, sound, colour) in zip(grid, rows, strict=True):
        starts, low, high = _envelope(sound, sample_rate)
        axes.fill_between(starts, low, high, color=colour, linewidth=0.6, step=None)
        axes.set_ylim(-1.05 * highest, 1.05 * highest)
        axes.set_xlim(0, len(original) / sample_rate)
        _dress(axes, name, "amplitude")
    grid[-1].set_xlabel("seconds", color=_FAINT, fontsize=9)
    return _image(figure)


def _envelope(sound: np.ndarray, sample_rate: int, columns: int = 1200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return times, and lowest and highest sample of each of so many stretches: what a thin line would cover."""
    edges = np.unique(np.linspace(0, len(sound), min(columns, len(sound)) + 1).astype(int))[:-1]
    return edges / sample_rate, np.minimum.reduceat(sound, edges), np.maximum.reduceat(sound, edges)


def spectrogram_picture(original: np.ndarray, reconstruction: np.ndarray, sample_rate: int) -> Image.Image:
    """Draw how strong each frequency of two sounds is over time, in dB below full scale, in the same colours.

    Args:
        original: (S,), floats in [-1, 1].
        reconstruction: (S,).
        sample_rate: Samples a second.

    Raises:
        ValueError: Shapes or types are wrong, or the rate is not possible.
    """
    original, reconstruction = _sounds(original, reconstruction, sample_rate)
    levels = [spectrogram(original), spectrogram(reconstruction)]
    loudest = max(max(float(level.max()) for level in levels), _QUIETEST + 20)
    figure = _figure(8.0, 4.6)
    grid = figure.subplots(2, 1, sharex=True)
    extent = (0, len(original) / sample_rate, 0, sample_rate / 2000)
    drawn = None
    for axes, name, level in zip(grid, ("original", "reconstruction"), levels, strict=True):
        drawn = axes.imshow(
            level, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=_QUIETEST, vmax=loudest
        )
        _dress(axes, name, "kHz")
    grid[-1].set_xlabel("seconds", color=_FAINT, fontsize=9)
    assert drawn is not None
    bar = figure.colorbar(drawn, ax=list(grid), fraction=0.03, pad=0.015)
    bar.set_label("dB, 0 is a sine of full scale", color=_FAINT, fontsize=9)
    bar.ax.tick_params(colors=_FAINT, labelsize=8)
    return _image(figure)


def spectrogram(sound: np.ndarray, window: int = 1024) -> Float[np.ndarray, "frequencies times"]:
    """Return the level of each frequency over time in dB, from 0 (a sine of full scale) down to -80.

    Args:
        sound: (S,), floats.
        window: Samples of a stretch, weighed by Hann's window; stretches follow each other by a quarter of it.
    """
    window = max(min(window, len(sound)), 2)
    padded = np.pad(sound, (0, max(window - len(sound), 0)))
    stretches = np.lib.stride_tricks.sliding_window_view(padded, window)[:: max(window // 4, 1)]
    weights = np.hanning(window + 1)[:-1]
    amplitudes = 2 * np.abs(np.fft.rfft(stretches * weights, axis=1)) / weights.sum()
    return np.maximum(20 * np.log10(np.maximum(amplitudes, 1e-9)), _QUIETEST).T


def _sounds(original: np.ndarray, reconstruction: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    check_rate(sample_rate)
    original, reconstruction = _pair(original, reconstruction)
    if original.ndim != 1:
        raise ValueError(f"sound of shape {original.shape} must be (S,)")
    return original, reconstruction


def _figure(width: float, height: float) -> "Figure":
    # A figure without pyplot draws by Agg and leaves matplotlib's global state alone.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, facecolor=_PAPER, layout="constrained")


def _dress(axes: "Axes", title: str, label: str) -> None:
    axes.set_title(title, color=_INK, fontsize=10, loc="left")
    axes.set_ylabel(label, color=_FAINT, fontsize=9)
    axes.tick_params(colors=_FAINT, labelsize=8)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_LINE)


def _image(figure: "Figure") -> Image.Image:
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    with Image.open(target) as picture:
        return picture.convert("RGB")
