"""Each model of the zoo by the algebra in pieces against its plain form, which stays the reference.

The released models at full size: `pytest -m heavy tests/test_fast_paths.py -s`.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perceivers.model import PerceiverIO
from perceivers.nn.linear import pack_linears
from perceivers.nn.maps import record_calls
from perceivers.zoo import ZOO

SMALL = [name for name in ZOO if name.endswith("-small")]
RELEASED = [name for name in ZOO if not name.endswith("-small")]
# Scale of all matrices, and what is added to the vectors at the two ends: rows whose mean lies far from zero.
WEIGHTS = {"as trained": (1.0, 0.0), "large": (3.0, 0.0), "far from zero": (1.0, 30.0)}


def filled(name: str, scale: float, shift: float) -> PerceiverIO:
    """Return a model in which no layer dies or saturates at scale 1, and none is as it was initialised."""
    torch.manual_seed(1)
    model = PerceiverIO(ZOO[name].config).eval()
    with torch.no_grad():
        for parameter_name, p in model.named_parameters():
            if p.dim() > 1 and parameter_name.endswith("weight"):
                p.normal_(std=scale / p[0].numel() ** 0.5)
            elif parameter_name.endswith("weight"):
                p.normal_(mean=1.0, std=0.1)
            else:
                p.normal_(std=0.1).add_(shift if parameter_name.startswith(("inputs", "queries")) else 0.0)
    return model


def answers(model: PerceiverIO, batch: Mapping[str, Tensor], *, plain: bool) -> Tensor:
    # Whoever watches the attention has it called as such.
    with torch.no_grad(), record_calls(model) if plain and attends(model) else nullcontext():
        outputs = model.decode(model.encode(batch), chunk_size=20_000)
    leaves = outputs.values() if isinstance(outputs, Mapping) else [outputs]
    return torch.cat([(leaf / leaf.square().mean().sqrt()).flatten() for leaf in leaves])


def attends(model: nn.Module) -> bool:
    return any(type(module).__name__ == "Attention" for module in model.modules())


def in_float64(batch: Mapping[str, Tensor]) -> dict[str, Any]:
    return {key: value.double() if value.is_floating_point() else value for key, value in batch.items()}


def errors(name: str, scale: float, shift: float, batch_size: int) -> dict[str, float]:
    """Return how far each form lies from the plain one in float64, relative to the root mean square."""
    model = filled(name, scale, shift)
    batch = model.inputs.example_batch(batch_size)
    plain = answers(model, batch, plain=True)
    pack_linears(model)
    fast = answers(model, batch, plain=False)
    model.double()
    truth = answers(model, in_float64(batch), plain=True)
    exact = answers(model, in_float64(batch), plain=False)
    found = {"plain float32": plain, "fast float32": fast, "fast float64": exact}
    return {form: float((value.double() - truth).abs().max()) for form, value in found.items()}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("name", SMALL)
def test_small_models(name: str, weights: str) -> None:
    found = errors(name, *WEIGHTS[weights], batch_size=2)
    assert found["fast float64"] < 1e-8
    # Large weights make a network chaotic: rounding grows in any form, and in this one no more than in the plain one.
    assert found["fast float32"] < max(3e-5, 4 * found["plain float32"])
    if weights != "large":
        assert found["fast float32"] < 3e-5


@pytest.mark.heavy
@pytest.mark.parametrize("name", RELEASED)
def test_released_models(name: str) -> None:
    found = errors(name, 1.0, 0.0, batch_size=1)
    print(name, {form: f"{error:.1e}" for form, error in found.items()})
    assert found["fast float64"] < 1e-9
    assert found["fast float32"] < 3e-5
