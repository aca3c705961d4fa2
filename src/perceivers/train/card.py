"""Model cards: what a trained model is, what it scores and how it came about, beside its weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from huggingface_hub import EvalResult, ModelCardData

from perceivers.model import PerceiverIO
from perceivers.processing.files import write_whole
from perceivers.tasks.base import Task
from perceivers.train.config import TrainConfig

CARD_FILE = "README.md"
_LIBRARY = "library_name: perceivers"
# Tasks that the Hub knows by the same name.
_HUB_TASKS = frozenset(
    {
        "audio-classification",
        "fill-mask",
        "image-classification",
        "object-detection",
        "question-answering",
        "text-classification",
        "token-classification",
    }
)


@dataclass(frozen=True, kw_only=True)
class About:
    """What a run knows of its data and its start.

    Args:
        data: Name of the data; of a folder or file the last part, because where it lay is nobody's business.
        sizes: Examples and labels, in words.
        held_out: Whether the evaluation split was cut off a source without splits.
        start: What the weights were at the beginning, in words.
    """

    data: str = "unnamed data"
    sizes: str = ""
    held_out: bool = False
    start: str = "random weights"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to.

    Args:
        scores: Metrics of the saved model on the evaluation split.
        steps: Optimiser steps.
        seconds: Training time.
        num_processes: Processes that trained together.
    """

    scores: Mapping[str, float]
    steps: int
    seconds: float
    num_processes: int = 1


def write_card(
    folder: Path, task: Task[object], model: PerceiverIO, config: TrainConfig, about: About, outcome: Outcome
) -> None:
    """Write the card into a model's folder, unless a file of that name there is somebody else's."""
    path = folder / CARD_FILE
    if not path.is_file() or _LIBRARY in path.read_text(encoding="utf-8", errors="replace"):
        write_whole(path, model_card(folder.resolve().name, task, model, config, about, outcome))


def model_card(
    name: str, task: Task[object], model: PerceiverIO, config: TrainConfig, about: About, outcome: Outcome
) -> str:
    """Return a card in the form of the Hub's: facts for machines, then for people.

    Args:
        name: Name of the model.
        task: What it was trained for.
        model: The model.
        config: How it was trained.
        about: Its data and start.
        outcome: What came of it.
    """
    data = ModelCardData(
        library_name="perceivers",
        pipeline_tag=task.name if task.name in _HUB_TASKS else None,
        tags=["perceiver-io", task.name],
        model_name=name,
        eval_results=[
            EvalResult(
                task_type=task.name,
                dataset_type=about.data,
                dataset_name=about.data,
                metric_type=metric,
                metric_value=round(value, 6),
            )
            for metric, value in outcome.scores.items()
        ],
    )
    size = sum(parameter.numel() for parameter in model.parameters())
    scores = "\n".join(f"| {metric} | {value:.4f} |" for metric, value in outcome.scores.items())
    cautions = "\n".join(f"- {line}" for line in _cautions(config, about))
    labels = "" if task.labels is None else f"\nLabels: {', '.join(task.labels)}.\n"
    return f"""---
{data.to_yaml().strip()}
---

# {name}

A Perceiver IO model of {size:,} parameters for {task.name}, trained with perceivers {version("perceivers")}.

## Scores

On the evaluation split of {about.data}{f" ({about.sizes})" if about.sizes else ""}:

| metric | value |
|---|---|
{scores}

{cautions}
{labels}
## Use

```python
import perceivers

answer = perceivers.pipeline(model="{name}")
```

```
perceivers predict {name} {task.input_role.upper()}
```

## Training

| | |
|---|---|
| start | {about.start} |
| trained | {_trained(config)} |
| steps | {outcome.steps:,} of {config.batch_size} examples |
| optimiser | {config.optimizer.name}, learning rate {config.optimizer.learning_rate:g}, {config.schedule.name} |
| number format | {"float32" if config.mixed_precision == "no" else config.mixed_precision} |
| seed | {config.seed} |
| time | {outcome.seconds / 60:.1f} minutes, {_machine(model, outcome.num_processes)} |

`recipe.yaml` beside the weights, where there is one, repeats it: `perceivers train --recipe recipe.yaml`.
"""


def _trained(config: TrainConfig) -> str:
    parts = {
        "all": "all weights",
        "decoder": "queries, decoder and outputs, over a frozen encoder",
        "outputs": "the outputs alone",
        "lora": f"queries, decoder and outputs, and matrices of rank {config.lora.rank} beside the encoder's weights, "
        "which are added to them here",
    }
    average = "" if config.ema_decay is None else f"; moving average of {config.ema_decay:g}"
    return parts[config.trainable] + average


def _cautions(config: TrainConfig, about: About) -> list[str]:
    """Return what makes these scores say less than they seem to."""
    lines = ["One run: another seed would give other scores."]
    if about.held_out:
        lines.append("The evaluation split was cut off the same source as the training split, at random.")
    if config.select == "best" or config.patience is not None:
        lines.append("Weights or the end of training were chosen by the evaluation split: the scores flatter.")
    return lines


def _machine(model: PerceiverIO, num_processes: int) -> str:
    device = model.encoder.latents.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    return f"{num_processes} x {name}" if num_processes > 1 else name
