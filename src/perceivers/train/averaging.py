"""A moving average of a model's weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def moving_average(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """Return a copy of a model that follows its weights; `None` for no decay."""
    if decay is None:
        return None

    @torch.no_grad()
    def blend(averages: Sequence[Tensor], values: Sequence[Tensor], _: Tensor | int) -> None:
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)  # A count of steps has no average.

    return AveragedModel(model, multi_avg_fn=blend, use_buffers=True)
