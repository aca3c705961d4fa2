"""`perceivers predict`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from perceivers.cli.options import (
    BatchSize,
    Device,
    Memory,
    Model,
    Numerics,
    OtherModel,
    Plugins,
    Precision,
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


Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...", help="Files, folders, or text; - reads stdin, one input a line.", show_default=False
    ),
]
TopK = Annotated[int, typer.Option(min=1, help="How many candidates to print.")]
Beside = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="NAME=VALUE",
        help="What goes beside each input, e.g. hide=word or spans=[[4,7]] (bytes) for fill-mask.",
    ),
]
Picture = Annotated[Path | None, typer.Option(metavar="DIR", help="Draw each input with its answer, as PNG.")]
Output = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR|FILE", help="Write all files of each answer; features also into one .npy or .parquet file."
    ),
]
Attention = Annotated[Path | None, typer.Option(metavar="DIR", help="Draw where in each input its answer comes from.")]
Pool = Annotated[bool, typer.Option("--pool", help="Features: the mean over latents and pieces, one vector an input.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON line an input, as they come.")]


def predict(
    model: Model,
    inputs: Inputs,
    other_model: OtherModel = None,
    task: TaskName = None,
    top_k: TopK = 5,
    with_: Beside = None,
    picture: Picture = None,
    output: Output = None,
    attention: Attention = None,
    pool: Pool = False,
    set_: Settings = None,
    numerics: Numerics = None,
    revision: Revision = None,
    batch_size: BatchSize = None,
    device: Device = "cpu",
    memory: Memory = None,
    precision: Precision = "float32",
    plugin: Plugins = None,
    as_json: JsonLines = False,
) -> None:
    """Answer inputs with a trained model, or write their features."""
    from perceivers.cli.answers import PredictRequest, predict_model
    from perceivers.cli.features import write_features
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
        memory=memory,
        precision=precision,
    )
    answer = write_features if features else predict_model
    unreadable = answer(
        PredictRequest(
            model=which,
            inputs=tuple(inputs),
            beside=pairs(with_, "--with"),
            top_k=top_k,
            picture=picture,
            output=output,
            attention=attention,
            pool=pool,
            batch_size=batch_size,
            as_json=as_json,
        )
    )
    if unreadable:
        raise typer.Exit(1)
