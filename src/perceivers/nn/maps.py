"""Attention maps: watch any attention module without touching the model's code."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from perceivers.nn.attention import Attention

# What one piece of a matrix may hold when it is made in pieces: 64 MiB in float32.
_PIECE = 2**24


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
    """

    module: Attention
    x_q: Float[Tensor, "B O Q"]
    x_kv: Float[Tensor, "B M C"]
    keep_mask: Bool[Tensor, "B #O #M"] | None = None

    def pull(self, mass: Float[Tensor, "B K O"], chunk_size: int | None = None) -> Float[Tensor, "B K M"]:
        """Return `mass @ A`, A the matrix as the mean over heads, without ever making the whole of A.

        Args:
            mass: How much each of K rows puts on each query.
            chunk_size: Queries whose attention is made at a time; `None` keeps a piece within 64 MiB of float32.
        """
        if chunk_size is None:
            row = self.x_kv.shape[0] * self.x_kv.shape[1] * self.module.num_heads
            chunk_size = max(1, _PIECE // row)
        pulled = mass.new_zeros(*mass.shape[:2], self.x_kv.shape[1])
        start = 0
        for piece in self.module.weight_rows(self.x_q, self.x_kv, self.keep_mask, chunk_size=chunk_size):
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
        weights = call.module.weights(call.x_q, call.x_kv, call.keep_mask)
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
    with _watch(model, prefix, lambda _, call: calls.append(call)):
        yield calls


@contextmanager
def _watch(model: nn.Module, prefix: str, keep: Callable[[str, AttentionCall], None]) -> Iterator[None]:
    """Hand each call of the chosen modules to `keep` before it runs."""

    def hook(name: str) -> Callable[..., None]:
        @torch.no_grad()
        def before(module: nn.Module, args: tuple[Any, ...]) -> None:
            assert isinstance(module, Attention)
            x_q, x_kv, *rest = args
            keep(name, AttentionCall(module, x_q.detach(), x_kv.detach(), rest[0] if rest else None))

        return before

    found = [(name, m) for name, m in model.named_modules() if isinstance(m, Attention)]
    chosen = [(name, m) for name, m in found if name.startswith(prefix)]
    if not chosen:
        raise ValueError(f"no attention module starts with '{prefix}'; modules = {[name for name, _ in found]}")
    handles = [module.register_forward_pre_hook(hook(name)) for name, module in chosen]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
