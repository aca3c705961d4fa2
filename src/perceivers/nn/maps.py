"""Attention maps: watch any attention module without touching the model's code."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from perceivers.nn.attention import Attention


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
    handles = []

    def watch(name: str, module: Attention) -> None:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            with torch.no_grad():
                recorded.maps.setdefault(name, []).append(module.weights(*args).detach())

        handles.append(module.register_forward_pre_hook(hook))

    found = [(name, m) for name, m in model.named_modules() if isinstance(m, Attention)]
    chosen = [(name, m) for name, m in found if name.startswith(prefix)]
    if not chosen:
        raise ValueError(f"no attention module starts with '{prefix}'; modules = {[name for name, _ in found]}")
    try:
        for name, module in chosen:
            watch(name, module)
        yield recorded
    finally:
        for handle in handles:
            handle.remove()
