"""Fenced code blocks of Markdown, with where they stand, and what of them is a command and what it prints."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]

SHELL = ("", "bash", "console")
LANGUAGES = (*SHELL, "python", "json", "yaml", "text")
# The one way to leave a block out: a comment directly before it, with the reason.
_SKIP = re.compile(r"<!-- not run: (.+) -->")
_FENCE = re.compile(r"^( *)(`{3,}) *([\w+-]*)(.*)$")
_PROMPT = "$ "
# What ends a command on a line of the shell.
_ENDS = {";": ";", "&&": ";", "|": "|"}


@dataclass(frozen=True)
class Block:
    """One block.

    Args:
        path: The page.
        line: Line of its fence, counted from 1.
        language: What stands behind the fence.
        text: What it holds, without the indentation of its fence.
        skipped: Why it is not run; `None` for all that are.
    """

    path: Path
    line: int
    language: str
    text: str
    skipped: str | None = None

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path}:{self.line}"


@dataclass
class Command:
    """One command of a shell block.

    Args:
        line: Its line, counted from 1 in its page.
        stages: What pipes join, as words.
        output: What the block shows that it prints; `None` when it shows nothing.
    """

    line: int
    stages: list[list[str]]
    output: str | None = field(default=None)


def pages() -> list[Path]:
    """Return all pages whose blocks are run."""
    tops = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "notebooks/README.md")]
    return [*tops, *sorted((ROOT / "docs").rglob("*.md"))]


def read_blocks(path: Path) -> list[Block]:
    """Return the blocks of a page.

    Raises:
        ValueError: A fence is never closed.
    """
    return list(_blocks(path, path.read_text(encoding="utf-8").split("\n")))


def _blocks(path: Path, lines: Sequence[str]) -> Iterator[Block]:
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        number += 1
        if fence is None:
            continue
        indent, ticks, language = fence.group(1), fence.group(2), fence.group(3)
        start, held = number, []
        while number < len(lines) and lines[number].strip() != ticks:
            held.append(lines[number].removeprefix(indent))
            number += 1
        if number == len(lines):
            raise ValueError(f"{path}:{start}: the block is never closed")
        number += 1
        before = _SKIP.search(lines[start - 2]) if start > 1 else None
        yield Block(path, start, language, "\n".join(held), before.group(1) if before else None)


def commands(block: Block) -> list[Command]:
    """Return the commands of a shell block: lines after a prompt, or all lines where there is no prompt.

    Raises:
        ValueError: A line cannot be read as a command.
    """
    with_prompt = any(line.startswith(_PROMPT) for line in block.text.split("\n"))
    if block.language == "console" and not with_prompt:
        raise ValueError(f"{block.place}: a console block has commands after '{_PROMPT}'; others are bash")
    found: list[Command] = []
    number, lines = 0, block.text.split("\n")
    while number < len(lines):
        line, start = lines[number], number
        number += 1
        if with_prompt and not line.startswith(_PROMPT):
            if not found:
                raise ValueError(f"{block.place}: output before the first command: {line!r}")
            found[-1].output = line if found[-1].output is None else f"{found[-1].output}\n{line}"
            continue
        line = line.removeprefix(_PROMPT)
        while line.endswith("\\"):
            line = line[:-1] + lines[number].strip()
            number += 1
        found += _split(line, block.line + 1 + start)
    return found


def _split(line: str, number: int) -> list[Command]:
    words = shlex.shlex(line, posix=True, punctuation_chars=";&|>")
    words.whitespace_split, words.commenters = True, "#"
    found: list[list[list[str]]] = [[[]]]
    for word in words:
        end = _ENDS.get(word)
        if end == ";":
            found.append([[]])
        elif end == "|":
            found[-1].append([])
        else:
            found[-1][-1].append(word)
    return [Command(number, stages) for stages in found if stages != [[]]]
