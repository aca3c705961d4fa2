"""The pictures of the demo's report, each drawn once for light and once for dark pages."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

Grey = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Palette:
    """Colours of one kind of page.

    Args:
        paper: Background.
        ink: Text and drawing.
        faint: Axes, ticks and second-rank text.
        line: Grid and frames.
        accent: The model.
        good: What is right.
        bad: What is wrong.
        heat: Stops from nothing to much.
    """

    paper: str
    ink: str
    faint: str
    line: str
    accent: str
    good: str
    bad: str
    heat: tuple[str, ...]


LIGHT = Palette(
    paper="#ffffff",
    ink="#1f2933",
    faint="#5f6c7b",
    line="#d9dee5",
    accent="#2563a8",
    good="#1f7a4d",
    bad="#c2480c",
    heat=("#ffffff", "#c6dcef", "#6aa5d4", "#2563a8", "#0b2545"),
)
DARK = Palette(
    paper="#171c23",
    ink="#e6eaf0",
    faint="#9aa7b5",
    line="#343c47",
    accent="#6fb1ee",
    good="#5fcf95",
    bad="#ff9a62",
    heat=("#171c23", "#1d3c5c", "#2f72b0", "#7fbdf2", "#f2f8ff"),
)
PALETTES = {"light": LIGHT, "dark": DARK}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One image with the model's answer.

    Args:
        image: Grey values, (H, W), drawn in the page's colours; or a picture, (H, W, 3).
        target: The true label.
        prediction: The model's label.
        confidence: The probability it gave to its answer.
        name: Caption, e.g. a file name.
    """

    image: NDArray[np.uint8]
    target: str
    prediction: str
    confidence: float
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Gaze:
    """Where the latents look in one image.

    Args:
        image: Grey values, (H, W).
        label: The true label.
        maps: Attention of each latent over the grid, (N, h, w); each sums to 1.
    """

    image: Grey
    label: str
    maps: NDArray[np.floating]


def learning_curve(history: Sequence[Mapping[str, float | int]], baseline: float, palette: Palette) -> bytes:
    """Draw training loss and held-out accuracy over steps.

    Args:
        history: What the trainer logged: `step` with `loss`, or with `eval_accuracy`.
        baseline: Accuracy of the linear baseline.
        palette: Colours.
    """
    from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter

    losses = np.array([(entry["step"], entry["loss"]) for entry in history if "loss" in entry])
    scores = np.array([(entry["step"], entry["eval_accuracy"]) for entry in history if "eval_accuracy" in entry])
    figure = new_figure(9.6, 3.5, palette)
    left, right = figure.subplots(1, 2)
    left.plot(*losses.T, color=palette.accent, alpha=0.3, linewidth=0.8, label="each step")
    left.plot(losses[:, 0], _smooth(losses[:, 1]), color=palette.accent, linewidth=2, label="running mean")
    left.set_yscale("log")
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_locator(NullLocator())
    dress(left, "Training loss", "optimiser steps", "cross-entropy (log scale)", palette)
    _legend(left, palette, "lower left")
    right.plot(*scores.T, color=palette.accent, linewidth=2, marker="o", markersize=4, label="Perceiver IO")
    right.axhline(
        baseline, color=palette.bad, linewidth=1.5, linestyle="--", label=f"logistic regression {baseline:.1%}"
    )
    right.set_ylim(min(scores[:, 1].min(), baseline) - 0.05, 1.01)
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    dress(right, f"Held-out accuracy: {scores[-1, 1]:.1%} at the end", "optimiser steps", "accuracy", palette)
    _legend(right, palette, "lower right")
    for axes in (left, right):
        axes.set_xlim(0, losses[-1, 0] * 1.02)
        axes.grid(color=palette.line, linewidth=0.7)
        axes.set_axisbelow(True)
    return as_png(figure)


