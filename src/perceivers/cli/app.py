"""The commands. Each body only collects what was asked; the work is imported when it starts."""

from pathlib import Path
from typing import Annotated

import typer

from perceivers import __version__
from perceivers.cli.bench import EXAMPLES as BENCH_EXAMPLES
from perceivers.cli.bench import bench
from perceivers.cli.bulk import EXAMPLES as BULK_EXAMPLES
from perceivers.cli.bulk import bulk
from perceivers.cli.convert import EXAMPLES as CONVERT_EXAMPLES
from perceivers.cli.convert import convert
from perceivers.cli.errors import Commands
from perceivers.cli.evaluate import EXAMPLES as EVALUATE_EXAMPLES
from perceivers.cli.evaluate import evaluate
from perceivers.cli.export import EXAMPLES as EXPORT_EXAMPLES
from perceivers.cli.export import export
from perceivers.cli.options import Json, Plugins, examples
from perceivers.cli.plan import EXAMPLES as PLAN_EXAMPLES
from perceivers.cli.plan import plan
from perceivers.cli.plugins import import_plugins
from perceivers.cli.predict import EXAMPLES as PREDICT_EXAMPLES
from perceivers.cli.predict import predict
from perceivers.cli.push import EXAMPLES as PUSH_EXAMPLES
from perceivers.cli.push import push
from perceivers.cli.train import EXAMPLES as TRAIN_EXAMPLES
from perceivers.cli.train import train
from perceivers.cli.web import EXAMPLES as WEB_EXAMPLES
from perceivers.cli.web import web

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


app.command(epilog=PLAN_EXAMPLES)(plan)
app.command(epilog=TRAIN_EXAMPLES)(train)
app.command(epilog=EVALUATE_EXAMPLES)(evaluate)
app.command(epilog=PREDICT_EXAMPLES)(predict)
app.command(epilog=BULK_EXAMPLES)(bulk)
app.command(epilog=CONVERT_EXAMPLES)(convert)
app.command(epilog=PUSH_EXAMPLES)(push)
app.command(epilog=EXPORT_EXAMPLES)(export)
app.command(epilog=BENCH_EXAMPLES)(bench)
app.command("app", epilog=WEB_EXAMPLES)(web)


@app.command(epilog=examples("perceivers demo", "perceivers demo --quick --output my-demo"))
def demo(
    output: Annotated[Path, typer.Option(help="Folder for what the demo makes.")] = Path("demo"),
    quick: Annotated[bool, typer.Option("--quick", help="A shorter run with a poorer score.")] = False,
) -> None:
    """Train, score and use a small model on data that is already here."""
    from perceivers.cli.demo import run_demo

    run_demo(output, quick)
