"""What the commands print: tables for people, JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
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


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print rows on stdout.

    Args:
        columns: Heads of the columns.
        rows: One text a column.
        right: The columns that are set flush right.
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
    Console(highlight=False).print(grid)


def score_table(metrics: Mapping[str, float], score: str) -> None:
    """Print metrics on stdout, the one that decides first and marked."""
    names = sorted(metrics, key=lambda name: name != score)
    table(
        ["metric", "value", ""],
        [[name, f"{metrics[name]:.4f}", "<- score" if name == score else ""] for name in names],
        right=["value"],
    )


def result_lines(result: Sequence[Mapping[str, Any]]) -> str:
    """Return the answers to one input, one a line: its first text, and its score when it has one.

    Text with white space at its ends, or line ends in it, is quoted, so that it can be seen.
    """
    lines: list[str] = []
    for entry in result:
        texts = [value for value in entry.values() if isinstance(value, str)]
        text = texts[0] if texts else json.dumps(dict(entry), ensure_ascii=False, default=str)
        if text != text.strip() or len(text.splitlines()) > 1:
            text = json.dumps(text, ensure_ascii=False)
        score = entry.get("score")
        lines.append(f"{score:7.2%}  {text}" if isinstance(score, float) else text)
    return "\n".join(lines)
