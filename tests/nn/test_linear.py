"""Packed weights: the same layer, whichever way its weight lies."""

import copy
import pickle
from itertools import chain, repeat

import pytest
import torch
from torch import nn
from torch.nn import functional

from perceivers.nn import linear as module
from perceivers.nn.init import plain_linear
from perceivers.nn.linear import Linear, Multiplier, activated, added, pack_linears, product

ROWS = torch.randn(3, 700, 48, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["packed", "convolution", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PERCEIVERS_LINEAR", request.param)
    module._faster.cache_clear()
    yield request.param
    module._faster.cache_clear()


@pytest.fixture
def layer() -> Linear:
    torch.manual_seed(1)
    layer = plain_linear(48, 40).eval()
    nn.init.normal_(layer.bias)
    return layer


@pytest.fixture
def packed(layer: Linear, monkeypatch: pytest.MonkeyPatch) -> Linear:
    monkeypatch.setenv("PERCEIVERS_LINEAR", "packed")
    module._faster.cache_clear()
    pack_linears(layer)
    module._faster.cache_clear()
    if not layer.is_packed:
        pytest.skip("this PyTorch cannot pack weights")
    return layer


@torch.no_grad()
def test_every_way_gives_the_product(way: str, layer: Linear) -> None:
    expected = functional.linear(ROWS.double(), layer.weight.double(), layer.bias.double()).float()
    weight, bias = layer.weight.clone(), layer.bias
    pack_linears(layer)
    assert layer.is_packed == (way == "packed")
    for out in (layer(ROWS), product(ROWS, weight, bias), Multiplier(weight, bias)(ROWS)):
        torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    multiply, other = Multiplier(weight), torch.randn_like(expected)
    torch.testing.assert_close(multiply(ROWS), expected - bias, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(multiply(ROWS, other), expected - bias + other, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(multiply(ROWS, other, bias), expected + other, rtol=1e-5, atol=1e-5)
    hidden = functional.gelu(expected - bias, approximate="tanh")
    torch.testing.assert_close(multiply.activated(ROWS, "tanh"), hidden, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@torch.no_grad()
def test_what_follows_the_product_is_the_same_in_one_operation(packed: Linear, approximate: str) -> None:
    expected = functional.linear(ROWS, packed.dense_weight(), packed.bias)
    hidden = functional.gelu(expected, approximate=approximate)
    torch.testing.assert_close(activated(packed, ROWS, approximate), hidden, rtol=1e-5, atol=1e-5)
    other = torch.randn_like(expected)
    torch.testing.assert_close(added(packed, ROWS, other), other + expected, rtol=1e-5, atol=1e-5)


def test_packing_changes_no_parameter_seen_from_outside(layer: Linear, packed: Linear) -> None:
    fresh = plain_linear(48, 40)
    fresh.load_state_dict(packed.state_dict())
    assert sum(p.numel() for p in packed.parameters()) == sum(p.numel() for p in fresh.parameters())
    assert torch.equal(fresh.weight, packed.dense_weight())
    fresh.weight.data.fill_(1.0)
    packed.load_state_dict(fresh.state_dict())
    assert not packed.is_packed
    assert torch.equal(packed.weight, torch.ones(40, 48))


def test_training_gets_its_own_parameter_back(layer: Linear, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERCEIVERS_LINEAR", "packed")
    module._faster.cache_clear()
    weight, values = layer.weight, layer.weight.detach().clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    with torch.inference_mode():
        pack_linears(layer)
        layer(ROWS)
    layer.train()
    module._faster.cache_clear()
    assert layer.weight is weight
    assert torch.equal(weight, values)
    layer(ROWS).square().mean().backward()
    optimizer.step()
    assert not torch.equal(layer.weight, values)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_are_not_packed(packed: Linear, duplicate: object) -> None:
    assert callable(duplicate)
    other = duplicate(packed)
    assert isinstance(other, Linear)
    assert packed.is_packed
    assert not other.is_packed
    assert torch.equal(other.weight, packed.dense_weight())
    other(ROWS).sum().backward()


def test_other_number_formats_unpack(packed: Linear) -> None:
    packed.double()
    assert packed.weight.dtype == torch.float64
    assert packed(ROWS.double()).dtype == torch.float64


def test_gradients_flow_through_a_packed_layer_to_its_input(packed: Linear) -> None:
    rows = ROWS.clone().requires_grad_()
    packed(rows).sum().backward()
    assert rows.grad is not None
    torch.testing.assert_close(rows.grad[0, 0], packed.dense_weight().sum(dim=0))


def test_models_in_training_are_left_alone(layer: Linear) -> None:
    pack_linears(layer.train())
    assert not layer.is_packed


def test_unknown_ways_are_refused(monkeypatch: pytest.MonkeyPatch, layer: Linear) -> None:
    monkeypatch.setenv("PERCEIVERS_LINEAR", "fastest")
    module._faster.cache_clear()
    with pytest.raises(ValueError, match=r"PERCEIVERS_LINEAR \('fastest'\) must be one of \['packed'"):
        pack_linears(layer)
    module._faster.cache_clear()


def test_a_way_that_fails_or_errs_is_not_taken() -> None:
    def fails(weight: torch.Tensor, bias: torch.Tensor) -> module._Product:
        raise RuntimeError("no such operation")

    assert module._gain(fails, (8, 4, 4)) == 0
    assert module._gain(lambda weight, bias: lambda rows: rows @ weight.mT, (8, 4, 4)) == 0
    assert module._gain(lambda weight, bias: lambda rows: functional.linear(rows, weight, bias), (8, 4, 4)) > 0


@pytest.mark.parametrize(
    ("pairs", "gain"),
    [([(2.0, 5.0)] * 9 + [(3.0, 1.0)], 2.0), ([(2.0, 1.5)] * 9 + [(1.0, 3.0)], 1 / 1.5)],
    ids=["hides no gain", "makes no gain"],
)
def test_other_work_on_the_machine(
    monkeypatch: pytest.MonkeyPatch, pairs: list[tuple[float, float]], gain: float
) -> None:
    seconds = chain.from_iterable(chain(pairs, repeat(pairs[-1])))
    monkeypatch.setattr(module, "_seconds", lambda _: next(seconds))
    assert module._gain(lambda weight, bias: lambda rows: functional.linear(rows, weight, bias), (8, 4, 4)) == gain
