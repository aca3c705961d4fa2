"""Opening a saved model on a device."""

from pathlib import Path

import torch

from perceivers.tasks.pipeline import Pipeline, pipeline


def open_model(folder: Path, task: str | None, device: str) -> Pipeline:
    """Return the pipeline of a saved model.

    Raises:
        ValueError: There is no such model or device, or the model was trained for another task.
    """
    try:
        torch.empty((), device=device)
    except (RuntimeError, AssertionError) as error:
        # What torch raises for devices that are unknown or absent; its first line says it.
        raise ValueError(f"device '{device}' cannot be used: {str(error).splitlines()[0]}") from error
    return pipeline(task, folder, device=device)
