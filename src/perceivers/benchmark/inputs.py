"""Prepared inputs: what a task's `collate` gives, made at random."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from perceivers.adapters.label import LabelOutputConfig
from perceivers.benchmark.cases import Case
from perceivers.processing.text import ByteTokenizer
from perceivers.tasks import TASKS
from perceivers.tasks.base import Task
from perceivers.tasks.fill_mask import FillMask
from perceivers.tasks.filling import read_question
from perceivers.tasks.image_classification import ImageClassification
from perceivers.tasks.optical_flow import OpticalFlow
from perceivers.tasks.text_classification import TextClassification
from perceivers.tasks.video_autoencoding import VideoAutoencoding
from perceivers.zoo import ZOO

Batch = dict[str, Tensor]


def task_of(case: Case) -> Task[Any]:
    """Return the task, fitted to the model as `perceivers.pipeline` does it."""
    config, spec = case.config, ZOO[case.model]
    outputs = config.outputs
    labels = tuple(map(str, range(outputs.num_classes))) if isinstance(outputs, LabelOutputConfig) else None
    settings = spec.settings if spec.task == case.task else {}
    return TASKS[case.task].fit(config, labels, dict(settings))


def example(case: Case, task: Task[Any]) -> tuple[Batch, Tensor | None]:
    """Return a batch, and which outputs are wanted of it; `None` for all.

    Raises:
        ValueError: The task is none that is measured.
    """
    if case.task not in _EXAMPLES:
        raise ValueError(f"task '{case.task}' is not measured; choices = {list(_EXAMPLES)}")
    generator = torch.Generator().manual_seed(case.seed)
    return _EXAMPLES[case.task](case, task, generator)


def _bytes(generator: torch.Generator, *shape: int, low: int = 0) -> Tensor:
    return torch.randint(low, low + 256, shape, generator=generator)


def _images(case: Case, task: Any, generator: torch.Generator) -> tuple[Batch, None]:
    assert isinstance(task, ImageClassification)
    images = _bytes(generator, case.batch_size, *task.image_size, task.channels).to(torch.uint8)
    labels = torch.randint(len(task.labels), (case.batch_size,), generator=generator)
    return {"image": images, "label": labels}, None


def _frames(case: Case, task: Any, generator: torch.Generator) -> tuple[Batch, None]:
    assert isinstance(task, OpticalFlow)
    return {"frames": _bytes(generator, case.batch_size, 2, *task.tile, task.channels).to(torch.uint8)}, None


def _clip(case: Case, task: Any, generator: torch.Generator) -> tuple[Batch, None]:
    assert isinstance(task, VideoAutoencoding)
    form = task.form
    video = _bytes(generator, case.batch_size, form.num_frames, *form.size, 3).to(torch.uint8)
    assert form.num_samples is not None
    audio = torch.rand(case.batch_size, form.num_samples, generator=generator) * 2 - 1
    return {"video": video, "audio": audio}, None


def _text(case: Case, task: Any, generator: torch.Generator) -> tuple[Batch, Tensor | None]:
    assert isinstance(task, FillMask)
    if not case.text:
        ids = _bytes(generator, case.batch_size, case.length or task.max_length, low=task.tokenizer.num_special)
        return {"input_ids": ids, "keep_mask": torch.ones_like(ids, dtype=torch.bool)}, None
    question = read_question({"text": case.text, "hide": case.hide})
    where = torch.cat([torch.arange(start, stop) for start, stop in question.spans])
    return task.collate([{"input_ids": question.ids}]), where[None]


def _labelled_text(case: Case, task: Any, generator: torch.Generator) -> tuple[Batch, None]:
    assert isinstance(task, TextClassification)
    ids = _bytes(generator, case.batch_size, case.length or task.max_length, low=ByteTokenizer.num_special)
    labels = torch.randint(len(task.labels), (case.batch_size,), generator=generator)
    return {"input_ids": ids, "keep_mask": torch.ones_like(ids, dtype=torch.bool), "label": labels}, None


_EXAMPLES: dict[str, Callable[[Case, Any, torch.Generator], tuple[Batch, Tensor | None]]] = {
    "image-classification": _images,
    "optical-flow": _frames,
    "video-autoencoding": _clip,
    "fill-mask": _text,
    "text-classification": _labelled_text,
}