def confusion_matrix(
    targets: NDArray[np.int64], predictions: NDArray[np.int64], labels: Sequence[str], palette: Palette
) -> bytes:
    """Draw how often each label was taken for each other; errors stand out in a colour of their own."""
    count = len(labels)
    counts = np.zeros((count, count), dtype=np.int64)
    np.add.at(counts, (targets, predictions), 1)
    right = np.eye(count, dtype=bool)
    figure = new_figure(5.6, 5.2, palette)
    axes = figure.subplots()
    # The root lifts single errors above the background.
    strength = 0.3 + 0.7 * np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    for hue, where in ((palette.accent, right), (palette.bad, ~right)):
        shown = np.where(where & (counts > 0), strength, np.nan)
        axes.imshow(shown, cmap=colours((palette.paper, hue)), vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(counts):
        if value:
            colour = palette.paper if strength[row, column] > 0.65 else palette.ink
            axes.text(column, row, str(value), ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(range(count), labels)
    axes.set_yticks(range(count), labels)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=palette.line, linewidth=0.7)
    axes.tick_params(which="both", length=0)
    correct, total = int(counts.trace()), int(counts.sum())
    dress(axes, f"{correct} of {total} right; errors in orange", "predicted digit", "true digit", palette)
    for spine in axes.spines.values():
        spine.set_visible(True)
    return as_png(figure)


def gallery(judged: Sequence[Judged], title: str, palette: Palette, *, columns: int = 6, side: float = 1.4) -> bytes:
    """Draw images with their predictions, right and wrong ones marked by colour, frame and sign.

    Args:
        judged: What to show.
        title: What is seen; none where it is empty.
        palette: Colours.
        columns: Images a row.
        side: Width and height of an image in inches; labels in words want more room than digits.
    """
    columns = min(columns, len(judged))
    rows = -(-len(judged) // columns)
    figure = new_figure(max(side * columns, 3.2), (side + 0.5) * rows + 0.5, palette)
    if title:
        figure.suptitle(title, color=palette.ink, fontsize=11, fontweight="bold")
    for axes, one in zip(cells(figure, len(judged), columns), judged, strict=True):
        # About 14 bold characters stand above an inch.
        colour = entitle(axes, one.prediction, one.target, palette, most=round(14 * side))
        if one.image.ndim == 2:
            _show_digit(axes, one.image, palette, colour)
        else:
            axes.imshow(one.image)
            bare(axes, colour, 1.5)
        caption = f"{one.confidence:.1%}" + (f"\n{one.name}" if one.name else "")
        axes.set_xlabel(caption, color=palette.faint, fontsize=8)
    return as_png(figure)


def attention_maps(gazes: Sequence[Gaze], palette: Palette, *, num_latents: int = 6) -> bytes:
    """Draw where the latents look: one row an image; the mean over latents, then single latents.

    The same latents are shown for all images. A value of 1 is an even share of attention.
    """
    cells = gazes[0].maps[0].size
    shares = [gaze.maps * cells for gaze in gazes]
    chosen = pick_latents(np.mean(shares, axis=0), num_latents)
    top = float(np.percentile(np.stack([share[chosen] for share in shares]), 99.5))
    columns = 2 + len(chosen)
    figure = new_figure(1.15 * columns + 0.8, 1.18 * len(gazes) + 0.45, palette)
    grid = figure.subplots(len(gazes), columns, squeeze=False)
    heat = colours(palette.heat)
    drawn = None
    for row, gaze, share in zip(grid, gazes, shares, strict=True):
        _show_digit(row[0], gaze.image, palette, palette.line)
        row[0].set_ylabel(f"digit {gaze.label}", color=palette.ink, fontsize=10)
        for axes, shown in zip(row[1:], [share.mean(axis=0), *share[chosen]], strict=True):
            height, width = gaze.image.shape
            drawn = axes.imshow(shown, cmap=heat, vmin=0, vmax=max(top, 1.0), extent=(0, width, height, 0))
            _outline(axes, gaze.image, palette)
            bare(axes, palette.line)
    heads = ["input", f"mean of {len(gazes[0].maps)}", *(f"latent {index}" for index in chosen)]
    for axes, head in zip(grid[0], heads, strict=True):
        axes.set_title(head, color=palette.ink, fontsize=9)
    assert drawn is not None
    bar = figure.colorbar(drawn, ax=grid, fraction=0.02, pad=0.015)
    bar.set_label("attention (1 = even share)", color=palette.faint, fontsize=8)
    bar.ax.tick_params(colors=palette.faint, labelsize=8)
    bar.outline.set_edgecolor(palette.line)  # pyright: ignore[reportCallIssue]
    return as_png(figure)


def pick_latents(maps: NDArray[np.floating], count: int) -> list[int]:
    """Choose latents that look at different places: the most focused one, then always the most different.

    Args:
        maps: One map a latent, (N, h, w).
        count: How many.
    """
    flat = maps.reshape(len(maps), -1)
    chosen = [int(flat.max(axis=1).argmax())]
    while len(chosen) < min(count, len(flat)):
        distances = np.linalg.norm(flat[:, None] - flat[chosen], axis=-1).min(axis=1)
        distances[chosen] = -1.0
        chosen.append(int(distances.argmax()))
    return chosen


def new_figure(width: float, height: float, palette: Palette) -> "Figure":
    """Return an empty figure, of a size in inches, that lays itself out."""
    # A figure without pyplot draws by Agg and leaves matplotlib's global state alone.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, facecolor=palette.paper, layout="constrained")


def cells(figure: "Figure", count: int, columns: int) -> list["Axes"]:
    """Divide a figure into rows of as many cells, and return the first `count`; nothing is drawn in the others."""
    grid = figure.subplots(-(-count // columns), columns, squeeze=False)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    return list(grid.flat[:count])


def entitle(axes: "Axes", prediction: str, target: str, palette: Palette, most: int) -> str:
    """Write an answer above a picture, with a sign that tells whether it is right, and the truth where it is not.

    Args:
        axes: The picture.
        prediction: The answer.
        target: The truth.
        palette: Colours.
        most: Characters that have room in a line.

    Returns:
        The colour of what is right or wrong.
    """
    correct = prediction == target
    colour = palette.good if correct else palette.bad
    title = f"\u2713 {prediction}" if correct else f"\u2717 {prediction}, is {target}"
    title = title if len(title) < most else title.replace(", ", "\n")
    axes.set_title(title, color=colour, fontsize=10, fontweight="bold")
    return colour


def as_png(figure: "Figure") -> bytes:
    """Return the figure as a PNG file that is the same each time."""
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    return target.getvalue()


def colours(stops: Sequence[str]) -> "LinearSegmentedColormap":
    """Return the colours between `stops`, from nothing to much."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("stops", list(stops))


def dress(axes: "Axes", title: str, x_label: str, y_label: str, palette: Palette) -> None:
    """Give the axes title, labels and the palette's colours."""
    axes.set_facecolor(palette.paper)
    axes.set_title(title, color=palette.ink, fontsize=11, fontweight="bold", loc="left")
    axes.set_xlabel(x_label, color=palette.faint, fontsize=9)
    axes.set_ylabel(y_label, color=palette.faint, fontsize=9)
    axes.tick_params(which="both", colors=palette.faint, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(palette.line)


def _legend(axes: "Axes", palette: Palette, place: Literal["lower left", "lower right"]) -> None:
    axes.legend(loc=place, fontsize=8, facecolor=palette.paper, edgecolor=palette.line, labelcolor=palette.ink)


def bare(axes: "Axes", frame: str, width: float = 1.0) -> None:
    """Leave a frame and nothing else."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(frame)
        spine.set_linewidth(width)


def _show_digit(axes: "Axes", image: Grey, palette: Palette, frame: str) -> None:
    axes.imshow(image, cmap=colours((palette.paper, palette.ink)), vmin=0, vmax=255, interpolation="nearest")
    bare(axes, frame, 1.5)


def _outline(axes: "Axes", image: Grey, palette: Palette) -> None:
    """Draw the border of the pixels that carry ink."""
    from matplotlib.collections import LineCollection

    inked = np.pad(image > 127, 1)
    level = [((x - 1, y), (x, y)) for y, x in np.argwhere(inked[1:, :] != inked[:-1, :])]
    upright = [((x, y - 1), (x, y)) for y, x in np.argwhere(inked[:, 1:] != inked[:, :-1])]
    axes.add_collection(LineCollection([*level, *upright], colors=palette.bad, linewidths=0.9))


def _smooth(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the mean over a window around each step, a twentieth of the run wide."""
    reach = max(len(values) // 40, 1)
    sums = np.cumsum(np.concatenate([[0.0], values]))
    steps = np.arange(len(values))
    starts, ends = np.maximum(steps - reach, 0), np.minimum(steps + reach + 1, len(values))
    return (sums[ends] - sums[starts]) / (ends - starts)
