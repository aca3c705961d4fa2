"""Matching and loss against all assignments tried out, and against values worked out by hand."""

from itertools import permutations

import pytest
import torch
from torch import Tensor

from perceivers.tasks.box_arithmetic import generalised_overlap, to_corners
from perceivers.tasks.box_matching import BoxLossConfig, box_loss, match

CONFIG = BoxLossConfig()


def random_case(seed: int, counts: tuple[int, ...] = (3, 0, 2), num_queries: int = 5) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)

    def boxes(*shape: int) -> Tensor:
        return 0.2 + 0.6 * torch.rand(*shape, 4, generator=generator)

    classes = torch.full((len(counts), max(counts)), -1)
    for i, count in enumerate(counts):
        classes[i, :count] = torch.randint(3, (count,), generator=generator)
    scores = torch.randn(len(counts), num_queries, 4, generator=generator)
    return scores, boxes(len(counts), num_queries), classes, boxes(*classes.shape)


def cost_of(scores: Tensor, boxes: Tensor, classes: Tensor, targets: Tensor, queries: tuple[int, ...]) -> float:
    """Return the cost of one image when object i is answered by `queries[i]`, pair by pair."""
    total = 0.0
    for target, query in enumerate(queries):
        likely = scores[query].softmax(dim=0)[classes[target]]
        distance = (boxes[query] - targets[target]).abs().sum()
        shared = generalised_overlap(to_corners(boxes[query]), to_corners(targets[target]))
        total += float(5 * distance - likely - 2 * shared)
    return total


@pytest.mark.parametrize("seed", range(5))
def test_no_other_match_costs_less(seed: int) -> None:
    scores, boxes, classes, targets = random_case(seed)
    found = match(scores, boxes, classes, targets, CONFIG)
    for i, count in enumerate((3, 0, 2)):
        case = scores[i], boxes[i], classes[i], targets[i]
        own = found.image == i
        assert sorted(found.target[own].tolist()) == list(range(count))
        by_target = dict(zip(found.target[own].tolist(), found.query[own].tolist(), strict=True))
        ours = cost_of(*case, tuple(by_target[j] for j in range(count)))
        best = min(cost_of(*case, queries) for queries in permutations(range(5), count))
        assert ours == pytest.approx(best, abs=1e-5)


def loss_of(scores: Tensor, boxes: Tensor, classes: Tensor, targets: Tensor, config: BoxLossConfig = CONFIG) -> Tensor:
    return torch.stack([part.mean for part in box_loss(scores, boxes, classes, targets, config)]).sum()


def test_the_order_of_the_objects_does_not_matter() -> None:
    scores, boxes, classes, targets = random_case(7, counts=(4, 4))
    order = torch.tensor([2, 0, 3, 1])
    loss = loss_of(scores, boxes, classes, targets)
    torch.testing.assert_close(loss_of(scores, boxes, classes[:, order], targets[:, order]), loss)
    # Padding in between is passed over, too.
    wider = torch.cat([classes[:, :1], torch.full((2, 1), -1), classes[:, 1:]], dim=1)
    apart = torch.cat([targets[:, :1], torch.rand(2, 1, 4), targets[:, 1:]], dim=1)
    torch.testing.assert_close(loss_of(scores, boxes, wider, apart), loss)


def test_the_loss_of_one_object_by_hand() -> None:
    scores = torch.tensor([[[2.0, 0.0], [0.0, 0.0]]])
    boxes = torch.tensor([[[0.5, 0.5, 0.4, 0.4], [0.9, 0.9, 0.1, 0.1]]])
    targets = torch.tensor([[[0.6, 0.5, 0.4, 0.4]]])
    loss = loss_of(scores, boxes, torch.tensor([[0]]), targets)
    # The first answer is matched: -ln of 0.8808 counts 1; the second says "no object" with 0.5, which counts 0.1.
    class_loss = (0.126928 * 1 + 0.693147 * 0.1) / 1.1
    # Shifted by 0.1: L1 of 0.1, overlap 0.3 * 0.4 in 0.5 * 0.4, and the hull has nothing else in it.
    assert loss.item() == pytest.approx(class_loss + 5 * 0.1 + 2 * (1 - 0.12 / 0.2), abs=1e-5)
    weights = BoxLossConfig(distance_weight=0.0, overlap_weight=0.0, no_object_weight=1.0)
    only = loss_of(scores, boxes, torch.tensor([[0]]), targets, weights)
    assert only.item() == pytest.approx((0.126928 + 0.693147) / 2, abs=1e-5)
    # What each part is a mean over: an object and a tenth, and one object.
    parts = box_loss(scores, boxes, torch.tensor([[0]]), targets, CONFIG)
    assert [part.count.item() for part in parts] == pytest.approx([1.1, 1])


def test_images_without_objects_teach_that_there_is_none() -> None:
    scores, boxes, _, _ = random_case(3)
    scores.requires_grad_()
    loss = loss_of(scores, boxes, torch.zeros(3, 0, dtype=torch.long), torch.zeros(3, 0, 4))
    loss.backward()
    assert loss.isfinite()
    assert scores.grad is not None
    assert (scores.grad[..., -1] < 0).all()


def test_more_objects_than_queries_are_refused() -> None:
    scores, boxes, classes, targets = random_case(3, counts=(6,))
    with pytest.raises(ValueError, match="6 objects in an image cannot be matched to 5 queries"):
        match(scores, boxes, classes, targets, CONFIG)


def test_weights_are_not_negative() -> None:
    with pytest.raises(ValueError, match=r"overlap_weight \(-1\.0\) must not be negative"):
        BoxLossConfig(overlap_weight=-1.0)
