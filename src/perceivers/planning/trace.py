"""What a computation costs, seen from its operations: FLOPs, bytes that are alive, bytes that are moved.

A `Tracer` watches every operation that PyTorch runs, on tensors of the meta device as well, which have shapes
and no memory. Attention is one operation or several, depending on the kernel: `attention_as` chooses.
"""

import math
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

AttentionPath = Literal["fused", "plain"]

aten = torch.ops.aten
_flash = aten._scaled_dot_product_flash_attention_for_cpu


@dataclass(frozen=True)
class Call:
    """One operation, as far as its time depends on it.

    Args:
        kind: "matmul", "attention", or the name of an operation that moves bytes and multiplies no matrices.
        sizes: "matmul": (batch, rows, inner, columns); "attention": (batch and heads, queries, attended, width);
            otherwise the bytes that are read and written.
        flops: Floating-point operations.
    """

    kind: str
    sizes: tuple[int, ...]
    flops: int = 0


@dataclass
class Cost:
    """What the operations of one stage cost together.

    Args:
        flops: Operations of matrix products and convolutions; a multiplication with its addition counts 2.
        peak_bytes: The most that was alive at any moment of the stage, of all that the tracer saw made.
        calls: How often each operation ran.
        num_operations: How many operations ran, views included: each costs time of its own.
    """

    flops: int = 0
    peak_bytes: int = 0
    calls: Counter[Call] = field(default_factory=Counter)
    num_operations: int = 0


class Tracer(TorchDispatchMode):
    """Counts what runs while it is entered, stage by stage; `stage` says which one is on.

    Args:
        known: Tensors that are there already and are not counted, such as parameters.

    `live_bytes` and `apart_bytes` are what is alive now, `peak_bytes` the most that was alive of the former and
    `peak_with_apart_bytes` of both together.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.stage = ""
        self.costs: dict[str, Cost] = {}
        self.live_bytes = 0
        self.peak_bytes = 0
        self.apart_bytes = 0
        self.peak_with_apart_bytes = 0
        self._apart: set[int] = set()
        self._known = [tensor.untyped_storage() for tensor in known]
        self._live: dict[int, weakref.ref[Any]] = {id(storage): weakref.ref(storage) for storage in self._known}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation and count it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        for tensor in made:
            self.watch(tensor)
        cost = self.costs.setdefault(self.stage, Cost())
        cost.peak_bytes = max(cost.peak_bytes, self.live_bytes)
        cost.num_operations += 1
        packet = func.overloadpacket
        if packet in _PRODUCTS:
            for call in _PRODUCTS[packet](args, kwargs, made):
                cost.flops += call.flops
                cost.calls[call] += 1
        elif not _is_view(func, read, made) and not packet.__name__.startswith("empty"):
            moved = sum(_bytes(tensor) for tensor in (*read, *made))
            cost.calls[Call(packet.__name__, (moved,))] += 1
        return result

    def watch(self, tensor: Tensor) -> None:
        """Count the memory of `tensor` until nobody holds it; memory that is known already counts once."""
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key in self._live:
            return

        def forget(_: Any) -> None:
            del self._live[key]
            if key in self._apart:
                self._apart.remove(key)
                self.apart_bytes -= size
            else:
                self.live_bytes -= size

        self._live[key] = weakref.ref(storage, forget)
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        self.peak_with_apart_bytes = max(self.peak_with_apart_bytes, self.live_bytes + self.apart_bytes)

    def set_apart(self, tensor: Tensor) -> None:
        """Count a tensor that is alive, such as a gradient that stays, apart from all others."""
        storage = tensor.untyped_storage()
        if id(storage) in self._live and id(storage) not in self._apart:
            self._apart.add(id(storage))
            self.apart_bytes += storage.nbytes()
            self.live_bytes -= storage.nbytes()


def _is_view(func: Any, read: list[Tensor], made: list[Tensor]) -> bool:
    """Return whether an operation only looks at memory in another way."""
    if func._schema.is_mutable:
        return False
    there = {id(tensor.untyped_storage()) for tensor in read}
    return all(id(tensor.untyped_storage()) in there for tensor in made)


def _bytes(tensor: Tensor) -> int:
    """Return the bytes of a tensor; what an expanded one repeats lies in memory once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _matmul(batch: int, rows: int, inner: int, columns: int) -> Call:
    return Call("matmul", (batch, rows, inner, columns), 2 * batch * rows * inner * columns)


def _of_matrices(a: Tensor, b: Tensor) -> list[Call]:
    batch = a.shape[0] if a.dim() == 3 else 1
    return [_matmul(batch, a.shape[-2], a.shape[-1], b.shape[-1])]


def _of_convolution(result: Tensor, weight: Tensor) -> Call:
    """Return a convolution as the matrix product that it is: one row a cell of the result."""
    return _matmul(1, result.numel() // result.shape[1], math.prod(weight.shape[1:]), result.shape[1])


def _of_attention(q: Tensor, k: Tensor, num_products: int) -> list[Call]:
    """Return fused attention; queries, keys and values are equally wide."""
    batch, heads, queries, width = q.shape
    attended = k.shape[-2]
    flops = 2 * num_products * batch * heads * queries * attended * width
    return [Call("attention", (batch * heads, queries, attended, width), flops)]


def _of_convolution_backward(args: Sequence[Any]) -> list[Call]:
    wanted = args[10][:2]  # gradients of the input and of the weight; the bias takes no product
    return [_of_convolution(args[0], args[2])] * sum(wanted)


# Calls of each operation that multiplies matrices, from its arguments and results.
_PRODUCTS: dict[Any, Callable[[Sequence[Any], dict[str, Any], list[Tensor]], list[Call]]] = {
    aten.mm: lambda args, kwargs, made: _of_matrices(args[0], args[1]),
    aten.bmm: lambda args, kwargs, made: _of_matrices(args[0], args[1]),
    aten.addmm: lambda args, kwargs, made: _of_matrices(args[1], args[2]),
    aten.baddbmm: lambda args, kwargs, made: _of_matrices(args[1], args[2]),
    aten.convolution: lambda args, kwargs, made: [_of_convolution(made[0], args[1])],
    aten.convolution_backward: lambda args, kwargs, made: _of_convolution_backward(args),
    _flash: lambda args, kwargs, made: _of_attention(args[0], args[1], 2),
    # The weights are computed anew, then the gradients of values, weights, queries and keys.
    aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda args, kwargs, made: _of_attention(args[1], args[2], 5)
    ),
}


def fuses(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> bool:
    """Return whether PyTorch's fused kernel for CPUs takes this attention; the others are computed plainly."""
    return q.shape[-1] == k.shape[-1] == v.shape[-1] and not dropout


class _FusedAttention(TorchFunctionMode):
    """Attention on meta tensors as a CPU computes it."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        q, k, v = args
        mask, dropout = kwargs.get("attn_mask"), kwargs.get("dropout_p", 0.0)
        if not fuses(q, k, v, dropout):
            with sdpa_kernel(SDPBackend.MATH):
                return func(*args, **kwargs)
        if mask is not None:
            mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, -math.inf)
        return _flash(q, k, v, attn_mask=mask)[0]


@contextmanager
def attention_as(path: AttentionPath) -> Iterator[None]:
    """Compute attention as a CPU does ("fused"), or with the whole matrix of weights in memory ("plain")."""
    if path == "fused":
        with _FusedAttention():
            yield
    else:
        with sdpa_kernel(SDPBackend.MATH):
            yield
