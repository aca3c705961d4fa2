"""This library's side: exactly what a pipeline runs, or a step of training."""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from perceivers.adapters.base import Grid
from perceivers.benchmark.cases import Case
from perceivers.benchmark.inputs import Batch, example, task_of
from perceivers.benchmark.runs import Run
from perceivers.benchmark.weights import random_model
from perceivers.model import PerceiverIO
from perceivers.tasks.pipeline import Pipeline

# Of outputs that are more, so many are compared with float64, of each modality.
_COMPARED = 2048
# Steps must not change the weights much: all of them are to cost the same.
LEARNING_RATE = 1e-6


def make(case: Case) -> Run:
    """Return `case` with this library."""
    return _training(case) if case.training else _answering(case)


def _answering(case: Case) -> Run:
    task = task_of(case)
    batch, where = example(case, task)
    model = Pipeline(task, random_model(case)).model
    chunk_size = getattr(task.settings, "chunk_size", None)

    @torch.inference_mode()
    def answer() -> Any:
        return model.decode(model.encode(batch), where=where, chunk_size=chunk_size)

    return Run(once=answer, error=lambda answers: _error(case, batch, where, answers))


def _training(case: Case) -> Run:
    # Needs the extra `train`, without which answers can be measured all the same.
    from perceivers.train import OptimizerConfig
    from perceivers.train.optim import make_optimizer

    task = task_of(case)
    batch, _ = example(case, task)
    model = random_model(case).train()
    optimizer = make_optimizer(model, OptimizerConfig(learning_rate=LEARNING_RATE))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        task.step(model, batch).loss.backward()
        optimizer.step()

    @torch.no_grad()
    def error(_: Any) -> float:
        # Steps have changed the weights; what they compute on the way is asked of fresh ones.
        return _error(case, batch, None, random_model(case).train()(batch))

    return Run(once=step, error=error)


@torch.inference_mode()
def _error(case: Case, batch: Batch, where: Tensor | None, ours: Any) -> float:
    """Return the largest difference to the plain model in float64, relative to the root mean square."""
    plain: PerceiverIO = random_model(case).double().train(case.training)
    exact = {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}
    latents = plain.encode(exact)
    if where is not None:
        return _difference(ours, plain.decode(latents, where=where))
    grid = plain.queries.output_grid(latents.tokens)
    sample = _sample(grid, case.seed)
    truth = plain.decode(latents, where=sample)
    if not isinstance(grid, Mapping):
        return _difference(_pick(ours, grid, sample), truth)
    return max(_difference(_pick(ours[name], cells, sample[name]), truth[name]) for name, cells in grid.items())


def _sample(grid: Grid, seed: int) -> Any:
    """Return indices of outputs to compare, of each modality."""
    if isinstance(grid, Mapping):
        return {name: _sample(cells, seed) for name, cells in grid.items()}
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(prod(grid), generator=generator)[:_COMPARED]


def _pick(answers: Tensor, grid: tuple[int, ...], sample: Tensor) -> Tensor:
    return answers.reshape(len(answers), prod(grid), -1)[:, sample]


def _difference(ours: Tensor, truth: Tensor) -> float:
    return float((ours.double() - truth).abs().max() / truth.square().mean().sqrt())
