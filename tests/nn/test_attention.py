"""Attention, its masks, and its maps written out."""

import pytest
import torch
from torch import Tensor

from golden_models import primitive
from perceivers.nn import Attention, attend, attention_weights


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
