"""Arithmetic of boxes: two forms, overlap, generalised overlap, and the pruning of duplicates."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def to_corners(boxes: Float[Tensor, "*K 4"]) -> Float[Tensor, "*K 4"]:
    """Turn (centre x, centre y, width, height) into (xmin, ymin, xmax, ymax)."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def to_centres(corners: Float[Tensor, "*K 4"]) -> Float[Tensor, "*K 4"]:
    """Turn (xmin, ymin, xmax, ymax) into (centre x, centre y, width, height)."""
    low, high = corners[..., :2], corners[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def areas(corners: Float[Tensor, "*K 4"]) -> Float[Tensor, "*K"]:
    """Return the area of each box."""
    return (corners[..., 2:] - corners[..., :2]).clamp(min=0).prod(dim=-1)


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return intersection and union of boxes whose leading axes broadcast."""
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    intersection = (high - low).clamp(min=0).prod(dim=-1)
    return intersection, areas(a) + areas(b) - intersection


def overlap(a: Float[Tensor, "*K 4"], b: Float[Tensor, "*L 4"]) -> Tensor:
    """Return the intersection over union of corner boxes, in [0, 1]; leading axes broadcast."""
    intersection, union = _overlap(a, b)
    return intersection / union.clamp(min=torch.finfo(union.dtype).tiny)


def generalised_overlap(a: Float[Tensor, "*K 4"], b: Float[Tensor, "*L 4"]) -> Tensor:
    """Return the generalised intersection over union of corner boxes, in [-1, 1]; leading axes broadcast.

    From the overlap is taken the share of the smallest box around both that neither covers, so that boxes apart still
    have a direction to each other (arXiv:1902.09630).
    """
    intersection, union = _overlap(a, b)
    tiny = torch.finfo(union.dtype).tiny
    low = torch.minimum(a[..., :2], b[..., :2])
    high = torch.maximum(a[..., 2:], b[..., 2:])
    hull = (high - low).prod(dim=-1).clamp(min=tiny)
    return intersection / union.clamp(min=tiny) - (hull - union) / hull


def keep_best(
    corners: Float[Tensor, "K 4"], classes: Int[Tensor, "K"], scores: Float[Tensor, "K"], most_overlap: float
) -> Bool[Tensor, "K"]:
    """Mark the boxes that no better one of their class overlaps by more than `most_overlap`.

    Greedy: a box that was itself left out does not push out others.
    """
    rivals = (overlap(corners[:, None], corners[None]) > most_overlap) & (classes[:, None] == classes[None])
    kept = torch.ones(len(corners), dtype=torch.bool, device=corners.device)
    for i in scores.argsort(descending=True, stable=True).tolist():
        if kept[i]:
            kept &= ~rivals[i]
            kept[i] = True
    return kept
