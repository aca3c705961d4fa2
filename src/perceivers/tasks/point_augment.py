"""Random changes of clouds of points while training: turns, size, blur, and points that are missing."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PointAugmentConfig:
    """Which random changes; the default is none. Each cloud draws its own.

    Args:
        rotate: Turn about the vertical axis z, or any way, as likely each.
        scale: Each axis is stretched by between `1 - scale` and `1 + scale`.
        jitter: Deviation of what is added to each coordinate.
        dropout: Largest share of the points that is left out.
    """

    rotate: Literal["none", "vertical", "any"] = "none"
    scale: float = 0.0
    jitter: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("scale", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must lie between 0 and 1")
        if self.jitter < 0:
            raise ValueError(f"jitter ({self.jitter}) must not be negative")


def augment_points(
    points: Float[Tensor, "B P 3"], keep_mask: Bool[Tensor, "B P"], config: PointAugmentConfig
) -> tuple[Float[Tensor, "B P 3"], Bool[Tensor, "B P"]]:
    """Return changed coordinates and masks; at least one point of each cloud stays.

    All randomness comes from torch's global generator, so that a resumed run repeats it.
    """
    if config.scale:
        points = points * (1 + config.scale * (2 * torch.rand(len(points), 1, 3) - 1))
    if config.rotate != "none":
        points = points @ _TURNS[config.rotate](len(points)).to(points.dtype)
    if config.jitter:
        points = points + config.jitter * torch.randn_like(points)
    if config.dropout:
        chance = torch.rand(points.shape[:2]).masked_fill(~keep_mask, -1.0)
        share = config.dropout * torch.rand(len(points), 1)
        keep_mask = keep_mask & ((chance >= share) | (chance == chance.amax(dim=1, keepdim=True)))
    return points, keep_mask


def vertical_turns(count: int) -> Float[Tensor, "B 3 3"]:
    """Return turns about z by random angles."""
    angle = 2 * torch.pi * torch.rand(count)
    turns = torch.eye(3).repeat(count, 1, 1)
    turns[:, 0, 0] = turns[:, 1, 1] = angle.cos()
    turns[:, 0, 1], turns[:, 1, 0] = angle.sin(), -angle.sin()
    return turns


def any_turns(count: int) -> Float[Tensor, "B 3 3"]:
    """Return turns drawn evenly from all there are: those of quaternions with random directions."""
    w, x, y, z = torch.nn.functional.normalize(torch.randn(count, 4), dim=1).unbind(dim=1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


_TURNS = {"vertical": vertical_turns, "any": any_turns}
