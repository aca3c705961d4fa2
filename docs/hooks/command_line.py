"""Writes the page of the command line from the commands' own help, each time the site is built."""

import re
from html import escape
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from perceivers.cli.app import app

PAGE = "reference/command-line.md"

_HEAD = """# Command line

`perceivers COMMAND --help` prints the same. The page is made from the commands themselves when the site is built.
Results go to stdout, everything else to stderr; a mistake is one line and exit code 2, inputs that could not be read
are exit code 1, and `perceivers --debug COMMAND` shows the traceback.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page to those of the site."""
    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """Return the page in Markdown."""
    group: Any = typer.main.get_command(app)
    sections = [_section(name, command) for name, command in group.commands.items()]
    return "\n".join([_HEAD, *sections])


def _section(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join(["perceivers", name, *command.collect_usage_pieces(context)])
    lines = [f"## {name}", "", _text(command.help), "", "```text", usage, "```", ""]
    # Panels as in the terminal; arguments come first.
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:
            panel = "Arguments" if parameter.param_type_name == "argument" else parameter.rich_help_panel or "Options"
            panels.setdefault(panel, []).append(record)
    for panel, records in panels.items():
        lines += [f"| {panel.lower()} | |", "|---|---|"]
        lines += [f"| {_code(declared)} | {_text(help_text)} |" for declared, help_text in records]
        lines.append("")
    examples = [line.replace("\\[", "[") for line in (command.epilog or "").split("\n\n")[1:]]
    if examples:
        lines += ["```bash", *examples, "```", ""]
    return "\n".join(lines)


def _code(declared: str) -> str:
    # A bar would end the cell, also within backticks.
    return f"<code>{escape(declared).replace('|', '&#124;')}</code>"


def _text(help_text: str | None) -> str:
    """Return help for the terminal as Markdown: angle brackets would be tags."""
    text = re.sub(r"\s+", " ", help_text or "").strip()
    parts = text.split("`")
    parts[::2] = [escape(part, quote=False).replace("|", "&#124;").replace("*", "\\*") for part in parts[::2]]
    return "`".join(parts)
