"""Options that several commands share."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer


class NumericsChoice(str, Enum):
    """Whose way of computing a model follows."""

    original = "original"
    transformers = "transformers"


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
DataOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--data-option",
        metavar="OPTION=VALUE",
        help="Option of a generated data set, e.g. num_test=20; may be repeated.",
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Use only so many examples of each split.")]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, help="Examples a batch; does not change the answers. As the task has it when not given."),
]
Device = Annotated[str, typer.Option(help="Where to run: cpu, cuda, cuda:1, mps.")]
Precision = Annotated[
    str, typer.Option(help="Number format: float32; bf16 or fp16 for the latents' layers; int8 for rounded weights.")
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="What asking for very many outputs may take on top of model, input and answer, e.g. 500MB; does not "
        "change the answers.",
    ),
]
Model = Annotated[
    str,
    typer.Argument(
        metavar="TASK|MODEL",
        help="A task, for its released model; or a model: folder, checkpoint file, name of the zoo, repository.",
        show_default=False,
    ),
]
Source = Annotated[
    str,
    typer.Argument(
        metavar="SRC",
        help="Folder of a model (saved here, or by transformers), checkpoint file of the original, released model, "
        "or owner/name on the Hub.",
        show_default=False,
    ),
]
OtherModel = Annotated[
    str | None, typer.Option("--model", metavar="MODEL", help="Another model than the released one of the task.")
]
TaskName = Annotated[str | None, typer.Option("--task", help="Refuse a model that was trained for another task.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SETTING=VALUE", help="Change a setting of the task, e.g. even_tiles=true."),
]
Numerics = Annotated[
    NumericsChoice | None,
    typer.Option(
        "--numerics", help="For weights in transformers' layout: compute as the original of the weights, or as it."
    ),
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a repository of the Hub.")]


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


def values(texts: list[str] | None, option: str) -> dict[str, Any]:
    """Split texts of the form `name=value` and read the values as YAML.

    Raises:
        ValueError: A text has another form, or a value is no YAML.
    """
    from perceivers.train.recipe import parse_yaml

    return {name: parse_yaml(text, f"{option} {name}") for name, text in pairs(texts, option).items()}
