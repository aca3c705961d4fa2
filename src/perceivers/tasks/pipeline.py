"""Raw input to answer in one call, in the form of the Hugging Face pipelines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from perceivers.model import PerceiverIO
from perceivers.pretrained.folder import load_folder, save_folder
from perceivers.tasks.base import TASKS, Result, Task, task_from_json


class Pipeline:
    """A task with a trained model.

    Args:
        task: The task.
        model: The model; put in evaluation mode.
    """

    def __init__(self, task: Task[Any], model: PerceiverIO) -> None:
        self.task = task
        self.model = model.eval()

    def __call__(self, inputs: Any, *, top_k: int = 5) -> Any:
        """Answer one input, or a list of them.

        Args:
            inputs: A path, text, image or array; or a list, tuple or column of a data set of such.
            top_k: How many candidates to return.

        Returns:
            A list of `{"label" or "token_str", "score", ...}`, the best first; for several inputs
            a list of such lists.

        Raises:
            ValueError: An input cannot be read, or `top_k` is not positive.
        """
        if top_k < 1:
            raise ValueError(f"top_k ({top_k}) must be at least 1")
        if isinstance(inputs, Sequence) and not isinstance(inputs, str | bytes):
            return self.predict(inputs, top_k=top_k)
        return self.predict([inputs], top_k=top_k)[0]

    def predict(self, inputs: Sequence[Any], *, top_k: int = 5) -> list[Result]:
        """Answer a list of inputs."""
        return self.task.predict(self.model, inputs, top_k=top_k)

    def picture(self, value: Any, *, top_k: int = 5) -> Image.Image:
        """Draw one input with its answer."""
        return self.task.picture(value, self(value, top_k=top_k))

    def save(self, folder: str | Path) -> None:
        """Write model and task to `folder`."""
        save_folder(self.model, folder, self.task.to_json())


def pipeline(task: str | None = None, model: str | Path | None = None, *, device: str = "cpu") -> Pipeline:
    """Return the pipeline of a saved model.

    Args:
        task: Name of the task, e.g. "image-classification"; `None` takes the one the model was trained for.
        model: Folder of the model.
        device: Where to run it, e.g. "cpu" or "cuda".

    Raises:
        ValueError: No model was named, it was trained for another task, or the task is unknown.
    """
    if task is not None:
        TASKS[task]
    if model is None:
        raise ValueError("name a model: the folder of one that was trained or saved here")
    loaded, saved_task = load_folder(model)
    if saved_task is None:
        raise ValueError(f"'{model}' was saved without a task; save it with Pipeline.save or train it")
    fitted = task_from_json(saved_task, loaded.config)
    if task is not None and fitted.name != task:
        raise ValueError(f"'{model}' was trained for '{fitted.name}', not '{task}'")
    return Pipeline(fitted, loaded.to(torch.device(device)))
