"""Linear layers that keep less for the way back: training's memory is what each layer keeps.

A linear layer keeps its input for the gradient of its weight. Where that input is a layer norm or a GELU of something
that is kept anyway, it can be made again on the way back for next to nothing: three arrays less of ten for a layer of
self-attention. Layers that run several times in one step, as those of shared blocks do, multiply by packed weights.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from perceivers.nn.linear import Linear, is_free, is_watched, pack_weight, packed_product, packed_sum, packs

# Numbers of room behind an array; a few cache lines would do.
_SPARE = 1024
# Below so many rows packing takes longer than what it saves.
_FEWEST_ROWS = 2048


def can_be_frugal(layers: Sequence[nn.Module], norms: Sequence[nn.LayerNorm]) -> bool:
    """Return whether training may take the forms of this module: nobody waits for calls, and no graph is traced.

    Subclasses of `Linear` multiply in their own way, and so do layers that lie packed for inference.
    """
    weight = norms[0].weight
    return (
        torch.is_grad_enabled()
        and not (torch.compiler.is_compiling() or weight.is_meta)
        and all(type(layer) is Linear and is_free(layer) and not layer.is_packed for layer in layers)
        and not any(map(is_watched, norms))
        and not torch.is_autocast_enabled(weight.device.type)
    )


@dataclass(frozen=True)
class _Packed:
    """A weight packed for the way there and the way back."""

    there: Tensor
    back: Tensor


@contextmanager
def packed_while(block: nn.Module, num_rows: int) -> Iterator[None]:
    """Pack the weights of a block while it runs, where that pays; the way back then uses the same.

    Args:
        block: Its layers may not change before the way back.
        num_rows: How many rows each layer multiplies in all.
    """
    layers = [layer for layer in block.modules() if isinstance(layer, Linear)] if num_rows >= _FEWEST_ROWS else []
    for layer in layers:
        if packs(layer.weight):
            weight = layer.weight.detach()
            layer.beside = _Packed(pack_weight(weight), pack_weight(weight.mT))
    try:
        yield
    finally:
        for layer in layers:
            layer.beside = None


def normed_products(
    x: Float[Tensor, "*B C"], norm: nn.LayerNorm, layers: Sequence[nn.Module]
) -> tuple[Float[Tensor, "*B _"], ...]:
    """Return what each of some linear layers gives for `norm(x)`.

    Args:
        x: Rows; they are all that is kept.
        norm: With scale and shift.
        layers: With biases.
    """
    numbers = [number for layer in layers for number in (layer.weight, layer.bias)]
    packed = [_beside(layer) for layer in layers]
    return _NormedProducts.apply(x, norm.weight, norm.bias, norm.eps, packed, *numbers)


def activated_product(
    hidden: Float[Tensor, "*B C"], layer: nn.Module, approximate: str, other: Float[Tensor, "*B E"] | None = None
) -> Float[Tensor, "*B E"]:
    """Return what a linear layer gives for the GELU of `hidden`, which is all that is kept.

    Args:
        hidden: Rows.
        layer: With a bias.
        approximate: Form of the GELU.
        other: What is added to the result.
    """
    return _ActivatedProduct.apply(hidden, layer.weight, layer.bias, approximate, _beside(layer), other)


def plain_product(
    x: Float[Tensor, "*B C"], layer: nn.Module, other: Float[Tensor, "*B E"] | None = None
) -> Float[Tensor, "*B E"]:
    """Return what a layer gives for `x`, which is kept, plus what is given beside."""
    packed = _beside(layer)
    if packed is not None:
        return _ActivatedProduct.apply(x, layer.weight, layer.bias, None, packed, other)
    return layer(x) if other is None else layer(x).add_(other)


def _beside(layer: nn.Module) -> Any:
    return layer.beside if isinstance(layer, Linear) and is_free(layer) else None


class _NormedProducts(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        eps: float,
        packed: Sequence[_Packed | None],
        *numbers: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, scale, shift, *numbers[::2])
        ctx.eps, ctx.packed = eps, packed
        normed = _room(x)
        moments = x.new_empty(*x.shape[:-1], 1), x.new_empty(*x.shape[:-1], 1)
        torch.ops.aten.native_layer_norm.out(
            x, scale.shape, scale, shift, eps, out0=normed, out1=moments[0], out2=moments[1]
        )
        weights = zip(numbers[::2], numbers[1::2], packed, strict=True)
        return tuple(_there(normed, weight, bias, beside) for weight, bias, beside in weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, *weights = ctx.saved_tensors
        # Made again by operations that can be differentiated: whoever wants second derivatives gets them.
        normed, mean, inverse = torch.native_layer_norm(x, scale.shape, scale, shift, ctx.eps)
        rows = [gradient.flatten(0, -2) for gradient in gradients]
        total = None
        for row, weight, beside in zip(rows, weights, ctx.packed, strict=True):
            total = _back(row, weight, beside, total)
        assert total is not None
        of_norm = torch.ops.aten.native_layer_norm_backward(
            total.view_as(x), x, scale.shape, mean, inverse, scale, shift, ctx.needs_input_grad[:3]
        )
        flat, needed = normed.flatten(0, -2), ctx.needs_input_grad[5:]
        numbers = [
            (row.mT @ flat if of_weight else None, row.sum(dim=0) if of_bias else None)
            for row, of_weight, of_bias in zip(rows, needed[::2], needed[1::2], strict=True)
        ]
        return (*of_norm, None, None, *(number for pair in numbers for number in pair))


class _ActivatedProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        approximate: str | None,
        packed: _Packed | None,
        other: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        ctx.approximate, ctx.packed = approximate, packed
        active = hidden
        if approximate is not None:
            active = torch.ops.aten.gelu.out(hidden, approximate=approximate, out=_room(hidden))
        return _there(active, weight, bias, packed, other)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight = ctx.saved_tensors
        rows = gradients[0].flatten(0, -2)
        of_hidden, of_weight, of_bias = ctx.needs_input_grad[:3]
        below = _back(rows, weight, ctx.packed).view_as(hidden) if of_hidden else None
        active = hidden
        if ctx.approximate is not None:
            active = functional.gelu(hidden, approximate=ctx.approximate)
            if below is not None:
                below = torch.ops.aten.gelu_backward(below, hidden, approximate=ctx.approximate)
        return (
            below,
            rows.mT @ active.flatten(0, -2) if of_weight else None,
            rows.sum(dim=0) if of_bias else None,
            *(None, None),
            gradients[0] if ctx.needs_input_grad[5] else None,
        )


def _there(rows: Tensor, weight: Tensor, bias: Tensor, packed: _Packed | None, other: Tensor | None = None) -> Tensor:
    if packed is None:
        out = functional.linear(rows, weight, bias)
        return out if other is None else out.add_(other)
    if other is None:
        return packed_product(rows, packed.there, bias)
    return packed_sum(rows, other, packed.there, bias)


def _back(rows: Tensor, weight: Tensor, packed: _Packed | None, other: Tensor | None = None) -> Tensor:
    """Return `rows` times `weight`, plus what is given beside (and overwritten)."""
    # Second derivatives are wanted where gradients are recorded: a packed product has none.
    if packed is None or torch.is_grad_enabled():
        return rows @ weight if other is None else other.addmm_(rows, weight)
    if other is None:
        return packed_product(rows, packed.back, None)
    return packed_sum(rows, other, packed.back, None)


def _room(like: Tensor) -> Tensor:
    """Return an empty array with room to spare behind it, for numbers that are soon dropped.

    The C library fills the gap that an array leaves by an array of equal size only if there is room to align it.
    Without it every gap stays, and training takes half as much memory again.
    """
    return like.new_empty(like.numel() + _SPARE)[: like.numel()].view(like.shape)
