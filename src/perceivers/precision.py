"""Number formats of inference: half precision where the time goes, float32 where it matters.

In half precision run the layers in which the latents attend to one another: nearly all of the time of most models.
Between them the latents stay in float32, and so do layer norms and the sums inside of a softmax. Inputs, positions,
the read and the answers are float32: Fourier features would lose their high frequencies in half precision, and the
read and the answers have their own fast paths, which need float32.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn

from perceivers.model import PerceiverIO
from perceivers.nn.linear import Linear, packs_half

PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def autocast(model: PerceiverIO, precision: str) -> Iterator[None]:
    """Run the latents' layers of `model` in another number format inside the context; weights stay as they are.

    Args:
        model: The model, in float32. Layers that lay packed for float32 (`nn.linear.pack_linears`) are unpacked; on a
            CPU they lie packed for the other format from then on, beside their weights, as long as nobody trains
            them: casting them in each call would cost what the faster product gains.
        precision: One of `PRECISIONS`; "float32" changes nothing.

    Raises:
        ValueError: There is no such precision, or the model's device does not compute in it.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision '{precision}' not found; choices = {list(PRECISIONS)}")
    dtype, device = PRECISIONS[precision], model.encoder.latents.device.type
    if dtype == torch.float16 and device == "cpu":
        raise ValueError("precision 'fp16' needs a GPU; on a CPU choose 'bf16' or 'float32'")
    if dtype is None:
        yield
        return
    packs = device == "cpu" and not model.training and packs_half(dtype)
    for module in model.encoder.blocks.modules():
        if isinstance(module, Linear):
            if packs:
                module.pack(dtype)
            else:
                module.unpack()
    entered: list[AbstractContextManager[Any]] = []

    def enter(*_: Any) -> None:
        entered.append(torch.autocast(device, dtype))
        entered[-1].__enter__()

    def leave(*_: Any) -> None:
        entered.pop().__exit__(None, None, None)

    handles = [hook for block in model.encoder.blocks for hook in _around(block, enter, leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _around(block: nn.Module, enter: Any, leave: Any) -> tuple[Any, Any]:
    # Also when the block fails, or autocast would stay on.
    return block.register_forward_pre_hook(enter), block.register_forward_hook(leave, always_call=True)
