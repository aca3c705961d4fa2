"""A file held against the model that it came from."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from perceivers.exporting.formats import Run
from perceivers.exporting.interface import Part

# Largest difference of an output, relative to the root mean square of the model's own.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Check:
    """One comparison.

    Args:
        sizes: How long the open axes were, by name.
        error: Largest difference of any output, relative to its root mean square.
    """

    sizes: Mapping[str, int]
    error: float


@torch.no_grad()
def compare(part: Part, run: Run, sizes: Mapping[str, int]) -> Check:
    """Compare what a file computes from random inputs with what the model does.

    Args:
        part: The part of the model that is in the file.
        run: Computes what the file does.
        sizes: How long the open axes are to be.

    Raises:
        ValueError: Outputs have other names or shapes, or differ by more than `TOLERANCE`.
    """
    inputs = part.example(sizes)
    expected, found = part(inputs), run(inputs)
    if list(expected) != list(found):
        raise ValueError(f"the file gives {list(found)}, the model {list(expected)}")
    errors = {name: _error(name, found[name], value) for name, value in expected.items()}
    for name, error in errors.items():
        # Written so that NaN fails.
        if not error <= TOLERANCE:
            raise ValueError(
                f"'{name}' of the file differs from the model's by {error:.2g} of its root mean square "
                f"(at most {TOLERANCE:g}) at {dict(sizes)}"
            )
    return Check(dict(sizes), max(errors.values()))


def _error(name: str, found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise ValueError(
            f"'{name}' of the file is {tuple(found.shape)} {found.dtype}, the model's "
            f"{tuple(expected.shape)} {expected.dtype}"
        )
    if not expected.numel():
        return 0.0
    difference = (found - expected).abs().max()
    scale = expected.square().mean().sqrt()
    return float(difference / scale) if scale else float(difference)
