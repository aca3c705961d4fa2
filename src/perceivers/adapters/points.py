"""Clouds of points: coordinates in space in, in any order and any number."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perceivers.adapters.base import Batch, InputAdapter, InputConfig, Tokens, batch_entry, without_full_mask
from perceivers.nn.positions import FourierPositionConfig

_NUM_AXES = 3
# A cloud of usual size, for plans and benchmarks; the model itself reads any.
_EXAMPLE_POINTS = 1024


@dataclass(frozen=True, kw_only=True)
class PointInputConfig(InputConfig, kind="points"):
    """Points to Fourier features of where they lie, as for ModelNet40 (Perceiver, section 4.3).

    Args:
        num_bands: Frequencies an axis, spread evenly from 1 to half of `max_resolution`.
        max_resolution: Twice the highest frequency: how many places an axis over [-1, 1] has that can be told apart.
        feature_channels: Further values of each point, such as a normal or a colour; they go behind the features.
    """

    num_bands: int
    max_resolution: int
    feature_channels: int = 0

    def __post_init__(self) -> None:
        if self.num_bands < 1 or self.max_resolution < 1 or self.feature_channels < 0:
            raise ValueError(
                f"num_bands ({self.num_bands}) and max_resolution ({self.max_resolution}) must be positive, "
                f"feature_channels ({self.feature_channels}) must not be negative"
            )

    def build(self) -> "PointInput":
        """Make the module."""
        return PointInput(self)

    @classmethod
    def example(cls) -> "PointInputConfig":
        """Return a tiny config."""
        return cls(num_bands=3, max_resolution=8, feature_channels=2)


class PointInput(InputAdapter):
    """Reads `points` (B, P, 3), about in [-1, 1]; one token a point, and their order does not matter.

    When there, `points_keep_mask` (B, P) says which points are none, for clouds of different size. With
    `feature_channels`, `point_features` (B, P, K) are read as well.
    """

    def __init__(self, config: PointInputConfig) -> None:
        super().__init__()
        self.config = config
        self.entries = ("points", "point_features") if config.feature_channels else ("points",)
        positions = FourierPositionConfig(
            num_bands=config.num_bands, max_resolution=(config.max_resolution,) * _NUM_AXES
        )
        # Of a grid only the number of axes counts here: the coordinates come with the batch.
        self.positions = positions.build((1,) * _NUM_AXES)
        self.num_channels = self.positions.num_channels + config.feature_channels

    def forward(self, batch: Batch) -> Tokens:
        """Return the features of each point.

        Raises:
            ValueError: Points, features or mask have another shape than this class says.
        """
        points = batch_entry(batch, "points")
        if points.dim() != 3 or points.shape[2] != _NUM_AXES:
            raise ValueError(f"points of shape {tuple(points.shape)} must be (B, P, {_NUM_AXES})")
        values, content = self.positions.at(points, points), points
        if self.config.feature_channels:
            features = _fitting(batch_entry(batch, "point_features"), points, self.config.feature_channels)
            values, content = torch.cat([values, features], dim=-1), torch.cat([points, features], dim=-1)
        keep_mask = batch.get("points_keep_mask")
        if keep_mask is not None:
            if keep_mask.shape != points.shape[:2]:
                wanted = tuple(points.shape[:2])
                raise ValueError(f"points_keep_mask of shape {tuple(keep_mask.shape)} must be (B, P) = {wanted}")
            keep_mask = without_full_mask(keep_mask.bool())
        return Tokens(values, keep_mask, content, (points.shape[1],))

    def example_batch(self, batch_size: int) -> dict[str, Any]:
        """Return random points in the cube."""
        batch = {"points": torch.rand(batch_size, _EXAMPLE_POINTS, _NUM_AXES) * 2 - 1}
        if self.config.feature_channels:
            batch["point_features"] = torch.rand(batch_size, _EXAMPLE_POINTS, self.config.feature_channels)
        return batch


def _fitting(features: Tensor, points: Tensor, channels: int) -> Tensor:
    wanted = (*points.shape[:2], channels)
    if features.shape != torch.Size(wanted):
        raise ValueError(f"point_features of shape {tuple(features.shape)} must be (B, P, K) = {wanted}")
    return features
