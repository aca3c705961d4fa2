"""`perceivers predict`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from perceivers.cli.options import (
    BatchSize,
    Device,
    Model,
    Numerics,
    OtherModel,
    Plugins,
    Revision,
    Settings,
    TaskName,
    examples,
    pairs,
)

# What stands in the place of a task: the latents of any model.
FEATURES = "features"

EXAMPLES = examples(
    "perceivers predict image-classification photo.jpg --model image-learned",
    'perceivers predict fill-mask "It was the best of times." --with hide=best',
    "perceivers predict optical-flow frame1.png frame2.png --output flow/",
    "perceivers predict video-autoencoding clip.mp4 --output clip/ --set max_windows=4",
    "perceivers predict features photos/ --model image-fourier --output features.parquet",
    "perceivers predict runs/eurosat photos/ --json --picture answers/ --attention maps/",
    "cat messages.txt | perceivers predict runs/sms-spam - --json",
)


def predict(
    model: Model,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", help="Files, folders, or text; - reads stdin, one input a line.", show_default=False
        ),
    ],
    other_model: OtherModel = None,
    task: TaskName = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many candidates to print.")] = 5,
    with_: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME=VALUE",
            help="What goes beside each input, e.g. hide=word or spans=[[4,7]] (bytes) for fill-mask.",
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw each input with its answer, as PNG.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE", help="Write all files of each answer; features also into one .npy or .parquet file."
        ),
    ] = None,
    attention: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw where in each input its answer comes from.")
    ] = None,
    pool: Annotated[
        bool, typer.Option("--pool", help="Features: the mean over latents and pieces, one vector an input.")
    ] = False,
    set_: Settings = None,
    numerics: Numerics = None,
    revision: Revision = None,
    batch_size: BatchSize = None,
    device: Device = "cpu",
    plugin: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line an input, as they come.")] = False,
) -> None:
    """Answer inputs with a trained model, or write their features."""
    from perceivers.cli.answers import PredictRequest, predict_model
    from perceivers.cli.features import FeaturesRequest, write_features
    from perceivers.cli.models import ModelRequest
    from perceivers.cli.plugins import import_plugins

    import_plugins(plugin or [])
    features = model == FEATURES
    if features and other_model is None:
        raise ValueError("features are those of a model: name it with --model")
    which = ModelRequest(
        name=other_model if features and other_model is not None else model,
        model=None if features else other_model,
        task=task,
        settings=pairs(set_, "--set"),
        numerics=numerics.value if numerics else None,
        revision=revision,
        device=device,
    )
    beside = pairs(with_, "--with")
    if features:
        refused = [name for name, value in (("--picture", picture), ("--attention", attention)) if value is not None]
        if refused:
            raise ValueError(f"features have no {' and no '.join(refused)}")
        unreadable = write_features(
            FeaturesRequest(
                model=which,
                inputs=tuple(inputs),
                beside=beside,
                output=output,
                pool=pool,
                batch_size=batch_size,
                as_json=as_json,
            )
        )
    elif pool:
        raise ValueError("--pool is for features: perceivers predict features INPUT... --model MODEL")
    else:
        unreadable = predict_model(
            PredictRequest(
                model=which,
                inputs=tuple(inputs),
                beside=beside,
                top_k=top_k,
                picture=picture,
                output=output,
                attention=attention,
                batch_size=batch_size,
                as_json=as_json,
            )
        )
    if unreadable:
        raise typer.Exit(1)
