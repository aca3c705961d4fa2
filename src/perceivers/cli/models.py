"""Opening a trained model on a device."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from perceivers.pretrained.hf_configs import Numerics
from perceivers.tasks import TASKS
from perceivers.tasks.pipeline import Pipeline, pipeline
from perceivers.train.recipe import parse_yaml


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """Which model, and how it is to be used.

    Args:
        name: Name of a task, which stands for its released model; or of a model: a folder, a checkpoint file, a name of
            the zoo, a repository of the Hub.
        model: The model, when `name` is that of a task and another than the released one is wanted.
        task: The task that the model must have been trained for.
        settings: Settings of the task to change, as YAML by dotted path.
        numerics: Whose way of computing.
        revision: Branch, tag or commit of a repository.
        device: Where to run.
        memory: How much asking for outputs may take; see `Pipeline`.
        precision: Number format; see `Pipeline`.
    """

    name: str
    model: str | None = None
    task: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    numerics: Numerics | None = None
    revision: str | None = None
    device: str = "cpu"
    memory: str | None = None
    precision: str = "float32"


def open_model(request: ModelRequest) -> Pipeline:
    """Return the pipeline of a trained model.

    Raises:
        ValueError: There is no such model, setting or device, or the model was trained for another task.
    """
    check_device(request.device)
    task, model = request.task, request.model
    if request.name in TASKS:
        if task not in (None, request.name):
            raise ValueError(f"'{request.name}' is the name of a task, and --task names another, '{task}'")
        task = request.name
        if model is None and TASKS[task].released_model is None:
            raise ValueError(f"'{task}' has no released model; name one with --model")
    elif model is not None:
        raise ValueError(f"'{request.name}' is no task, so it cannot have --model; tasks = {list(TASKS)}")
    else:
        model = request.name
    settings: dict[str, Any] = {path: parse_yaml(text, f"--set {path}") for path, text in request.settings.items()}
    return pipeline(
        task,
        model,
        settings=settings,
        device=request.device,
        memory=request.memory,
        precision=request.precision,
        numerics=request.numerics,
        revision=request.revision,
    )


def check_device(device: str) -> None:
    """Refuse a device that cannot be used.

    Raises:
        ValueError: Says why.
    """
    try:
        torch.empty((), device=device)
    except (RuntimeError, AssertionError) as error:
        # What torch raises for devices that are unknown or absent; its first line says it.
        raise ValueError(f"device '{device}' cannot be used: {str(error).splitlines()[0]}") from error
