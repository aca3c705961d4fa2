"""Arithmetic of boxes against boxes drawn on a grid and counted."""

import numpy as np
import torch

from perceivers.tasks.box_arithmetic import (
    areas,
    generalised_overlap,
    keep_best,
    overlap,
    to_centres,
    to_corners,
)

SIDE = 12


def random_boxes(count: int, seed: int) -> torch.Tensor:
    """Return corner boxes whose sides are whole numbers."""
    ends = np.sort(np.random.default_rng(seed).integers(0, SIDE, (count, 2, 2)), axis=1)
    ends[:, 1] += 1
    return torch.from_numpy(np.concatenate([ends[:, 0], ends[:, 1]], axis=1)).double()


def drawn(box: torch.Tensor) -> np.ndarray:
    grid = np.zeros((SIDE + 1, SIDE + 1), dtype=bool)
    left, upper, right, lower = box.int().tolist()
    grid[upper:lower, left:right] = True
    return grid


def test_overlap_is_that_of_drawn_boxes() -> None:
    first, second = random_boxes(40, 0), random_boxes(40, 1)
    ours, generalised = overlap(first, second), generalised_overlap(first, second)
    for i in range(40):
        a, b = drawn(first[i]), drawn(second[i])
        rows, columns = np.nonzero(a | b)
        hull = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        expected = (a & b).sum() / (a | b).sum()
        assert abs(ours[i].item() - expected) < 1e-12
        assert abs(generalised[i].item() - (expected - (hull - (a | b).sum()) / hull)) < 1e-12
        assert areas(first[i]).item() == a.sum()


def test_all_pairs_are_compared_by_broadcasting() -> None:
    first, second = random_boxes(5, 2), random_boxes(3, 3)
    pairs = overlap(first[:, None], second[None])
    assert pairs.shape == (5, 3)
    assert pairs[4, 1] == overlap(first[4], second[1])


def test_boxes_of_no_size_overlap_with_nothing() -> None:
    point = torch.tensor([1.0, 1.0, 1.0, 1.0])
    assert overlap(point, point) == 0
    assert generalised_overlap(point, point).isfinite()


def test_the_two_forms_are_inverse() -> None:
    boxes = random_boxes(10, 4)
    assert torch.equal(to_corners(to_centres(boxes)), boxes)
    assert to_centres(torch.tensor([2.0, 4.0, 6.0, 10.0])).tolist() == [4.0, 7.0, 4.0, 6.0]


def test_the_best_of_duplicates_is_kept() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [2, 0, 12, 10], [0, 0, 10, 10], [30, 30, 40, 40]])
    classes, scores = torch.tensor([0, 0, 0, 1, 0]), torch.tensor([0.8, 0.9, 0.5, 0.1, 0.2])
    # 1 over 0 and 2: overlaps of 9 / 11; 0 and 2 share 8 / 12. Another class and another place are left alone.
    assert keep_best(boxes, classes, scores, 0.7).tolist() == [False, True, False, True, True]
    # A box that is left out itself does not push out others.
    chain = torch.tensor([[0.0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])
    kept = keep_best(chain, torch.zeros(3, dtype=torch.long), torch.tensor([0.9, 0.8, 0.7]), 0.4)
    assert kept.tolist() == [True, False, True]
