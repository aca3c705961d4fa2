"""A moving average of a model's weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def moving_average(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """Return a copy of a model that follows its weights; `None` for no decay.

    What was seen n steps ago counts `decay ** n`, and all that was seen counts 1 together: a run that is short beside
    the decay is not held back by the weights that it started from.
    """
    if decay is None:
        return None

    @torch.no_grad()
    def blend(averages: Sequence[Tensor], values: Sequence[Tensor], seen: Tensor | int) -> None:
        share = (1 - decay) / (1 - decay ** (int(seen) + 1))
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, share)
            else:
                average.copy_(value)  # A count of steps has no average.

    return AveragedModel(model, multi_avg_fn=blend, use_buffers=True)
