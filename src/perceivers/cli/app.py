"""All commands and their options. Each body only collects what was asked; the work is imported when it starts."""

from pathlib import Path
from typing import Annotated

import typer

from perceivers import __version__
from perceivers.cli.errors import Commands
from perceivers.cli.values import data_changes, given, set_changes

app = typer.Typer(
    cls=Commands,
    name="perceivers",
    help="Perceiver and Perceiver IO: any input, any output, one model.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: [bold]perceivers demo[/bold]",
)

_TRAINING, _DATA, _RUN = "Training", "Data", "Run"

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout; all else goes to stderr.")]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="Python file that defines modalities, tasks or models; may be repeated."),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column", metavar="ROLE=COLUMN", help="Which column plays a role; may be repeated.", rich_help_panel=_DATA
    ),
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Use only so many examples of each split.", rich_help_panel=_DATA)
]
Device = Annotated[str, typer.Option(help="Where to run: cpu, cuda, cuda:1, mps.")]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a trained model.", show_default=False)]


def _examples(*lines: str) -> str:
    # Typer joins the lines of a paragraph, so each example is one of its own.
    return "\n\n".join(["[bold]Examples[/bold]", *(line.replace("[", "\\[") for line in lines)])


def _version(wanted: bool) -> None:
    if wanted:
        print(f"perceivers {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
) -> None:
    """Take the options that stand before the command."""


@app.command(epilog=_examples("perceivers models", "perceivers models --json"))
def models(as_json: Json = False, plugin: Plugins = None) -> None:
    """List the models of the zoo."""
    from perceivers.cli.listing import list_models
    from perceivers.cli.plugins import import_plugins

    import_plugins(plugin or [])
    list_models(as_json=as_json)


@app.command(epilog=_examples("perceivers tasks", "perceivers tasks --json"))
def tasks(as_json: Json = False, plugin: Plugins = None) -> None:
    """List the tasks: the columns that their data must have, and how they are scored."""
    from perceivers.cli.listing import list_tasks
    from perceivers.cli.plugins import import_plugins

    import_plugins(plugin or [])
    list_tasks(as_json=as_json)


@app.command(
    epilog=_examples(
        "perceivers train image-classification --data photos/ --epochs 20",
        "perceivers train text-classification --data reviews.csv --column text=review --column label=stars",
        "perceivers train --recipe digits",
        "perceivers train --recipe eurosat --data data/eurosat --set settings.augment.mixup=0.2",
        "perceivers train --recipe digits --output runs/digits --resume",
        "perceivers train my-task --plugin my_task.py --data my.csv",
    )
)
def train(
    task: Annotated[str | None, typer.Argument(metavar="[TASK]", help="See `perceivers tasks`.")] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Start from a recipe; all other options change it.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|FOLDER", help="Zoo name for fresh weights, or a trained model to go on from."),
    ] = None,
    plugin: Plugins = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Any field of the recipe, e.g. train.optimizer.eps=1e-6."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Folder, file, Hub data set or built-in source.", rich_help_panel=_DATA),
    ] = None,
    data_subset: Annotated[str | None, typer.Option(help="Subset of the data set.", rich_help_panel=_DATA)] = None,
    train_split: Annotated[str | None, typer.Option(help="Split to train on.", rich_help_panel=_DATA)] = None,
    eval_split: Annotated[str | None, typer.Option(help="Split to score on.", rich_help_panel=_DATA)] = None,
    column: Columns = None,
    limit: Limit = None,
    epochs: Annotated[float | None, typer.Option(min=0, help="Passes.", rich_help_panel=_TRAINING)] = None,
    max_steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps, instead of passes.", rich_help_panel=_TRAINING)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Examples a step.", rich_help_panel=_TRAINING)
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Its peak.", rich_help_panel=_TRAINING)] = None,
    optimizer: Annotated[
        str | None, typer.Option(metavar="adamw|lamb", help="Optimiser.", rich_help_panel=_TRAINING)
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="constant, linear, cosine, constant_cosine or inverse_sqrt.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of weights, order and chance.", rich_help_panel=_TRAINING)
    ] = None,
    mixed_precision: Annotated[
        str | None, typer.Option(metavar="no|bf16|fp16", help="Number format.", rich_help_panel=_TRAINING)
    ] = None,
    tracker: Annotated[
        str | None,
        typer.Option(metavar="none|tensorboard|wandb|trackio", help="Where curves go.", rich_help_panel=_RUN),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the run.  [dim]\\[default: runs/NAME]", rich_help_panel=_RUN)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint.", rich_help_panel=_RUN)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an older run.", rich_help_panel=_RUN)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress bar, only the result.", rich_help_panel=_RUN)
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model on a task, from your data or a recipe."""
    from perceivers.cli.plugins import import_plugins
    from perceivers.cli.training import TrainRequest, train_model

    changes = given(
        {
            "task": task,
            "model": model,
            **data_changes(data, data_subset, train_split, eval_split, limit),
            "train.epochs": epochs,
            "train.max_steps": max_steps,
            "train.batch_size": batch_size,
            "train.optimizer.learning_rate": learning_rate,
            "train.optimizer.name": optimizer,
            "train.schedule.name": schedule,
            "train.seed": seed,
            "train.mixed_precision": mixed_precision,
            "train.tracker": tracker,
        }
    )
    import_plugins(plugin or [])
    train_model(
        TrainRequest(
            recipe=recipe,
            changes={**changes, **set_changes(set_ or [])},
            columns=pairs(column or [], "--column"),
            output=output,
            resume=resume,
            overwrite=overwrite,
            quiet=quiet,
            as_json=as_json,
            plugins=tuple(plugin or ()),
        )
    )
