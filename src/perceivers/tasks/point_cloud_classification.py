"""Point cloud classification: points in any order in, label scores out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float32
from PIL import Image
from torch import Tensor

from perceivers.adapters.points import PointInputConfig
from perceivers.model import PerceiverConfig
from perceivers.processing.heat_pictures import heat_on_points
from perceivers.processing.point_pictures import draw_points
from perceivers.processing.points import aligned, read_points
from perceivers.tasks.base import TASKS, Result, Rows, stack
from perceivers.tasks.classes import Classification, ClassificationSettings, target_of
from perceivers.tasks.drawing import beside, draw_bars
from perceivers.tasks.point_augment import PointAugmentConfig, augment_points

if TYPE_CHECKING:
    from typing_extensions import Self

_POINT_ENTRIES = ("points", "point_features", "points_keep_mask")


@dataclass(frozen=True, kw_only=True)
class PointCloudClassificationSettings(ClassificationSettings):
    """Settings of point cloud classification, besides those of every classification.

    Args:
        num_points: Of a larger cloud so many points are drawn, always the same ones; so many are drawn on the surface
            of a mesh. Smaller clouds are read as they are.
        place: Move the mean of the points to 0 and the farthest to distance 1, or leave them as they are.
        align: Turn each cloud so that its main axes lie along x, y and z, the shortest first: for clouds that may be
            turned any way. Coordinates only, so that no further values may go with them.
        augment: Random changes while training.
    """

    num_points: int = 1024
    place: Literal["unit-ball", "keep"] = "unit-ball"
    align: bool = False
    augment: PointAugmentConfig = field(default_factory=PointAugmentConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_points < 1:
            raise ValueError(f"num_points ({self.num_points}) must be at least 1")


@TASKS.register("point-cloud-classification")
class PointCloudClassification(Classification[PointCloudClassificationSettings]):
    """One label a cloud of points."""

    Settings = PointCloudClassificationSettings
    roles: ClassVar[tuple[str, ...]] = ("points", "label")
    input_role = "points"
    default_model = "points-small"

    def __init__(self, settings: PointCloudClassificationSettings, config: PerceiverConfig) -> None:
        super().__init__(settings, config)
        if not isinstance(config.inputs, PointInputConfig):
            raise ValueError(f"point-cloud-classification needs a model with points inputs, not '{config.inputs.kind}'")
        self.feature_channels = config.inputs.feature_channels
        if settings.align and self.feature_channels:
            raise ValueError(
                f"align turns coordinates only, and the model reads {self.feature_channels} further values of a point "
                f"(feature_channels), which may be directions"
            )

    @classmethod
    def example(cls) -> "tuple[Self, Rows]":
        """Return a tiny task on clouds of different size."""
        from perceivers.config import override
        from perceivers.zoo import ZOO

        noise = np.random.default_rng(0)
        rows = [{"points": noise.normal(size=(12 + i, 3)).astype(np.float32), "label": i % 3} for i in range(6)]
        config = override(ZOO["points-small"].config, {"encoder.num_latents": 4, "encoder.num_layers_per_block": 1})
        return cls.fit(config, ("a", "b", "c"), {"num_points": 16}), rows

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return `points` (P, 3) and, for models that read them, `point_features` (P, K).

        Raises:
            ValueError: The points cannot be read, or do not have the features that the model reads.
        """
        cloud = self._read(row[self.input_role])
        points, features = cloud[:, :3], cloud[:, 3:]
        if self.settings.place == "unit-ball":
            points = points - points.mean(axis=0)
            points = points / (float(np.linalg.norm(points, axis=1).max()) or 1.0)
        if self.settings.align:
            points = aligned(points)
        item: dict[str, Any] = {"points": points, "points_keep_mask": np.ones(len(points), bool)}
        if self.feature_channels:
            if features.shape[1] != self.feature_channels:
                raise ValueError(
                    f"points have {features.shape[1]} values besides their coordinates; "
                    f"the model reads {self.feature_channels}"
                )
            item["point_features"] = features
        return {**item, **target_of(row)}

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return `points` (B, P, 3), padded to the largest cloud, `points_keep_mask` (B, P) and what else there is."""
        most = max(len(item["points"]) for item in items)
        return {
            key: stack([{key: _padded(item[key], most)} for item in items], key)
            if key in _POINT_ENTRIES
            else stack(items, key)
            for key in items[0]
        }

    def augment(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Apply the random changes of `settings.augment` while training; features stay as they are."""
        if not training:
            return batch
        points, keep_mask = augment_points(batch["points"], batch["points_keep_mask"], self.settings.augment)
        return {**batch, "points": points, "points_keep_mask": keep_mask}

    def picture(self, value: Any, result: Result) -> Image.Image:
        """Draw the points that were read, from three sides, beside the scores."""
        return beside(draw_points(self._read(self.row_of(value)[self.input_role])), draw_bars(result))

    def draw_weights(self, item: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Image.Image:
        """Colour the points."""
        return heat_on_points(item["points"], weights[self.input_role])

    def _read(self, value: Any) -> Float32[np.ndarray, "P C"]:
        return read_points(value, self.settings.num_points)


def _padded(array: np.ndarray, length: int) -> np.ndarray:
    return np.pad(array, [(0, length - len(array)), *[(0, 0)] * (array.ndim - 1)])
