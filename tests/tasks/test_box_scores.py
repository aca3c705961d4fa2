"""Average precision of cases that can be worked out by hand."""

import sys

import pytest
import torch
from torch import Tensor

from perceivers.tasks.scores.boxes import AveragePrecision

FIRST, SECOND = [0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 0.8, 0.8]


def answers(*rows: tuple[list[float], int, float]) -> tuple[Tensor, Tensor, Tensor]:
    boxes = torch.tensor([row[0] for row in rows]).reshape(-1, 4)
    return boxes, torch.tensor([row[1] for row in rows]).long(), torch.tensor([row[2] for row in rows]).float()


def truth(*rows: tuple[list[float], int], crowd: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    boxes, classes, _ = answers(*((*row, 1.0) for row in rows))
    return boxes, classes, torch.full((len(rows),), crowd)


def scores_of(found: list[tuple[Tensor, ...]], objects: list[tuple[Tensor, ...]]) -> dict[str, float]:
    metric = AveragePrecision(("cell", "plate"))
    # One image a call: what belongs together is remembered by number.
    for one, other in zip(found, objects, strict=True):
        metric.update([one], [other])
    return {name: value.item() for name, value in metric.compute().items()}


def test_all_found_scores_one() -> None:
    scores = scores_of(
        [answers((FIRST, 0, 0.9), (SECOND, 1, 0.6)), answers()],
        [truth((FIRST, 0), (SECOND, 1)), truth()],
    )
    assert scores == pytest.approx({"map": 1, "map50": 1, "map75": 1, "ap_cell": 1, "ap_plate": 1})


def test_a_false_answer_above_a_true_one_halves_the_precision() -> None:
    scores = scores_of([answers((SECOND, 0, 0.9), (FIRST, 0, 0.5))], [truth((FIRST, 0))])
    # A class that no object has is left out.
    assert scores == pytest.approx({"map": 0.5, "map50": 0.5, "map75": 0.5, "ap_cell": 0.5})


def test_the_overlap_says_which_thresholds_are_passed() -> None:
    # 0.2 x 0.2 against 0.2 x 0.13: an overlap of 0.65 passes 0.5, 0.55, 0.6 and none above 0.65.
    scores = scores_of([answers(([0.1, 0.1, 0.3, 0.2301], 0, 0.9))], [truth((FIRST, 0))])
    assert scores == pytest.approx({"map": 0.4, "map50": 1, "map75": 0, "ap_cell": 0.4})


def test_the_right_box_in_another_image_or_of_another_class_counts_nothing() -> None:
    swapped = scores_of([answers((SECOND, 0, 0.9)), answers((FIRST, 0, 0.9))], [truth((FIRST, 0)), truth((SECOND, 0))])
    assert swapped["map50"] == 0
    assert scores_of([answers((FIRST, 1, 0.9))], [truth((FIRST, 0))])["map50"] == 0


def test_what_is_found_in_a_crowd_counts_neither_way() -> None:
    crowd = truth(([0.5, 0.5, 1.0, 1.0], 0), crowd=True)
    both = tuple(torch.cat(parts) for parts in zip(truth((FIRST, 0)), crowd, strict=True))
    assert scores_of([answers((SECOND, 0, 0.9), (FIRST, 0, 0.5))], [both])["map"] == pytest.approx(1)


def test_nothing_found_scores_zero() -> None:
    assert scores_of([answers()], [truth((FIRST, 0))]) == {"map": 0, "map50": 0, "map75": 0, "ap_cell": 0}


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ValueError, match=r"need pycocotools: pip install 'perceivers\[detection\]'"):
        AveragePrecision(("a",))
