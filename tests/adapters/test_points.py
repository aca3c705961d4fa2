"""Clouds of points: features by hand, order, size, and what is refused."""

import numpy as np
import pytest
import torch

from model_examples import model_around, seeded
from perceivers.adapters.points import PointInputConfig
from perceivers.config import override

PLAIN = PointInputConfig(num_bands=3, max_resolution=8)


def test_features_by_hand() -> None:
    points = torch.tensor([[[0.25, -0.5, 1.0], [0.0, 0.1, -0.9]]])
    tokens = PLAIN.build()({"points": points})
    bands = np.array([1.0, 2.5, 4.0])
    for point, token in zip(points[0].double().numpy(), tokens.values[0], strict=True):
        phases = np.pi * np.outer(point, bands).ravel()
        expected = np.concatenate([point, np.sin(phases), np.cos(phases)])
        np.testing.assert_allclose(token.numpy(), expected, atol=1e-6)
    assert torch.equal(tokens.content, points)


def test_the_order_of_points_does_not_matter() -> None:
    model = seeded(model_around(inputs=PointInputConfig.example())).eval()
    batch = {"points": torch.rand(2, 40, 3) * 2 - 1, "point_features": torch.rand(2, 40, 2)}
    batch["points_keep_mask"] = torch.rand(2, 40) < 0.8
    order = torch.randperm(40)
    with torch.no_grad():
        answers = [model(batch), model({name: value[:, order] for name, value in batch.items()})]
    torch.testing.assert_close(*answers, rtol=1e-5, atol=1e-6)


def test_points_that_are_none_do_not_count() -> None:
    model = seeded(model_around(inputs=PLAIN)).eval()
    points = torch.rand(1, 10, 3)
    padded = torch.cat([points, torch.full((1, 5, 3), 0.3)], dim=1)
    keep_mask = torch.arange(15)[None] < 10
    with torch.no_grad():
        torch.testing.assert_close(model({"points": padded, "points_keep_mask": keep_mask}), model({"points": points}))
    assert PLAIN.build()({"points": points, "points_keep_mask": keep_mask[:, :10]}).keep_mask is None


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({}, "the batch has no 'points'"),
        ({"points": torch.zeros(1, 5, 2)}, r"points of shape \(1, 5, 2\) must be \(B, P, 3\)"),
        ({"points": torch.zeros(1, 5, 3)}, "the batch has no 'point_features'"),
        (
            {"points": torch.zeros(1, 5, 3), "point_features": torch.zeros(1, 5, 3)},
            r"point_features of shape \(1, 5, 3\) must be \(B, P, K\) = \(1, 5, 2\)",
        ),
        (
            {
                "points": torch.zeros(1, 5, 3),
                "point_features": torch.zeros(1, 5, 2),
                "points_keep_mask": torch.ones(1, 4),
            },
            r"points_keep_mask of shape \(1, 4\) must be \(B, P\) = \(1, 5\)",
        ),
    ],
)
def test_wrong_batches_are_refused(batch: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PointInputConfig.example().build()(batch)


@pytest.mark.parametrize("change", [{"num_bands": 0}, {"max_resolution": 0}, {"feature_channels": -1}])
def test_what_configs_refuse(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        override(PLAIN, change)
