"""Linear layers that keep less for the way back: training's memory is what each layer keeps.

A linear layer keeps its input for the gradient of its weight. Where that input is a layer norm or a GELU of something
that is kept anyway, it can be made again on the way back for next to nothing: three arrays less of ten for a layer of
self-attention.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from perceivers.nn.linear import is_free, is_watched

_SPARE = 1024


def can_be_frugal(layers: Sequence[nn.Module], norms: Sequence[nn.LayerNorm]) -> bool:
    """Return whether training may take the forms of this module: nobody waits for calls, and no graph is traced."""
    return (
        torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and all(map(is_free, layers))
        and not any(map(is_watched, norms))
        and not torch.is_autocast_enabled(norms[0].weight.device.type)
    )


def normed_products(
    x: Float[Tensor, "*B C"], norm: nn.LayerNorm, layers: Sequence[nn.Linear]
) -> tuple[Float[Tensor, "*B _"], ...]:
    """Return what each of some linear layers gives for `norm(x)`.

    Args:
        x: Rows; they are all that is kept.
        norm: With scale and shift.
        layers: With biases.
    """
    numbers = [number for layer in layers for number in (layer.weight, layer.bias)]
    return _NormedProducts.apply(x, norm.weight, norm.bias, norm.eps, *numbers)


def activated_product(
    hidden: Float[Tensor, "*B C"], layer: nn.Linear, approximate: str, other: Float[Tensor, "*B E"] | None = None
) -> Float[Tensor, "*B E"]:
    """Return what a linear layer gives for the GELU of `hidden`, which is all that is kept.

    Args:
        hidden: Rows.
        layer: With a bias.
        approximate: Form of the GELU.
        other: What is added to the result.
    """
    return _ActivatedProduct.apply(hidden, layer.weight, layer.bias, approximate, other)


class _NormedProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, eps: float, *numbers: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, scale, shift, *numbers[::2])
        ctx.eps = eps
        normed = _room(x)
        moments = x.new_empty(*x.shape[:-1], 1), x.new_empty(*x.shape[:-1], 1)
        torch.ops.aten.native_layer_norm.out(
            x, scale.shape, scale, shift, eps, out0=normed, out1=moments[0], out2=moments[1]
        )
        return tuple(functional.linear(normed, *numbers[i : i + 2]) for i in range(0, len(numbers), 2))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, *weights = ctx.saved_tensors
        # Made again by operations that can be differentiated: whoever wants second derivatives gets them.
        normed, mean, inverse = torch.native_layer_norm(x, scale.shape, scale, shift, ctx.eps)
        rows = [gradient.flatten(0, -2) for gradient in gradients]
        total = rows[0] @ weights[0]
        for row, weight in zip(rows[1:], weights[1:], strict=True):
            total.addmm_(row, weight)
        of_norm = torch.ops.aten.native_layer_norm_backward(
            total.view_as(x), x, scale.shape, mean, inverse, scale, shift, ctx.needs_input_grad[:3]
        )
        flat, needed = normed.flatten(0, -2), ctx.needs_input_grad[4:]
        numbers = [
            (row.mT @ flat if of_weight else None, row.sum(dim=0) if of_bias else None)
            for row, of_weight, of_bias in zip(rows, needed[::2], needed[1::2], strict=True)
        ]
        return (*of_norm, None, *(number for pair in numbers for number in pair))


class _ActivatedProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, approximate: str, other: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        ctx.approximate = approximate
        active = torch.ops.aten.gelu.out(hidden, approximate=approximate, out=_room(hidden))
        out = functional.linear(active, weight, bias)
        return out if other is None else out.add_(other)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight = ctx.saved_tensors
        rows = gradients[0].flatten(0, -2)
        of_hidden, of_weight, of_bias = ctx.needs_input_grad[:3]
        active = functional.gelu(hidden, approximate=ctx.approximate).flatten(0, -2)
        below = (rows @ weight).view_as(hidden) if of_hidden else None
        return (
            None if below is None else torch.ops.aten.gelu_backward(below, hidden, approximate=ctx.approximate),
            rows.mT @ active if of_weight else None,
            rows.sum(dim=0) if of_bias else None,
            None,
            gradients[0] if ctx.needs_input_grad[4] else None,
        )


def _room(like: Tensor) -> Tensor:
    """Return an empty array with room to spare behind it, for numbers that are soon dropped.

    The C library fills the gap that an array leaves by an array of equal size only if there is room to align it.
    Without it every gap stays, and training takes half as much memory again.
    """
    return like.new_empty(like.numel() + _SPARE)[: like.numel()].view(like.shape)
