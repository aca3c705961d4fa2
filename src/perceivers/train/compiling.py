"""Compiled layers for training.

The latents' self-attention layers are compiled, one by one and not the model as a whole: they are alike, so one
compilation serves them all, and their input has the same form in every step, however long the texts of a batch are.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from perceivers.nn.layers import SelfAttention


def check_compiler(device: torch.device) -> None:
    """Compile something tiny for `device`.

    Raises:
        ValueError: That does not work here; on a CPU mostly because there is no C++ compiler.
    """
    try:
        torch.compile(_double)(torch.ones(8, device=device))
    except Exception as error:
        # What goes wrong depends on the machine and on PyTorch's version; its first line says what.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"train.compile needs a compiler that works here (a C++ compiler such as g++ on a CPU, Triton on a GPU); "
            f"install one, or set compile to false: {reason}"
        ) from error


@contextmanager
def compiled_layers(model: nn.Module, wanted: bool = True) -> Iterator[None]:
    """Compile the self-attention layers of `model` when they next run, and put them back at the end.

    Args:
        model: The model; its state dict and its copies know nothing of it.
        wanted: `False` changes nothing.
    """
    layers = [module for module in model.modules() if isinstance(module, SelfAttention)] if wanted else []
    for layer in layers:
        # Static shapes: a resumed run then compiles what the first one did, and ends with the same bits.
        layer.compile(dynamic=False)
    try:
        yield
    finally:
        for layer in layers:
            layer._compiled_call_impl = None
        if layers:
            # The cache of compiled code is one for the process, and has room for a few forms of a layer only.
            torch.compiler.reset()


@contextmanager
def not_compiled() -> Iterator[None]:
    """Run compiled modules as they were written."""
    with torch.compiler.set_stance("force_eager"):
        yield


def _double(x: torch.Tensor) -> torch.Tensor:
    return x.sin() * 2
