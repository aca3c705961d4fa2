"""The pictures of what the shipped models answer, each drawn once for light and once for dark pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Num, UInt8
from numpy.typing import NDArray
from PIL import Image

from perceivers.cli.pictures import Palette, as_png, bare, cells, colours, dress, entitle, new_figure
from perceivers.processing.video_pictures import spectrogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of a spectrogram: samples of a window, and the level that is drawn as nothing, in dB.
_WINDOW, _FLOOR = 256, -80.0
# Of differences between frames: values are in [0, 1], and half of that is as dark as it gets.
_MOST_DIFFERENCE = 0.5


@dataclass(frozen=True, kw_only=True)
class Blank:
    """A hidden word and what the model puts in its place.

    Args:
        before: What stands right before it.
        after: What stands right after it.
        truth: The word itself.
        candidates: Fillings with their probabilities, the best first.
    """

    before: str
    after: str
    truth: str
    candidates: Sequence[tuple[str, float]]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture of a row.

    Args:
        title: What is seen.
        image: The picture, (H, W, 3); or numbers that are drawn as heat, (H, W).
        top: The number that is drawn as much, for numbers.
        unit: What the numbers are in, for numbers.
    """

    title: str
    image: Num[np.ndarray, "H W *C"]
    top: float = 1.0
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A sound with the model's answer.

    Args:
        wave: Samples, (S,).
        sample_rate: Samples a second.
        prediction: The model's label.
        confidence: Its probability.
        truth: The true label.
    """

    wave: Float32[np.ndarray, " S"]
    sample_rate: int
    prediction: str
    confidence: float
    truth: str


def word_bars(blanks: Sequence[Blank], palette: Palette, *, columns: int = 2) -> bytes:
    """Draw the candidates of each hidden word as bars, the true word in a colour of its own."""
    rows = -(-len(blanks) // columns)
    figure = new_figure(4.8 * columns, 1.75 * rows, palette)
    for axes, blank in zip(cells(figure, len(blanks), columns), blanks, strict=True):
        words, shares = zip(*blank.candidates, strict=True)
        hues = [palette.good if word == blank.truth else palette.accent for word in words]
        places = range(len(words))
        axes.barh(places, shares, color=hues, height=0.7)
        # White space at its ends would not be seen.
        axes.set_yticks(places, [word if word == word.strip() else repr(word) for word in words])
        axes.invert_yaxis()
        axes.set_xlim(0, max(shares) * 1.25)
        for place, share in zip(places, shares, strict=True):
            axes.text(share, place, f" {100 * share:.2g}%", va="center", fontsize=8, color=palette.faint)
        dress(axes, f"…{blank.before}____{blank.after}…", "", "", palette)
        axes.set_title(axes.get_title(loc="left"), loc="left", fontsize=9, color=palette.ink, fontweight="normal")
        axes.tick_params(axis="y", labelsize=10, colors=palette.ink, length=0)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_xlabel(f"hidden: {blank.truth}", color=palette.faint, fontsize=8)
    return as_png(figure)


def panels(rows: Sequence[Sequence[Panel]], palette: Palette) -> bytes:
    """Draw rows of pictures, each under its title; each row as high as its pictures want."""
    columns = max(len(row) for row in rows)
    width = 2.9
    heights = [width * max(panel.image.shape[0] / panel.image.shape[1] for panel in row) for row in rows]
    figure = new_figure(width * columns, sum(heights) + 0.35 * len(rows), palette)
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for line, row in zip(grid, rows, strict=True):
        for axes in line[len(row) :]:
            axes.set_axis_off()
        for axes, panel in zip(line, row, strict=False):
            _show(axes, panel, palette)
    return as_png(figure)


def clip_rows(
    before: UInt8[np.ndarray, "T H W 3"],
    after: UInt8[np.ndarray, "T H W 3"],
    sounds: tuple[Float32[np.ndarray, " S"], Float32[np.ndarray, " S"]],
    seconds: float,
    palette: Palette,
) -> bytes:
    """Draw the frames of a clip, those that came back, where they differ, and both waves below.

    Args:
        before: The frames.
        after: Those that came back.
        sounds: The samples, and those that came back.
        seconds: How long it lasts.
        palette: Colours.
    """
    count = len(before)
    figure = new_figure(1.15 * count + 0.6, 5.2, palette)
    layout = figure.add_gridspec(5, count, height_ratios=(1, 1, 1, 0.7, 0.7))
    apart = np.abs(before.astype(np.float32) - after.astype(np.float32)).mean(axis=-1) / 255
    rows: list[tuple[str, Sequence[NDArray[np.generic]]]] = [
        ("clip", list(before)),
        ("came back", list(after)),
        ("difference", list(apart)),
    ]
    for row, (name, frames) in enumerate(rows):
        for column, frame in enumerate(frames):
            axes = figure.add_subplot(layout[row, column])
            _show(axes, Panel(title="", image=frame, top=_MOST_DIFFERENCE), palette)
            if row == 0:
                axes.set_title(f"{column / count * seconds:.2f} s", color=palette.faint, fontsize=8)
            if column == 0:
                axes.set_ylabel(name, color=palette.ink, fontsize=9)
    times = np.arange(len(sounds[0])) / len(sounds[0]) * seconds
    for row, name, sound, hue in ((3, "sound", sounds[0], palette.faint), (4, "came back", sounds[1], palette.accent)):
        axes = figure.add_subplot(layout[row, :])
        axes.plot(times, sound, color=hue, linewidth=0.7)
        dress(axes, "", "seconds" if row == 4 else "", name, palette)
        axes.set_xlim(0, seconds)
        axes.set_ylim(-1, 1)
        axes.set_yticks([])
    return as_png(figure)


def sound_gallery(heard: Sequence[Heard], palette: Palette, *, columns: int = 5) -> bytes:
    """Draw the spectrogram of each sound with its answer, right and wrong ones marked by colour, frame and sign."""
    rows = -(-len(heard) // columns)
    figure = new_figure(1.9 * columns, 1.95 * rows, palette)
    for axes, one in zip(cells(figure, len(heard), columns), heard, strict=True):
        colour = entitle(axes, one.prediction, one.truth, palette, most=24)
        level = spectrogram(one.wave, _WINDOW)
        axes.imshow(level, origin="lower", aspect="auto", cmap=colours(palette.heat), vmin=_FLOOR, vmax=level.max())
        bare(axes, colour, 1.5)
        length = len(one.wave) / one.sample_rate
        axes.set_xlabel(f"{one.confidence:.1%}, {length:.2f} s", color=palette.faint, fontsize=8)
    return as_png(figure)


def as_rgb(picture: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    """Return a picture as an array."""
    return np.asarray(picture.convert("RGB"))


def _show(axes: "Axes", panel: Panel, palette: Palette) -> None:
    if panel.image.ndim == 3:
        axes.imshow(panel.image)
    else:
        drawn = axes.imshow(panel.image, cmap=colours(palette.heat), vmin=0, vmax=panel.top)
        if panel.unit:
            bar = axes.figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.02)
            bar.set_label(panel.unit, color=palette.faint, fontsize=8)
            bar.ax.tick_params(colors=palette.faint, labelsize=8)
            bar.outline.set_edgecolor(palette.line)  # pyright: ignore[reportCallIssue]
    bare(axes, palette.line)
    if panel.title:
        axes.set_title(panel.title, color=palette.ink, fontsize=9, loc="left")
