"""Models with random weights of unit gain: no layer dies or saturates, so that errors mean something."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from perceivers.benchmark.cases import Case
from perceivers.model import PerceiverIO


class _NothingDrawn(TorchFunctionMode):
    """Zeros in place of what initialisers draw: in large models that takes longest of all, and is overwritten."""

    _DRAWS = (torch.Tensor.uniform_, torch.Tensor.normal_, torch.Tensor.erfinv_)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        return args[0].zero_() if func in self._DRAWS else func(*args, **(kwargs or {}))


def random_model(case: Case) -> PerceiverIO:
    """Return the model of `case`, in evaluation mode; its weights depend on seed and scale alone."""
    with _NothingDrawn():
        model = PerceiverIO(case.config)
    fill(model, case.seed, case.weight_scale)
    return model.eval()


@torch.no_grad()
def fill(model: PerceiverIO, seed: int = 0, weight_scale: float = 1.0) -> None:
    """Give every tensor random values of the size that trained ones have.

    Args:
        model: The model.
        seed: Of the values.
        weight_scale: Factor on the weights of linear layers and convolutions. They have unit gain at 1: what comes out
            is as large as what goes in. At larger ones attention becomes sharp, and rounding counts more.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            tensor.fill_(3)
            continue
        tensor.normal_(generator=generator)
        last = name.rpartition(".")[2]
        if last.endswith("var"):
            tensor.abs_().mul_(0.1).add_(1)
        elif tensor.dim() > 1 and last == "weight" and "embedding" not in name:
            tensor.mul_(weight_scale / tensor[0].numel() ** 0.5)
        elif last == "weight" and "embedding" not in name:
            tensor.mul_(0.1).add_(1)
        else:
            tensor.mul_(0.1)
