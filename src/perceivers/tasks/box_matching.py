"""Answers matched to objects one to one, and the loss of what is matched: DETR (arXiv:2005.12872), section 3.1."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from perceivers.tasks.base import Part
from perceivers.tasks.box_arithmetic import generalised_overlap, to_corners


@dataclass(frozen=True, kw_only=True)
class BoxLossConfig:
    """How much each part counts; the defaults are those of DETR.

    Args:
        class_weight: Of a class's probability in the cost of a match.
        distance_weight: Of the L1 distance of boxes, in the cost and in the loss.
        overlap_weight: Of their generalised overlap, in the cost and in the loss.
        no_object_weight: Of "no object" in the cross-entropy, where an object counts 1: most queries find nothing.
    """

    class_weight: float = 1.0
    distance_weight: float = 5.0
    overlap_weight: float = 2.0
    no_object_weight: float = 0.1

    def __post_init__(self) -> None:
        for name in ("class_weight", "distance_weight", "overlap_weight", "no_object_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must not be negative")


@dataclass(frozen=True)
class Match:
    """Which answer belongs to which object, over a whole batch; three equal rows of G indices.

    Args:
        image: Number of the image in the batch.
        query: Number of the answer in the image.
        target: Number of the object in the image.
    """

    image: Int[Tensor, "G"]
    query: Int[Tensor, "G"]
    target: Int[Tensor, "G"]


@torch.no_grad()
def match(
    scores: Float[Tensor, "B O E"],
    boxes: Float[Tensor, "B O 4"],
    classes: Int[Tensor, "B K"],
    targets: Float[Tensor, "B K 4"],
    config: BoxLossConfig,
) -> Match:
    """Give each object the answer that makes the sum of costs least (Hungarian method).

    Args:
        scores: Logits, the last class being "no object".
        boxes: (centre x, centre y, width, height) in [0, 1].
        classes: Ids of the objects' classes, padded with -1.
        targets: Their boxes, in the same form.
        config: The costs.

    Raises:
        ValueError: An image has more objects than there are answers.
    """
    kept = classes >= 0
    counts = kept.sum(dim=1).tolist()
    num_queries = scores.shape[1]
    if max(counts, default=0) > num_queries:
        raise ValueError(f"{max(counts)} objects in an image cannot be matched to {num_queries} queries")
    probabilities = scores.float().softmax(dim=-1)
    likely = probabilities.gather(2, classes.clamp(min=0)[:, None].expand(-1, num_queries, -1))  # (B, O, K)
    distance = torch.cdist(boxes.float(), targets.float(), p=1)
    shared = generalised_overlap(to_corners(boxes.float())[:, :, None], to_corners(targets.float())[:, None])
    cost = config.distance_weight * distance - config.class_weight * likely - config.overlap_weight * shared
    rows = [
        (i, *_assign(cost[i][:, kept[i]].cpu().numpy()), torch.nonzero(kept[i])[:, 0].cpu().numpy())
        for i, count in enumerate(counts)
        if count
    ]
    return _joined([(np.full(len(query), i), query, places[order]) for i, query, order, places in rows], scores.device)


def _assign(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise ValueError("training to find boxes needs scipy: pip install 'perceivers[detection]'") from error
    return linear_sum_assignment(cost)


def _joined(rows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], device: torch.device) -> Match:
    columns = [np.concatenate(parts) for parts in zip(*rows, strict=True)] if rows else [np.empty(0, np.int64)] * 3
    image, query, target = (torch.from_numpy(column.astype(np.int64)).to(device) for column in columns)
    return Match(image, query, target)


def box_loss(
    scores: Float[Tensor, "B O E"],
    boxes: Float[Tensor, "B O 4"],
    classes: Int[Tensor, "B K"],
    targets: Float[Tensor, "B K 4"],
    config: BoxLossConfig,
) -> tuple[Part, Part]:
    """Return the loss of a batch: weighted cross-entropy, and L1 and generalised overlap of the matched boxes.

    The first is a mean over answers, which weigh what their classes do, the second over the objects in the batch; see
    `match` for the arguments.
    """
    matched = match(scores, boxes, classes, targets, config)
    wanted = scores.new_full(scores.shape[:2], scores.shape[-1] - 1, dtype=torch.long)
    wanted[matched.image, matched.query] = classes[matched.image, matched.target]
    weights = scores.new_ones(scores.shape[-1])
    weights[-1] = config.no_object_weight
    class_loss = functional.cross_entropy(scores.flatten(0, 1), wanted.flatten(), weights)
    found, true = boxes[matched.image, matched.query], targets[matched.image, matched.target]
    distance = (found - true).abs().sum()
    apart = (1 - generalised_overlap(to_corners(found), to_corners(true))).sum()
    count = scores.new_tensor(len(matched.image))
    box_loss = (config.distance_weight * distance + config.overlap_weight * apart) / count.clamp(min=1)
    return Part(class_loss, weights[wanted].sum()), Part(box_loss, count)
