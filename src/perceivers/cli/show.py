"""What the commands print: tables for people, JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text


def err() -> Console:
    """Return the console on stderr; made when it is needed, so that it writes to today's stderr."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def out() -> Console:
    """Return the console on stdout."""
    return Console(highlight=False, soft_wrap=True)


def error_line(message: str) -> None:
    """Print one red line on stderr."""
    line = " ".join(message.split())
    err().print(Text.assemble(("error: ", "bold red"), (line, "red")))


def json_line(value: Any, *, indent: int | None = None) -> None:
    """Print `value` as JSON on stdout, at once."""
    print(json.dumps(value, indent=indent, ensure_ascii=False), flush=True)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), whole: bool = False
) -> None:
    """Print rows on stdout.

    Args:
        columns: Heads of the columns.
        rows: One text a column.
        right: The columns that are set flush right.
        whole: Let lines be longer than the terminal is wide, rather than shorten what stands in them.
    """
    grid = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        # Only the last column is prose that may break into lines; the others stay whole while there is room.
        grid.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column != columns[-1],
        )
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False)
    if whole:
        wide = console.options.update(max_width=10_000)
        console = Console(highlight=False, width=max(console.width, Measurement.get(console, wide, grid).maximum))
    console.print(grid)


def amount(number: int | float, unit: str = "") -> str:
    """Return a large number in steps of a thousand, with four digits, e.g. "48.44 M" or "406.1 GFLOP"."""
    for step, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= step:
            return f"{number / step:.4g} {letter}{unit}"
    return f"{number:.0f} {unit}".rstrip()


def memory(num_bytes: int) -> str:
    """Return an amount of memory, e.g. "255.6 MiB"."""
    for step, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if num_bytes >= step:
            return f"{num_bytes / step:.1f} {unit}"
    return f"{num_bytes:.0f} B"


def shape_text(shape: Sequence[int]) -> str:
    """Return sizes as they are read, e.g. "368 x 496 x 2"."""
    return " x ".join(map(str, shape))


def score_table(metrics: Mapping[str, float], score: str) -> None:
    """Print metrics on stdout, the one that decides first and marked."""
    names = sorted(metrics, key=lambda name: name != score)
    table(
        ["metric", "value", ""],
        [[name, f"{metrics[name]:.4f}", "<- score" if name == score else ""] for name in names],
        right=["value"],
    )


def repeated_scores(
    runs: Mapping[str, Mapping[str, float]], mean: Mapping[str, float], deviation: Mapping[str, float], score: str
) -> None:
    """Print the metrics of several runs on stdout, the one that decides first, and their mean and deviation."""
    names = sorted(mean, key=lambda name: name != score)
    rows = [[run, *(f"{metrics[name]:.4f}" for name in names)] for run, metrics in runs.items()]
    total = ["mean ± deviation", *(f"{mean[name]:.4f} ± {deviation[name]:.4f}" for name in names)]
    table(["run", *names], [*rows, total], right=names)


def answer(name: str, lines: Sequence[str]) -> None:
    """Print lines on what was found for the input called `name` on stdout, at once, below its name: it may be long."""
    below = "\n".join(f"  {line}" for line in lines)
    out().print(Text.assemble((name, "bold"), "\n", below))


def result_lines(result: Sequence[Any]) -> str:
    """Return the answers to one input, one a line: its first text, and its score when it has one.

    Of a named entity its words are shown too.

    Text with white space at its ends, or line ends in it, is quoted, so that it can be seen. Answers to several
    questions stand under one another; of an answer without a score its single values are shown by name.
    """
    lines: list[str] = []
    for entry in result:
        if not isinstance(entry, Mapping):
            lines += [*([""] if lines else []), result_lines(entry)]
        elif isinstance(entry.get("score"), float):
            score = entry["score"]
            # What a percentage would round to nothing still has an order.
            number = f"{score:7.2%}" if score >= 5e-5 else f"{100 * score:6.0e}%"
            lines.append("  ".join([number, _shown(_first_text(entry)), *_places(entry)]))
        elif any(isinstance(value, str) for value in entry.values()):
            lines.append(_shown(_first_text(entry)))
        else:
            lines += _values(entry)
    return "\n".join(lines)


def _first_text(entry: Mapping[str, Any]) -> str:
    if "entity_group" in entry:
        return f"{entry['entity_group']}  {entry['word']}"
    return next((value for value in entry.values() if isinstance(value, str)), "")


def _places(entry: Mapping[str, Any]) -> list[str]:
    """Return where an answer lies, such as the sides of a box by name."""
    return [
        " ".join(f"{name} {number}" for name, number in value.items())
        for value in entry.values()
        if isinstance(value, Mapping)
    ]


def _shown(text: str) -> str:
    if text != text.strip() or len(text.splitlines()) > 1:
        return json.dumps(text, ensure_ascii=False)
    return text


def _values(entry: Mapping[str, Any]) -> list[str]:
    """Return the values of an answer by name: numbers as they are, lists of candidates and of texts below."""
    lines = [f"{name} {value}" for name, value in entry.items() if not isinstance(value, list | Mapping)]
    for value in entry.values():
        if isinstance(value, list) and all(isinstance(item, Mapping) and "score" in item for item in value):
            lines.append(result_lines(value))
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            # Long notes break into lines; the mark says where each begins.
            lines += [f"- {text}" for text in value]
    return lines
