"""The commands. Each body only collects what was asked; the work is imported when it starts."""

from pathlib import Path
from typing import Annotated

import typer

from perceivers import __version__
from perceivers.cli.convert import EXAMPLES as CONVERT_EXAMPLES
from perceivers.cli.convert import convert
from perceivers.cli.errors import Commands
from perceivers.cli.options import BatchSize, Columns, Device, Json, Limit, Model, Plugins, examples, pairs
from perceivers.cli.plugins import import_plugins
from perceivers.cli.train import EXAMPLES as TRAIN_EXAMPLES
from perceivers.cli.train import train

app = typer.Typer(
    cls=Commands,
    name="perceivers",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line."""
    app()


def _version(wanted: bool) -> bool:
    if wanted:
        print(f"perceivers {__version__}")
        raise typer.Exit
    return wanted


@app.callback(
    epilog=examples(
        "perceivers demo",
        "perceivers train image-classification --data photos/",
        "perceivers evaluate runs/image-classification --data photos/",
        "perceivers predict runs/image-classification cat.jpg",
    )
)
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; stands before the command.")] = False,
) -> None:
    """Perceiver and Perceiver IO: any input, any output, one model."""


@app.command(epilog=examples("perceivers models", "perceivers models --json"))
def models(as_json: Json = False, plugin: Plugins = None) -> None:
    """List the models of the zoo."""
    from perceivers.cli.listing import list_models

    import_plugins(plugin or [])
    list_models(as_json=as_json)


@app.command(epilog=examples("perceivers tasks", "perceivers tasks --json"))
def tasks(as_json: Json = False, plugin: Plugins = None) -> None:
    """List the tasks: the columns that data must have, and how they are scored."""
    from perceivers.cli.listing import list_tasks

    import_plugins(plugin or [])
    list_tasks(as_json=as_json)


app.command(epilog=TRAIN_EXAMPLES)(train)
app.command(epilog=CONVERT_EXAMPLES)(convert)


@app.command(
    epilog=examples(
        "perceivers evaluate runs/digits --data digits",
        "perceivers evaluate runs/reviews --data reviews.csv --split test --column text=review --json",
    )
)
def evaluate(
    model: Model,
    data: Annotated[str, typer.Option(metavar="SOURCE", help="Where the data comes from.", show_default=False)],
    data_subset: Annotated[str | None, typer.Option(help="Subset of the data set.")] = None,
    split: Annotated[str | None, typer.Option(help="Split to score on; the evaluation split when not given.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Score every example, for data that the model was not trained on.")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SETTING=VALUE", help="Change a setting of the task, e.g. masking=bytes."),
    ] = None,
    column: Columns = None,
    batch_size: BatchSize = 32,
    limit: Limit = None,
    device: Device = "cpu",
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Score a trained model on data."""
    from perceivers.cli.scores import evaluate_model

    import_plugins(plugin or [])
    changes = {"subset": data_subset, "eval_split": split, "limit": limit}
    evaluate_model(
        model,
        {
            "source": data,
            "columns": pairs(column, "--column"),
            **{name: value for name, value in changes.items() if value is not None},
        },
        settings=pairs(set_, "--set"),
        everything=everything,
        batch_size=batch_size,
        device=device,
        as_json=as_json,
    )


@app.command(
    epilog=examples(
        "perceivers predict runs/eurosat field.jpg forest.jpg",
        "perceivers predict runs/eurosat photos/ --json --picture answers/",
        'perceivers predict runs/books "It was the [MASK:4] of times." --top-k 3',
        "cat messages.txt | perceivers predict runs/sms-spam - --json",
    )
)
def predict(
    model: Model,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", help="Files, folders, or text; - reads stdin, one input a line.", show_default=False
        ),
    ],
    task: Annotated[str | None, typer.Option(help="Refuse a model that was trained for another task.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many candidates to print.")] = 5,
    picture: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw each input with its answer, as PNG.")
    ] = None,
    batch_size: BatchSize = 32,
    device: Device = "cpu",
    plugin: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line an input, as they come.")] = False,
) -> None:
    """Answer inputs with a trained model."""
    from perceivers.cli.answers import PredictRequest, predict_model

    import_plugins(plugin or [])
    unreadable = predict_model(
        PredictRequest(
            model=model,
            inputs=tuple(inputs),
            task=task,
            top_k=top_k,
            picture=picture,
            batch_size=batch_size,
            device=device,
            as_json=as_json,
        )
    )
    if unreadable:
        raise typer.Exit(1)


@app.command(epilog=examples("perceivers demo", "perceivers demo --quick --output my-demo"))
def demo(
    output: Annotated[Path, typer.Option(help="Folder for what the demo makes.")] = Path("demo"),
    quick: Annotated[bool, typer.Option("--quick", help="A shorter run with a poorer score.")] = False,
) -> None:
    """Train, score and use a small model on data that is already here."""
    from perceivers.cli.demo import run_demo

    run_demo(output, quick)
