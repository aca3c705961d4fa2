"""Recording attention maps leaves the model alone and sees what it does."""

import pytest
import torch
from torch import nn

from perceivers.nn import CrossAttention, LayerConfig, SelfAttention, record_attention, record_calls


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.read = CrossAttention(LayerConfig(num_heads=2), q_channels=8, kv_channels=6)
        self.think = SelfAttention(LayerConfig(num_heads=4), channels=8)

    def forward(self, x_q: torch.Tensor, x_kv: torch.Tensor, keep_mask: torch.Tensor) -> torch.Tensor:
        return self.think(self.think(self.read(x_q, x_kv, keep_mask)))


def test_maps_are_recorded_by_name_and_the_output_is_unchanged() -> None:
    model = Reader()
    keep_mask = torch.tensor([[[True, True, False]], [[False, False, False]]])
    args = (torch.randn(2, 5, 8), torch.randn(2, 3, 6), keep_mask)
    expected = model(*args)
    with record_attention(model) as maps:
        torch.testing.assert_close(model(*args), expected, rtol=0, atol=0)
    assert {name: len(seen) for name, seen in maps.maps.items()} == {"read.attention": 1, "think.attention": 2}
    weights = maps["read.attention"]
    assert weights.shape == (2, 2, 5, 3)
    assert (weights[0, ..., 2] == 0).all()
    assert (weights[1] == 0).all()
    torch.testing.assert_close(weights[0].sum(dim=-1), torch.ones(2, 5))
    with pytest.raises(ValueError, match="attention 'x' was not recorded; recorded ="):
        maps["x"]


def test_hooks_are_removed_and_prefixes_choose() -> None:
    model = Reader()
    args = (torch.randn(1, 5, 8), torch.randn(1, 3, 6), torch.ones(1, 1, 3, dtype=torch.bool))
    with record_attention(model, "think") as maps:
        model(*args)
    model(*args)
    assert {name: len(seen) for name, seen in maps.maps.items()} == {"think.attention": 2}
    with pytest.raises(ValueError, match="no attention module starts with 'decode'"), record_attention(model, "decode"):
        pass


def test_calls_are_kept_in_order_and_multiply_like_their_matrices() -> None:
    model = Reader()
    keep_mask = torch.rand(2, 5, 3) > 0.3
    args = (torch.randn(2, 5, 8), torch.randn(2, 3, 6), keep_mask)
    with record_calls(model) as calls, record_attention(model) as maps:
        model(*args)
    assert [call.module for call in calls] == [model.read.attention, model.think.attention, model.think.attention]
    recorded = [*maps.maps["read.attention"], *maps.maps["think.attention"]]
    mass = torch.rand(2, 4, 5)
    for call, weights in zip(calls, recorded, strict=True):
        for chunk_size in (1, 2, 5, None):
            torch.testing.assert_close(call.pull(mass, chunk_size), mass @ weights.mean(dim=1))
    assert not calls[0].x_q.requires_grad
    count = len(calls)
    model(*args)
    assert len(calls) == count
