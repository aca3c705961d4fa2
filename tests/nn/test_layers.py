"""Layers: widths, residual, dropout, and the weights that they start from."""

from typing import Literal

import pytest
import torch

from perceivers.nn import MLP, CrossAttention, LayerConfig, SelfAttention
from perceivers.nn.init import plain_linear, scaled_linear


@pytest.mark.parametrize(
    ("shape", "qk_channels", "v_channels", "expected"),
    [("kv", None, None, (6, 6)), ("q", None, None, (8, 8)), ("q", 4, None, (4, 4)), ("kv", None, 2, (6, 2))],
)
def test_default_widths(
    shape: Literal["q", "kv"], qk_channels: int | None, v_channels: int | None, expected: tuple[int, int]
) -> None:
    config = LayerConfig(num_heads=2, qk_channels=qk_channels, v_channels=v_channels)
    layer = CrossAttention(config, q_channels=8, kv_channels=6, shape_for_attention=shape)
    attention = layer.attention
    assert (attention.query.out_features, attention.value.out_features) == expected
    assert attention.output.out_features == 8


def test_cross_attention_without_residual_forgets_its_queries() -> None:
    """With nothing to read and no residual, only biases are left."""
    layer = CrossAttention(LayerConfig(num_heads=2), q_channels=8, kv_channels=6, query_residual=False)
    nothing = torch.zeros(1, 1, 3, dtype=torch.bool)
    out = layer(torch.randn(1, 5, 8), torch.randn(1, 3, 6), nothing)
    torch.testing.assert_close(out, out[:, :1].expand_as(out))


def test_dropout_only_while_training() -> None:
    x = torch.randn(2, 4, 8)
    for config in (LayerConfig(num_heads=2, dropout=0.5), LayerConfig(num_heads=2, attention_dropout=0.5)):
        layer = SelfAttention(config, channels=8)
        assert not torch.equal(layer(x), layer(x))
        layer.eval()
        torch.testing.assert_close(layer(x), layer(x), rtol=0, atol=0)


def test_gelu_forms_differ_by_little() -> None:
    torch.manual_seed(0)
    tanh = MLP(8, widening_factor=2)
    erf = MLP(8, widening_factor=2, activation="gelu_erf")
    erf.load_state_dict(tanh.state_dict())
    x = torch.randn(1, 50, 8)
    difference = (tanh(x) - erf(x)).abs().max()
    assert 1e-6 < difference < 1e-2


# Widths of the released models; the statistics are those of the original's own initialiser.
# Each case: attention or MLP weight (true deviation 1/sqrt(fan in)), input width, deviation, largest value.
SCALED = [(1280, 0.02795, 0.06355), (1024, 0.03125, 0.07105), (768, 0.03610, 0.08204), (512, 0.04420, 0.10048)]
PLAIN = [(1024, 0.02748, 0.0625), (256, 0.05498, 0.125)]


@pytest.mark.parametrize(("channels", "std", "largest"), SCALED)
def test_attention_and_mlp_weights_start_as_the_originals(channels: int, std: float, largest: float) -> None:
    torch.manual_seed(0)
    check_start(scaled_linear(channels, 1024, 1.0), std, largest)


@pytest.mark.parametrize(("channels", "std", "largest"), PLAIN)
def test_other_linear_weights_start_as_the_originals(channels: int, std: float, largest: float) -> None:
    torch.manual_seed(0)
    check_start(plain_linear(channels, 1000), std, largest)


def check_start(linear: torch.nn.Linear, std: float, largest: float) -> None:
    weight = linear.weight.detach()
    assert float(weight.std()) == pytest.approx(std, rel=0.01)
    assert float(weight.mean()) == pytest.approx(0, abs=5e-4)
    # Values are cut at two deviations: with so many drawn, the largest lies just below.
    assert float(weight.abs().max()) == pytest.approx(largest, rel=2e-3)
    assert (linear.bias == 0).all()


def test_linear_may_start_from_zero() -> None:
    assert (plain_linear(8, 2, zeros=True).weight == 0).all()
