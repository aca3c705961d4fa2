"""The measurement in words: a table for people, Markdown for documents, JSON for programs."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from perceivers.benchmark.machine import Machine
from perceivers.benchmark.measure import Row
from perceivers.processing.files import write_whole

COLUMNS = (
    "workload",
    "peer",
    "peer / ours",
    "of pairs",
    "our time",
    "its time",
    "our MiB",
    "its MiB",
    "error",
    "GFLOP",
    "of peak",
)
LEGEND = (
    "peer / ours: how many times as long the peer takes, median [least..most] of the pairs; MiB: what the runs added "
    "to the process's memory (its peak as a whole); error: the largest of ours against float64, relative to the root "
    "mean square; GFLOP: of the model as it is written; of peak: these in our time, as a share of what matrix products "
    "reach here."
)


def cells(row: Row) -> list[str]:
    """Return one text a column."""
    ratio = "" if row.ratio_median is None else f"{_short(row.ratio_median)} {_range(row)}"
    return [
        row.title,
        row.peer or "",
        ratio if not row.error or ratio else "failed",
        str(row.pairs) if row.pairs else "",
        _seconds(row.ours_seconds),
        _seconds(row.peer_seconds),
        _memory(row.ours_extra_mib, row.ours_mib),
        _memory(row.peer_extra_mib, row.peer_mib),
        "" if row.max_relative_error is None else f"{row.max_relative_error:.1e}",
        "" if row.gflop is None else f"{row.gflop:,.0f}",
        "" if row.peak_share is None else f"{row.peak_share:.0%}",
    ]


def notes(rows: Sequence[Row]) -> list[str]:
    """Return what the figures stand for and what went wrong, a line each; growth curves once."""
    found: dict[str, None] = {}
    for row in rows:
        name = row.title if row.error or row.size is None else row.workload
        if row.note:
            found[f"{row.workload}: {row.note}"] = None
        if row.error:
            found[f"{name}: failed: {row.error}"] = None
    return list(found)


def write_json(path: str | Path, rows: Sequence[Row]) -> None:
    """Write the rows as a list of objects; numbers that are none become null."""
    text = json.dumps([_plain(row.to_json()) for row in rows], indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(path, text + "\n")


def write_markdown(path: str | Path, rows: Sequence[Row], machine: Machine) -> None:
    """Write the table as Markdown, with the machine above it and notes below."""
    lines = [f"{' '.join(f'{line}.' for line in machine.lines())}", ""]
    lines += [_markdown_line(COLUMNS), _markdown_line(["---", "---", *["--:"] * (len(COLUMNS) - 2)])]
    lines += [_markdown_line([cell.replace("|", "\\|") for cell in cells(row)]) for row in rows]
    lines += ["", LEGEND[0].upper() + LEGEND[1:], "", *(f"- {line}" for line in notes(rows))]
    write_whole(path, "\n".join(lines).rstrip() + "\n")


def _markdown_line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _range(row: Row) -> str:
    if row.ratio_min is None or row.ratio_max is None or row.pairs < 2:
        return ""
    return f"[{_short(row.ratio_min)}..{_short(row.ratio_max)}]"


def _short(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"


def _memory(extra: float | None, peak: float | None) -> str:
    """Return what runs added and the peak in MiB, as far as they are known."""
    if extra is None or peak is None or math.isnan(peak):
        return ""
    return f"({peak:,.0f})" if math.isnan(extra) else f"{extra:,.0f} ({peak:,.0f})"


def _plain(value: object) -> object:
    """Return a value as JSON has it, which knows no number that is none."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
