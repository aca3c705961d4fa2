"""Weights in eight bits: a quarter of the memory, and integer products where the processor has them.

`quantize_int8` rounds the weight of each linear layer of encoder and decoder to 255 levels, output by output. While
a layer runs, its inputs are rounded in the same way, row by row, and integers are multiplied: up to three times as fast
as float32 on CPUs with VNNI where layers are wide, and slower where they are narrow. Nothing is calibrated, and no data
is needed.
"""

import copy
from functools import cache
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn
from torch.nn import functional

from perceivers.model import PerceiverIO
from perceivers.nn.linear import Linear

_LEVELS = 127
# Products of int8 matrices with sums in int32; where PyTorch has none, layers multiply in floating point.
_int_mm: Any = getattr(torch, "_int_mm", None)
ModelT = TypeVar("ModelT", bound=PerceiverIO)


class Int8Linear(Linear):
    """A linear layer for inference whose weight lies in int8, with a scale for each output.

    Its state dict holds the rounded weight in float32 under the name it always had, so that a quantised model is
    saved and converted like any other; quantised again after loading, it is the same model.

    Args:
        linear: The layer to take weight and bias from.
        int8_inputs: Round inputs as well and multiply integers, where that works; otherwise inputs stay as they are.
    """

    def __init__(self, linear: Linear, *, int8_inputs: bool = True) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        # Tried here and not while it runs: a compiled layer could not.
        self.int8_inputs = int8_inputs and _multiplies_integers()
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach(), requires_grad=False)
        levels, scale = _round(linear.dense_weight().detach())
        self.levels: Int8[Tensor, "E C"]
        self.scale: Float[Tensor, "E 1"]
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer("scale", scale, persistent=False)
        self.training = False

    @property
    def weight(self) -> Float[Tensor, "E C"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The rounded weight in full precision, made when it is asked for."""
        return self.levels.to(self.scale.dtype).mul_(self.scale)

    def dense_weight(self) -> Float[Tensor, "E C"]:
        """Return the rounded weight in full precision."""
        return self.weight

    def forward(self, input: Float[Tensor, "... C"]) -> Float[Tensor, "... E"]:
        """Multiply each row by the weight and add the bias."""
        if self.int8_inputs and input.device.type == "cpu" and input.numel() > 0 and not input.requires_grad:
            levels, row_scale = _round(input.reshape(-1, self.in_features))
            sums = _int_mm(levels, self.levels.mT).to(row_scale.dtype).mul_(row_scale)
            out = sums.reshape(*input.shape[:-1], self.out_features)
        else:
            out = functional.linear(input, self.levels.to(input.dtype))
        # The scale of the weight after the product: there are fewer numbers to multiply.
        scale = self.scale[:, 0].to(out.dtype)
        return out * scale if self.bias is None else torch.addcmul(self.bias.to(out.dtype), out, scale)

    def _multiplies_packed(self, input: Tensor) -> bool:
        return False

    def pack(self, dtype: torch.dtype = torch.float32) -> None:
        """Do nothing: packing is for weights in float32."""

    def train(self, mode: bool = True) -> "Int8Linear":
        """Refuse to train.

        Raises:
            ValueError: `mode` is `True`.
        """
        if mode:
            raise ValueError("a model with int8 weights cannot be trained; quantise it after training")
        self.training = False
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination[prefix + "weight"] = self.weight
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Int8Linear":
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__getstate__(), memo))
        return copied


def quantize_int8(model: ModelT, *, int8_inputs: bool = True) -> ModelT:
    """Put the weights of encoder and decoder into int8, in place, for inference.

    Args:
        model: The model, in float32; it goes into evaluation mode. The attention that reads very many inputs, or
            answers very many queries, without projecting them computes in float32 from the rounded weights.
        int8_inputs: Also round what goes into each layer, and multiply integers: faster on CPUs that have
            instructions for it (VNNI), with a little more error. `False` saves the memory only.

    Returns:
        The same model.
    """
    for part in (model.encoder, model.decoder):
        for parent in list(part.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, Linear) and not isinstance(child, Int8Linear):
                    setattr(parent, name, Int8Linear(child, int8_inputs=int8_inputs))
    model.eval()
    return model


def _round(rows: Float[Tensor, "R C"]) -> tuple[Int8[Tensor, "R C"], Float[Tensor, "R 1"]]:
    """Return each row as whole numbers from -127 to 127 times a scale."""
    largest = rows.abs().amax(dim=-1, keepdim=True)
    scale = (largest / _LEVELS).clamp(min=torch.finfo(rows.dtype).tiny)
    return (rows / scale).round_().to(torch.int8), scale


@cache
def _multiplies_integers() -> bool:
    """Return whether PyTorch multiplies int8 matrices here, and rightly: some builds and processors do not."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randint(-_LEVELS, _LEVELS + 1, (33, 64), generator=generator, dtype=torch.int8) for _ in "ab")
    try:
        found = _int_mm(a, b.mT)
    except (TypeError, RuntimeError):
        return False
    return bool((found == (a.double() @ b.double().mT)).all())
