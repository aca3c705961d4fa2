"""Attention, its masks, its maps written out, and what its weights start from."""

from typing import Literal

import pytest
import torch
from torch import Tensor

from golden_models import primitive
from perceivers.nn import MLP, Attention, CrossAttention, LayerConfig, SelfAttention, attend, attention_weights
from perceivers.nn.init import plain_linear, scaled_linear


def heads_first(array: object) -> Tensor:
    """(B, N, H, K) as the golden has it -> (B, H, N, K)."""
    return torch.as_tensor(array).transpose(1, 2)


def merged(x: Tensor) -> Tensor:
    """(B, H, O, V) -> (B, O, H V)."""
    return x.transpose(1, 2).flatten(2)


def test_attend_matches_the_original() -> None:
    golden = primitive("attend")
    q, k, v = (heads_first(golden[name]) for name in ("q", "k", "v"))
    mask = torch.from_numpy(golden["mask"]).bool()
    assert (~mask.any(dim=-1)).any(), "the golden has a row that attends to nothing"
    torch.testing.assert_close(merged(attend(q, k, v)), torch.from_numpy(golden["out_nomask"]))
    torch.testing.assert_close(merged(attend(q, k, v, mask)), torch.from_numpy(golden["out_mask"]))
    torch.testing.assert_close(merged(attention_weights(q, k) @ v), torch.from_numpy(golden["out_nomask"]))
    torch.testing.assert_close(merged(attention_weights(q, k, mask) @ v), torch.from_numpy(golden["out_mask"]))


@pytest.mark.parametrize("mask_shape", [(3, 5, 7), (3, 1, 7), (3, 5, 1), (3, 1, 1)])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 1.0])
def test_attend_equals_the_plain_formula(mask_shape: tuple[int, ...], keep: float) -> None:
    generator = torch.Generator().manual_seed(round(10 * keep))
    q = torch.randn(3, 2, 5, 4, generator=generator, dtype=torch.float64)
    k = torch.randn(3, 2, 7, 4, generator=generator, dtype=torch.float64)
    v = torch.randn(3, 2, 7, 6, generator=generator, dtype=torch.float64)
    mask = torch.rand(mask_shape, generator=generator) < keep
    torch.testing.assert_close(attend(q, k, v, mask), attention_weights(q, k, mask) @ v)
    filled = attend(q, k, v, mask, empty_rows="mean")
    torch.testing.assert_close(filled, attention_weights(q, k, mask, "mean") @ v)
    empty = ~mask.any(dim=-1, keepdim=True)[:, None]
    expected = torch.where(empty, v.mean(dim=2, keepdim=True), attend(q, k, v, mask))
    torch.testing.assert_close(filled, expected)


@pytest.mark.parametrize("length", [1, 2])
def test_mask_over_short_inputs(length: int) -> None:
    """A single element is told apart from a mask that spans all elements."""
    q, k, v = torch.randn(2, 1, 3, 4), torch.randn(2, 1, length, 4), torch.randn(2, 1, length, 4)
    mask = torch.ones(2, 1, length, dtype=torch.bool)
    mask[0] = False
    out = attend(q, k, v, mask)
    assert (out[0] == 0).all()
    torch.testing.assert_close(out[1], attend(q, k, v)[1])


def test_hidden_elements_do_not_matter_and_leave_no_nan() -> None:
    q, k, v = torch.randn(1, 1, 2, 4), torch.randn(1, 1, 3, 4), torch.randn(1, 1, 3, 4)
    mask = torch.tensor([[[True, True, False], [False, False, False]]])
    changed = v.clone()
    changed[:, :, 2] = 100.0
    torch.testing.assert_close(attend(q, k, v, mask), attend(q, k, changed, mask))
    q.requires_grad_()
    attend(q, k, v, mask).sum().backward()
    assert q.grad is not None
    assert q.grad.isfinite().all()
    assert (q.grad[:, :, 1] == 0).all()


def test_weights_are_a_distribution() -> None:
    mask = torch.rand(3, 5, 7) < 0.3
    weights = attention_weights(torch.randn(3, 2, 5, 4), torch.randn(3, 2, 7, 4), mask)
    anything = mask.any(dim=-1)[:, None].expand(-1, 2, -1)
    torch.testing.assert_close(weights.sum(dim=-1), anything.float())


def test_attention_needs_divisible_widths() -> None:
    widths = {"q_channels": 4, "kv_channels": 4, "output_channels": 4, "num_heads": 3}
    with pytest.raises(ValueError, match=r"qk_channels \(10\) must be divisible by num_heads \(3\)"):
        Attention(qk_channels=10, v_channels=9, **widths)
    with pytest.raises(ValueError, match=r"v_channels \(10\) must be divisible by num_heads \(3\)"):
        Attention(qk_channels=9, v_channels=10, **widths)


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
