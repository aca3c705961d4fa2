"""The measurement as a picture: ratios, memory, and how both grow."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from perceivers.benchmark.cases import GROWTH
from perceivers.benchmark.machine import Machine
from perceivers.benchmark.measure import Row
from perceivers.processing.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PAPER, _INK, _FAINT, _LINE = "#ffffff", "#1f2430", "#6b7280", "#d7dae0"
_OURS = "#1f5fbf"
_PEERS = ("#e07b39", "#5a9e6f", "#9467bd")
ENDINGS = (".png", ".svg", ".pdf")


def write_plot(path: str | Path, rows: Sequence[Row], machine: Machine) -> None:
    """Draw what was measured.

    Args:
        path: A .png, .svg or .pdf file; its folder is made when absent.
        rows: The rows; those without figures are left out.
        machine: Named below the title.

    Raises:
        ValueError: The ending is another, or there is nothing to draw.
    """
    path = Path(path)
    check_ending(path)
    plain = [row for row in rows if row.size is None and row.ours_seconds is not None]
    curves = [name for name in GROWTH if any(row.workload == name and row.ours_seconds for row in rows)]
    if not plain and not curves:
        raise ValueError("nothing was measured, so there is nothing to draw")
    figure = _figure(plain, curves)
    parts = figure.subfigures(
        2 if plain and curves else 1,
        1,
        squeeze=False,
        height_ratios=[_bars_height(plain), _CURVES_HEIGHT] if plain and curves else None,
    )
    colours = _colours(rows)
    if plain:
        _draw_bars(parts[0, 0], plain, colours, machine)
    if curves:
        _draw_curves(parts[-1, 0], curves, rows, colours)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        figure.savefig(partial, facecolor=_PAPER)


def check_ending(path: Path) -> None:
    """Refuse a picture in a format that is not drawn.

    Raises:
        ValueError: Names the ending.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"plot '{path}' must end in one of {list(ENDINGS)}")


_CURVES_HEIGHT = 5.6


def _bars_height(plain: Sequence[Row]) -> float:
    return 1.6 + 0.42 * len(plain)


def _figure(plain: Sequence[Row], curves: Sequence[str]) -> "Figure":
    # A figure without pyplot leaves matplotlib's global state alone.
    from matplotlib.figure import Figure

    height = (_bars_height(plain) if plain else 0) + (_CURVES_HEIGHT if curves else 0)
    return Figure(figsize=(11, height), dpi=150, facecolor=_PAPER, layout="constrained")


def _colours(rows: Sequence[Row]) -> dict[str, str]:
    """Return a colour for each peer, in the order in which they occur."""
    peers = dict.fromkeys(row.peer for row in rows if row.peer is not None)
    return {peer: _PEERS[i % len(_PEERS)] for i, peer in enumerate(peers)}


def _draw_bars(figure: "Figure", rows: Sequence[Row], colours: dict[str, str], machine: Machine) -> None:
    ratios, memory = figure.subplots(1, 2, sharey=True, width_ratios=[1.25, 1])
    several = len(colours) > 1
    names = [f"{row.workload} / {row.peer}" if several and row.peer else row.workload for row in rows]
    places = [float(len(rows) - i) for i in range(len(rows))]
    for row, place in zip(rows, places, strict=True):
        if row.ratio_median is not None and row.ratio_min is not None and row.ratio_max is not None:
            whiskers = [[row.ratio_median - row.ratio_min], [row.ratio_max - row.ratio_median]]
            ratios.barh(place, row.ratio_median - 1, left=1, height=0.62, color=colours[row.peer or ""])
            if row.pairs > 1:
                ratios.errorbar(row.ratio_median, place, xerr=whiskers, color=_INK, capsize=2.5, linewidth=1)
            text = f"{row.ratio_median:.3g}\N{MULTIPLICATION SIGN}"
            ratios.annotate(
                text, (max(row.ratio_max, 1), place), (6, 0), textcoords="offset points", va="center", fontsize=9
            )
        for extra, offset, colour in (
            (row.ours_extra_mib, 0.17, _OURS),
            (row.peer_extra_mib, -0.17, colours.get(row.peer or "", _FAINT)),
        ):
            if extra is not None and isfinite(extra):
                memory.barh(place + offset, max(extra, 1), height=0.31, color=colour)
                text = f"{extra:,.0f}"
                memory.annotate(
                    text, (max(extra, 1), place + offset), (4, 0), textcoords="offset points", va="center", fontsize=8
                )
    ratios.set_yticks(places, names)
    _dress(ratios, "Time: how many times as long the peer takes", "to the right of 1, perceivers is faster")
    _dress(memory, "Memory that a run adds, MiB", "shorter is better")
    highest = max((row.ratio_max or 1 for row in rows), default=1)
    lowest = min((row.ratio_min or 1 for row in rows), default=1)
    if highest > 8:
        ratios.set_xscale("log")
        _plain_ticks(ratios, (0.5, 1, 2, 5, 10, 20, 50, 100))
    ratios.set_xlim(min(lowest, 1) * 0.6 if highest > 8 else 0, highest * (1.6 if highest > 8 else 1.15))
    ratios.axvline(1, color=_INK, linewidth=1, linestyle=(0, (3, 2)))
    memory.set_xscale("log")
    _plain_ticks(memory, (1, 10, 100, 1000, 10000))
    memory.set_xlim(right=memory.get_xlim()[1] * 3)
    _legend(figure, colours)
    figure.suptitle(" \N{MIDDLE DOT} ".join(machine.lines()[:2]), fontsize=8.5, color=_FAINT)


def _draw_curves(figure: "Figure", curves: Sequence[str], rows: Sequence[Row], colours: dict[str, str]) -> None:
    grid = figure.subplots(2, len(curves), squeeze=False)
    for column, name in enumerate(curves):
        of_curve = [row for row in rows if row.workload == name and row.size is not None]
        for i, (kind, title) in enumerate((("seconds", "seconds"), ("extra_mib", "MiB that a run adds"))):
            axes: Axes = grid[i, column]
            _line(axes, of_curve, f"ours_{kind}", _OURS)
            for peer, colour in colours.items():
                _line(axes, [row for row in of_curve if row.peer == peer], f"peer_{kind}", colour)
            axes.set_xscale("log")
            axes.set_yscale("log")
            _dress(axes, f"{name}: {title}", f"number of {name}")
    _legend(figure, colours)


def _line(axes: "Axes", rows: Sequence[Row], field: str, colour: str) -> None:
    values: dict[int, float] = {}
    for row in rows:
        value = getattr(row, field)
        if row.size is not None and value is not None and isfinite(value):
            values[row.size] = max(value, 1e-4)
    axes.plot(list(values), list(values.values()), marker="o", markersize=4, linewidth=1.8, color=colour)


def _dress(axes: "Axes", title: str, label: str) -> None:
    axes.set_title(title, color=_INK, fontsize=10.5, loc="left")
    axes.set_xlabel(label, color=_FAINT, fontsize=8.5)
    axes.tick_params(colors=_INK, labelsize=9, length=0, which="both")
    axes.grid(axis="x" if axes.patches else "both", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_LINE)


def _plain_ticks(axes: "Axes", values: Sequence[int | float]) -> None:
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_xticks([], minor=True)


def _legend(figure: "Figure", colours: dict[str, str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=_OURS, label="perceivers"), *(Patch(color=c, label=name) for name, c in colours.items())]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9, labelcolor=_INK
    )
