"""Layers that keep less give the same results and gradients, of both orders."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from perceivers.nn import frugal, linear
from perceivers.nn import layers as module
from perceivers.nn.frugal import activated_product, normed_products
from perceivers.nn.init import plain_linear
from perceivers.nn.layers import LayerConfig, SelfAttention

CHANNELS = 12


def rows(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


def layer(**settings: Any) -> SelfAttention:
    torch.manual_seed(0)
    config = LayerConfig(num_heads=2, widening_factor=2, **settings)
    built = SelfAttention(config, channels=CHANNELS).double()
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.5)
    return built


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and layers keep everything."""
    return lambda: monkeypatch.setattr(module, "can_be_frugal", lambda *_: False)


def test_first_and_second_derivatives() -> None:
    torch.manual_seed(1)
    norm = nn.LayerNorm(5).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    layers = [plain_linear(5, width).double() for width in (3, 4)]
    narrow = plain_linear(5, 2).double()

    def products(x: Tensor, scale: Tensor, weight: Tensor, bias: Tensor, other: Tensor) -> tuple[Tensor, ...]:
        # `gradcheck` moves the numbers of its arguments in place: modules see it.
        assert scale is norm.weight
        assert weight is layers[1].weight
        assert bias is narrow.bias
        return *normed_products(x, norm, layers), activated_product(x, narrow, "tanh", other)

    arguments = (rows(2, 3, 5), norm.weight, layers[1].weight, narrow.bias, rows(2, 3, 2))
    assert torch.autograd.gradcheck(products, arguments)
    assert torch.autograd.gradgradcheck(products, arguments)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_a_layer_trains_as_the_plain_one(plain: Callable[[], None], dropout: float) -> None:
    kept: list[int] = []

    def run() -> tuple[Tensor, list[Tensor]]:
        built, x = layer(dropout=dropout, attention_dropout=dropout).train(), rows(2, 4, CHANNELS)
        torch.manual_seed(5)
        sizes: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = built(x)
        kept.append(sum(sizes.values()))
        return out, list(torch.autograd.grad(out.square().sum(), [x, *built.parameters()]))

    frugal, gradients = run()
    plain()
    expected, truth = run()
    torch.testing.assert_close(frugal, expected)
    for ours, theirs in zip(gradients, truth, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert kept[0] < kept[1]


def test_without_memory_a_layer_is_traced_as_it_is_written() -> None:
    with torch.device("meta"):
        assert layer().to("meta")(torch.empty(2, 4, CHANNELS, dtype=torch.float64)).shape == (2, 4, CHANNELS)


def test_frozen_layers_get_no_gradient() -> None:
    built, x = layer(), rows(2, 4, CHANNELS)
    built.attention.key.requires_grad_(False)
    built.norm.requires_grad_(False)
    built.mlp.narrow.weight.requires_grad_(False)
    built(x).sum().backward()
    assert {name for name, p in built.named_parameters() if p.grad is None} == {
        *("norm.weight", "norm.bias", "attention.key.weight", "attention.key.bias", "mlp.narrow.weight")
    }


@pytest.mark.parametrize("name", ["attention", "attention.query", "mlp", "mlp.narrow", "norm"])
def test_whoever_watches_a_module_sees_its_call(name: str) -> None:
    built, seen = layer(), []
    built.get_submodule(name).register_forward_hook(lambda *_: seen.append(name))
    built(rows(2, 4, CHANNELS))
    built.eval()
    with torch.no_grad():
        built(rows(2, 4, CHANNELS))
    assert seen == [name, name]


def test_a_layer_may_stand_in_for_another() -> None:
    """Adapters wrap linear layers in modules of their own."""
    built, x = layer(), rows(2, 4, CHANNELS)
    expected = built(x)
    for parent in (built.attention, built.mlp):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, nn.Sequential(child))
    torch.testing.assert_close(built(x), expected)
    with torch.no_grad():
        torch.testing.assert_close(built.eval()(x), expected)


@pytest.fixture
def packing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have weights packed, however few the rows."""
    monkeypatch.setenv("PERCEIVERS_LINEAR", "packed")
    monkeypatch.setattr(frugal, "_FEWEST_ROWS", 1)
    linear._faster.cache_clear()
    if not linear.packs(torch.zeros(2, 2)):
        pytest.skip("this PyTorch cannot pack weights")
    yield
    linear._faster.cache_clear()


def run_twice(built: SelfAttention, packed: bool) -> tuple[Tensor, Tensor]:
    """Return the output of a layer that runs twice, and its input."""
    x = rows(2, 4, CHANNELS).detach().float().requires_grad_()
    with frugal.packed_while(built, 16) if packed else nullcontext():
        assert (built.mlp.widen.beside is not None) == packed
        return built(built(x)), x


@pytest.mark.usefixtures("packing")
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_packed_weights_train_as_plain_ones(dropout: float) -> None:
    built = layer(dropout=dropout).float().train()
    found: list[list[Tensor]] = []
    for packed in (False, True):
        torch.manual_seed(3)
        # The fused attention has no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            out, x = run_twice(built, packed)
        assert built.mlp.widen.beside is None
        (first,) = torch.autograd.grad(out.square().sum(), x, retain_graph=True, create_graph=True)
        second = torch.autograd.grad(first.square().sum(), x, retain_graph=True)
        found.append([out, first, *second, *torch.autograd.grad(out.sum(), list(built.parameters()))])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.detach().abs().max()))


@pytest.mark.usefixtures("packing")
def test_weights_may_not_change_before_the_way_back() -> None:
    built = layer().float()
    out, _ = run_twice(built, packed=True)
    with torch.no_grad():
        built.attention.value.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.usefixtures("packing")
def test_packed_weights_go_whatever_happens() -> None:
    built = layer().float()
    with pytest.raises(ValueError, match="stop"), frugal.packed_while(built, 16):
        raise ValueError("stop")
    assert built.attention.query.beside is None


@pytest.mark.usefixtures("packing")
def test_gradients_flow_through_layers_packed_for_inference() -> None:
    built, x = layer().float().eval(), rows(2, 4, CHANNELS).detach().float().requires_grad_()
    (expected,) = torch.autograd.grad(built(x).square().sum(), x)
    linear.pack_linears(built)
    assert built.mlp.widen.is_packed
    (found,) = torch.autograd.grad(built(x).square().sum(), x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
