"""`perceivers evaluate`: its options."""

from typing import Annotated

import typer

from perceivers.cli.options import (
    BatchSize,
    Columns,
    DataOptions,
    Device,
    Json,
    Limit,
    Model,
    Numerics,
    OtherModel,
    Plugins,
    Revision,
    Settings,
    examples,
    pairs,
    values,
)

EXAMPLES = examples(
    "perceivers evaluate runs/digits --data digits",
    "perceivers evaluate runs/reviews --data reviews.csv --split test --column text=review --json",
    "perceivers evaluate optical-flow --data sintel/ --set even_tiles=true",
)


def evaluate(
    model: Model,
    data: Annotated[str, typer.Option(metavar="SOURCE", help="Where the data comes from.", show_default=False)],
    other_model: OtherModel = None,
    data_subset: Annotated[str | None, typer.Option(help="Subset of the data set.")] = None,
    split: Annotated[str | None, typer.Option(help="Split to score on; the evaluation split when not given.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Score every example, for data that the model was not trained on.")
    ] = False,
    set_: Settings = None,
    numerics: Numerics = None,
    revision: Revision = None,
    column: Columns = None,
    data_option: DataOptions = None,
    batch_size: BatchSize = None,
    limit: Limit = None,
    device: Device = "cpu",
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Score a trained model on data."""
    from perceivers.cli.models import ModelRequest
    from perceivers.cli.plugins import import_plugins
    from perceivers.cli.scores import evaluate_model

    import_plugins(plugin or [])
    changes = {"subset": data_subset, "eval_split": split, "limit": limit}
    evaluate_model(
        ModelRequest(
            name=model,
            model=other_model,
            settings=pairs(set_, "--set"),
            numerics=numerics.value if numerics else None,
            revision=revision,
            device=device,
        ),
        {
            "source": data,
            "columns": pairs(column, "--column"),
            "options": values(data_option, "--data-option"),
            **{name: value for name, value in changes.items() if value is not None},
        },
        everything=everything,
        batch_size=batch_size,
        as_json=as_json,
    )
