"""A tiny image classifier, its data and its runs: what the training tests share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perceivers.config import override
from perceivers.model import PerceiverConfig
from perceivers.pretrained.load import seeded_model
from perceivers.tasks import TASKS, Task
from perceivers.train import TrainConfig, Trainer
from perceivers.zoo import ZOO

# Fields that make any of the zoo's small models tiny.
TINY = {
    "encoder.num_latents": 4,
    "encoder.latent_channels": 16,
    "encoder.num_blocks": 1,
    "encoder.num_cross_attends": 1,
    "encoder.num_layers_per_block": 1,
    "encoder.num_self_heads": 2,
}


def tiny_config(changes: Mapping[str, Any] | None = None) -> PerceiverConfig:
    """Return a tiny classifier of 8x8 grey images."""
    queries = {"queries.num_channels": 16, "decoder.num_heads": 2}
    return override(ZOO["digits-small"].config, {**TINY, **queries, **(changes or {})})


def image_rows(count: int, *, seed: int = 0, num_classes: int = 3) -> list[dict[str, Any]]:
    """Return noise whose brightness tells the class."""
    noise = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        label = i % num_classes
        image = noise.integers(0, 100, (8, 8, 1)) + 60 * label
        rows.append({"image": image.astype(np.uint8), "label": label})
    return rows


def image_task(settings: Mapping[str, Any] | None = None, changes: Mapping[str, Any] | None = None) -> Task[Any]:
    """Return image classification on three classes; `changes` go to the model's config."""
    return TASKS["image-classification"].fit(tiny_config(changes), ("dark", "grey", "bright"), settings or {})


def box_trainer(folder: Path, config: TrainConfig) -> Trainer:
    """Return a trainer of the tiny finder of boxes, without what depends on the other images of a batch."""
    example, rows = TASKS["object-detection"].example()
    task = type(example)(example.settings, override(example.config, {"inputs.use_batch_norm": False}))
    model = seeded_model(task.config, config.seed)
    return Trainer(task, model, [*rows] * 4, rows, config, folder, show_progress=False)


def tiny_trainer(
    folder: Path, config: TrainConfig, task: Task[Any] | None = None, *, train_rows: int = 24, eval_rows: int = 9
) -> Trainer:
    """Return a trainer of the tiny classifier."""
    task = task or image_task()
    model = seeded_model(task.config, config.seed)
    data = image_rows(train_rows), image_rows(eval_rows, seed=1)
    return Trainer(task, model, *data, config, folder, show_progress=False)
