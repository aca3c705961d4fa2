"""Masked auto-encoding of clouds of points: hidden points come back, asked for by the cell of space they lie in."""

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from perceivers.adapters import RawTokens
from perceivers.adapters.points import PointInputConfig
from perceivers.processing.point_pictures import draw_views
from perceivers.tasks.base import Metrics, Step
from perceivers.tasks.drawing import below, captioned
from perceivers.tasks.masked_modalities import MODALITIES, Modality, Restored
from perceivers.tasks.scores import means

_AXES = 3
# Cells of space along each axis of [-1, 1].
_CELLS = 8
_KEPT, _HIDDEN = (0.23, 0.47, 0.71), (0.90, 0.40, 0.13)


class PointModality(Modality[PointInputConfig]):
    """Points, which have no places but their own: asked for by a cell, the model says where in it the point lies."""

    read_by: ClassVar[str] = "point-cloud-classification"
    mask_share: ClassVar[float] = 0.6
    score: ClassVar[str] = "distance"
    higher_is_better: ClassVar[bool] = False
    in_order: ClassVar[bool] = False

    @property
    def grid(self) -> tuple[int, ...]:
        """The cells of space."""
        return (_CELLS,) * _AXES

    def ask(self, raw: RawTokens, where: Int[Tensor, "B K"]) -> tuple[Int[Tensor, "B K"], Tensor]:
        """Return the cell of each hidden point, and where the point lies from its middle, in halves of the cell."""
        _, points = super().ask(raw, where)
        places, others = points[..., :_AXES], points[..., _AXES:]
        steps = ((places + 1) * (_CELLS / 2)).floor().long().clamp(0, _CELLS - 1)
        cells = (steps[..., 0] * _CELLS + steps[..., 1]) * _CELLS + steps[..., 2]
        return cells, torch.cat([(places - _middles(cells, places)) * _CELLS, others], dim=-1)

    def metrics(self) -> Metrics:
        """Return the mean distance between hidden points and answers; the cloud has a radius of about 1."""
        return means(self.score)

    def update(self, metrics: Metrics, step: Step) -> None:
        """Count one batch."""
        distances = (step.outputs - step.targets)[..., :_AXES].norm(dim=-1) / _CELLS
        metrics.update(distances[~distances.isnan()])

    def fill(
        self, values: Tensor, hidden: Int[Tensor, "K"], answers: Float[Tensor, "K E"], where: Int[Tensor, "K"]
    ) -> Tensor:
        """Put the answers where the middles of their cells are."""
        places = _middles(where, answers) + answers[:, :_AXES] / _CELLS
        return super().fill(values, hidden, torch.cat([places, answers[:, _AXES:]], dim=-1), where)

    def blank(self, values: Tensor, hidden: Bool[Tensor, "M"]) -> Tensor:
        """Return the points that are left."""
        return values[~hidden]

    def present(self, values: Tensor, grid_shape: tuple[int, ...]) -> Float[np.ndarray, "P C"]:
        """Return the points."""
        return values.float().cpu().numpy()

    def draw(self, result: Restored) -> Image.Image:
        """Draw the clouds from three sides, what was hidden in another colour."""
        colours = np.where(result.hidden[:, None], _HIDDEN, _KEPT)
        clouds = {
            "original": (result.original, colours),
            "what was read": (result.shown, colours[~result.hidden]),
            "restored": (result.restored, colours),
        }
        # The same corners in all, so that the three are drawn at one scale.
        pictures = [
            captioned(draw_views(points, dict.fromkeys(("front", "side", "top"), own), frame=result.original), name)
            for name, (points, own) in clouds.items()
        ]
        return below(pictures)


MODALITIES[PointInputConfig] = PointModality


def _middles(cells: Int[Tensor, "*K"], like: Tensor) -> Float[Tensor, "*K 3"]:
    steps = torch.stack(torch.unravel_index(cells, (_CELLS,) * _AXES), dim=-1)
    return (steps.to(like.dtype) + 0.5) * (2 / _CELLS) - 1
