"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout; all else goes to stderr.")]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin", metavar="FILE.py", help="Python file that defines modalities, tasks or models; may be repeated."
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="ROLE=COLUMN", help="Which column plays a role; may be repeated."),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Use only so many examples of each split.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Examples a batch; does not change the answers.")]
Device = Annotated[str, typer.Option(help="Where to run: cpu, cuda, cuda:1, mps.")]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a trained model.", show_default=False)]


def examples(*lines: str) -> str:
    """Return example commands as the text below a command's help."""
    # Typer joins the lines of a paragraph, so each example is a paragraph; brackets would be markup.
    return "\n\n".join(["[bold]Examples[/bold]", *(line.replace("[", "\\[") for line in lines)])


def pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """Split texts of the form `name=value`.

    Raises:
        ValueError: A text has another form.
    """
    split: dict[str, str] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ValueError(f"{option} '{text}' must have the form name=value")
        split[name] = value
    return split
