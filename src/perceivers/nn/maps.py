"""Attention maps: watch any attention module without touching the model's code."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from perceivers.nn.attention import Attention
from perceivers.nn.layers import CrossAttention
from perceivers.nn.rows import Rows, as_array

# What one piece of a matrix may hold when it is made in pieces: 16 MiB in float32.
_PIECE = 2**22


@dataclass
class AttentionMaps:
    """What `record_attention` saw: module name -> one `(B, H, O, M)` matrix for each time it ran."""

    maps: dict[str, list[Tensor]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        """Return the last map of the module called `name`.

        Raises:
            ValueError: No attention of that name ran.
        """
        if name not in self.maps:
            raise ValueError(f"attention '{name}' was not recorded; recorded = {sorted(self.maps)}")
        return self.maps[name][-1]


@dataclass(frozen=True)
class AttentionCall:
    """One run of an attention module, kept as its arguments, which are much smaller than its matrix.

    Args:
        module: The module.
        x_q: What asked.
        x_kv: What was attended to.
        keep_mask: As in `attend`.
        layer: The layer around the module, whose norms both of them still have to pass; `None` where they have.
    """

    module: Attention
    x_q: Float[Tensor, "B O Q"]
    x_kv: Float[Tensor, "B M C"] | Rows
    keep_mask: Bool[Tensor, "B #O #M"] | None = None
    layer: CrossAttention | None = None

    def pull(self, mass: Float[Tensor, "B K O"], chunk_size: int | None = None) -> Float[Tensor, "B K M"]:
        """Return `mass @ A`, A the matrix as the mean over heads, without ever making the whole of A.

        Args:
            mass: How much each of K rows puts on each query.
            chunk_size: Queries whose attention is made at a time; `None` keeps a piece within 16 MiB of float32.
        """
        x_q, x_kv = self.x_q, as_array(self.x_kv)
        if self.layer is not None:
            x_q, x_kv = self.layer.norm_q(x_q), self.layer.norm_kv(x_kv)
        row = x_kv.shape[0] * x_kv.shape[1] * self.module.num_heads
        size = max(1, _PIECE // row) if chunk_size is None else chunk_size
        pulled = mass.new_zeros(*mass.shape[:2], x_kv.shape[1])
        start = 0
        for piece in self.module.weight_rows(x_q, x_kv, self.keep_mask, chunk_size=size):
            stop = start + piece.shape[2]
            pulled = torch.baddbmm(pulled, mass[:, :, start:stop], piece.mean(dim=1).to(mass.dtype))
            start = stop
        return pulled


@contextmanager
def record_attention(model: nn.Module, prefix: str = "") -> Iterator[AttentionMaps]:
    """Record the attention matrix of each attention module under `model` whose name starts with `prefix`.

    The maps are computed by the plain reference from the same arguments, beside the fused kernel;
    a map holds `B * H * O * M` numbers, so name a prefix when inputs are large.

    Args:
        model: Any module that contains `Attention` modules.
        prefix: Keep to the modules whose dotted name starts so, e.g. `"encoder.cross_attends"`.

    Raises:
        ValueError: No attention module has that prefix.
    """
    recorded = AttentionMaps()

    def keep(name: str, call: AttentionCall) -> None:
        weights = call.module.weights(call.x_q, as_array(call.x_kv), call.keep_mask)
        recorded.maps.setdefault(name, []).append(weights)

    with _watch(model, prefix, keep):
        yield recorded


@contextmanager
def record_calls(model: nn.Module, prefix: str = "") -> Iterator[list[AttentionCall]]:
    """Record what each attention module was called with, in the order in which they ran.

    A call holds no matrix; `AttentionCall.pull` multiplies by it in pieces.

    Args:
        model: Any module that contains `Attention` modules.
        prefix: As in `record_attention`.

    Raises:
        ValueError: No attention module has that prefix.
    """
    calls: list[AttentionCall] = []
    # Watched from outside, a layer that reads very many inputs still does so in pieces, and what it keeps of them is
    # what the model has anyway.
    around = {layer.attention: layer for layer in model.modules() if isinstance(layer, CrossAttention)}
    with _watch(model, prefix, lambda _, call: calls.append(call), around):
        yield calls


@contextmanager
def _watch(
    model: nn.Module,
    prefix: str,
    keep: Callable[[str, AttentionCall], None],
    around: Mapping[Attention, CrossAttention] | None = None,
) -> Iterator[None]:
    """Hand each call of the chosen modules, or of the layers `around` them, to `keep` before it runs."""
    around = around or {}

    def hook(name: str, module: Attention) -> Callable[..., None]:
        @torch.no_grad()
        def before(_: nn.Module, args: tuple[Any, ...]) -> None:
            x_q, x_kv, *rest = args
            x_kv = x_kv if isinstance(x_kv, Rows) else x_kv.detach()
            keep(name, AttentionCall(module, x_q.detach(), x_kv, rest[0] if rest else None, around.get(module)))

        return before

    found = [(name, m) for name, m in model.named_modules() if isinstance(m, Attention)]
    chosen = [(name, m) for name, m in found if name.startswith(prefix)]
    if not chosen:
        raise ValueError(f"no attention module starts with '{prefix}'; modules = {[name for name, _ in found]}")
    handles = [around.get(module, module).register_forward_pre_hook(hook(name, module)) for name, module in chosen]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
