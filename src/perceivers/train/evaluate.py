"""Scores of a model on a data set."""

from typing import Any

import torch
from torch.utils.data import DataLoader, Subset

from perceivers.model import PerceiverIO
from perceivers.tasks.base import Metrics, Rows, Task, to_device


@torch.no_grad()
def evaluate(
    task: Task[Any],
    model: PerceiverIO,
    rows: Rows,
    *,
    batch_size: int = 32,
    rank: int = 0,
    world_size: int = 1,
) -> dict[str, float]:
    """Return the task's metrics over all of `rows`, each row counted once; one that counted nothing is left out.

    Args:
        task: The task.
        model: The model; left in the mode it came in.
        rows: The data.
        batch_size: Examples a batch; does not change the scores.
        rank: This process; torchmetrics joins what all processes counted.
        world_size: Number of processes.

    Raises:
        ValueError: There are no examples.
    """
    dataset = task.dataset(rows, training=False)
    size = len(dataset)  # pyright: ignore[reportArgumentType]
    if not size:
        raise ValueError("the evaluation split is empty")
    loader = DataLoader(
        Subset(dataset, range(rank, size, world_size)),
        batch_size=batch_size,
        collate_fn=task.collate,
        # Its own generator: evaluating must not draw from the one that training uses.
        generator=torch.Generator(),
    )
    metrics = task.metrics().to(next(model.parameters()).device)
    training = model.training
    model.eval()
    for batch in loader:
        batch = to_device(task.augment(batch, training=False), model)
        task.update(metrics, task.step(model, batch))
    model.train(training)
    values = metrics.compute()
    return {name: float(value) for name, value in values.items() if not _counted_nothing(metrics, name)}


def _counted_nothing(metrics: Metrics, name: str) -> bool:
    from torchmetrics import MeanMetric

    # A metric of several scores names them itself, and leaves out what it did not count.
    if name not in metrics:
        return False
    metric = metrics[name]
    return isinstance(metric, MeanMetric) and not bool(metric.weight)
