"""`perceivers train`: its options, as changes to a recipe."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from perceivers.cli.options import Columns, DataOptions, Json, Limit, Plugins, examples, pairs, values

_DATA, _TRAINING, _RUN = "Data", "Training", "Run"

EXAMPLES = examples(
    "perceivers train image-classification --data photos/ --epochs 20",
    "perceivers train text-classification --data reviews.csv --column text=review --column label=stars",
    "perceivers train --recipe digits",
    "perceivers train --recipe eurosat --data eurosat/ --set settings.augment.mixup=0.2",
    "perceivers train text-classification --model deepmind/language-perceiver --data imdb --trainable lora",
    "perceivers train --output runs/digits --resume",
    "perceivers train my-task --plugin my_task.py --data my.csv",
)

TaskName = Annotated[
    str | None, typer.Argument(metavar="[TASK]", help="Name of a task; `perceivers tasks` lists them.")
]
RecipeName = Annotated[
    str | None, typer.Option(metavar="NAME|FILE", help="Recipe to start from; every other option changes it.")
]
ModelName = Annotated[
    str | None,
    typer.Option(metavar="NAME|FOLDER", help="Zoo name for fresh weights, or a trained model to go on from."),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change any field, e.g. overrides.encoder.num_latents=64."),
]
Source = Annotated[str | None, typer.Option(metavar="SOURCE", help="Where the data comes from.", rich_help_panel=_DATA)]
Subset = Annotated[str | None, typer.Option(help="Subset of the data set.", rich_help_panel=_DATA)]
TrainSplit = Annotated[str | None, typer.Option(help="Split to train on.", rich_help_panel=_DATA)]
EvalSplit = Annotated[str | None, typer.Option(help="Split to score on.", rich_help_panel=_DATA)]
EvalData = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE", help="Where the data to score on comes from, when elsewhere.", rich_help_panel=_DATA
    ),
]
Streaming = Annotated[
    bool | None,
    typer.Option(
        "--streaming/--no-streaming",
        help="Never hold the training split: for data larger than memory.",
        rich_help_panel=_DATA,
        show_default=False,
    ),
]
Epochs = Annotated[float | None, typer.Option(min=0, help="Passes over the training split.", rich_help_panel=_TRAINING)]
MaxSteps = Annotated[
    int | None, typer.Option(min=1, help="Optimiser steps, instead of passes.", rich_help_panel=_TRAINING)
]
StepSize = Annotated[int | None, typer.Option(min=1, help="Examples an optimiser step.", rich_help_panel=_TRAINING)]
LearningRate = Annotated[float | None, typer.Option(help="Peak learning rate.", rich_help_panel=_TRAINING)]
Optimizer = Annotated[str | None, typer.Option(metavar="adamw|lamb|muon", help="Optimiser.", rich_help_panel=_TRAINING)]
Schedule = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="constant, linear, cosine, constant_cosine or inverse_sqrt.", rich_help_panel=_TRAINING
    ),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of weights, order and chance.", rich_help_panel=_TRAINING)]
Seeds = Annotated[
    int | None,
    typer.Option(min=2, help="Train so many times, a seed each; mean and deviation.", rich_help_panel=_RUN),
]
Folds = Annotated[
    int | None,
    typer.Option(
        min=2, help="Train so many times, each time another part held out of the training split.", rich_help_panel=_RUN
    ),
]
Precision = Annotated[
    str | None, typer.Option(metavar="no|bf16|fp16", help="Number format.", rich_help_panel=_TRAINING)
]
Checkpointing = Annotated[
    bool | None,
    typer.Option(
        "--activation-checkpointing/--no-activation-checkpointing",
        help="Far less memory for about a third more time.",
        rich_help_panel=_TRAINING,
        show_default=False,
    ),
]
TrainableOption = Annotated[
    str | None,
    typer.Option(
        metavar="all|decoder|outputs|lora",
        help="Which weights move: over a frozen encoder, or with matrices of low rank beside it.",
        rich_help_panel=_TRAINING,
    ),
]
LayerDecay = Annotated[
    float | None,
    typer.Option(help="Each layer learns so many times as fast as the one above.", rich_help_panel=_TRAINING),
]
Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        help="Compile the latents' layers first, with torch.compile.",
        rich_help_panel=_TRAINING,
        show_default=False,
    ),
]
Fsdp = Annotated[
    bool | None,
    typer.Option(
        "--fsdp/--no-fsdp",
        help="Share weights and the optimiser's state out among processes (FSDP2).",
        rich_help_panel=_TRAINING,
        show_default=False,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="CPU threads; 1 is fastest for small models and on busy machines.", rich_help_panel=_RUN),
]
Tracker = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Where curves go: none, tensorboard, wandb, trackio.", rich_help_panel=_RUN),
]
Output = Annotated[Path | None, typer.Option(help="Folder of the run; runs/NAME when not given.", rich_help_panel=_RUN)]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the newest checkpoint in the folder.", rich_help_panel=_RUN)
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.", rich_help_panel=_RUN)]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print the result only.", rich_help_panel=_RUN)]


# Longer than other functions: Typer makes an option of each parameter.
def train(
    task: TaskName = None,
    recipe: RecipeName = None,
    model: ModelName = None,
    set_: Changes = None,
    plugin: Plugins = None,
    as_json: Json = False,
    data: Source = None,
    data_subset: Subset = None,
    train_split: TrainSplit = None,
    eval_split: EvalSplit = None,
    eval_data: EvalData = None,
    data_option: DataOptions = None,
    column: Columns = None,
    limit: Limit = None,
    streaming: Streaming = None,
    epochs: Epochs = None,
    max_steps: MaxSteps = None,
    batch_size: StepSize = None,
    learning_rate: LearningRate = None,
    optimizer: Optimizer = None,
    schedule: Schedule = None,
    trainable: TrainableOption = None,
    layer_decay: LayerDecay = None,
    seed: Seed = None,
    mixed_precision: Precision = None,
    activation_checkpointing: Checkpointing = None,
    compile_: Compile = None,
    fsdp: Fsdp = None,
    seeds: Seeds = None,
    folds: Folds = None,
    output: Output = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    tracker: Tracker = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Train a model on a task, from your own data or from a recipe."""
    from perceivers.cli.plugins import import_plugins
    from perceivers.cli.runs import TrainRequest, train_model

    options: dict[str, Any] = {
        "task": task,
        "model": model,
        "data.source": data,
        "data.subset": data_subset,
        "data.train_split": train_split,
        "data.eval_split": eval_split if eval_data is None else None,
        "data.evaluation": None if eval_data is None else {"source": eval_data, "eval_split": eval_split},
        "data.limit": limit,
        "data.streaming": streaming,
        "train.epochs": epochs,
        "train.max_steps": max_steps,
        "train.batch_size": batch_size,
        "train.optimizer.learning_rate": learning_rate,
        "train.optimizer.name": optimizer,
        "train.optimizer.layer_decay": layer_decay,
        "train.schedule.name": schedule,
        "train.trainable": trainable,
        "train.seed": seed,
        "train.mixed_precision": mixed_precision,
        "train.activation_checkpointing": activation_checkpointing,
        "train.compile": compile_,
        "train.fsdp": fsdp,
        "train.tracker": tracker,
        "train.num_threads": threads,
    }
    import_plugins(plugin or [])
    train_model(
        TrainRequest(
            recipe=recipe,
            changes=_changes(options),
            sets=pairs(set_, "--set"),
            columns=pairs(column, "--column"),
            data_options=values(data_option, "--data-option"),
            seeds=seeds,
            folds=folds,
            output=output,
            resume=resume,
            overwrite=overwrite,
            quiet=quiet,
            as_json=as_json,
            plugins=tuple(plugin or ()),
        )
    )


def _changes(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that were asked for; `none` is a tracker that a recipe writes as null."""
    changes = {path: value for path, value in options.items() if value is not None}
    if "train.epochs" in changes and "train.max_steps" not in changes:
        # A recipe's number of steps would win over the passes that were asked for.
        changes["train.max_steps"] = None
    if changes.get("train.tracker") == "none":
        changes["train.tracker"] = None
    return changes
