"""Boxes follow what is in them through every change of the image."""

import numpy as np
import pytest
import torch
from torch import Tensor

from perceivers.tasks.box_arithmetic import to_corners
from perceivers.tasks.box_augment import BoxAugmentConfig, BoxAugmenter, move_boxes

SIZE = (60, 80)
# One rectangle in each half, red and blue: (centre x, centre y, width, height).
BOXES = torch.tensor([[[0.25, 0.4, 0.25, 0.4], [0.75, 0.6, 0.3, 0.3]]])


def batch_of(count: int) -> dict[str, Tensor]:
    image = torch.full((*SIZE, 3), 128, dtype=torch.uint8)
    for channel, box in ((0, BOXES[0, 0]), (2, BOXES[0, 1])):
        left, upper, right, lower = (to_corners(box) * torch.tensor([80, 60, 80, 60])).round().int().tolist()
        image[upper:lower, left:right] = 0
        image[upper:lower, left:right, channel] = 255
    return {
        "image": image.expand(count, -1, -1, -1),
        "classes": torch.tensor([[0, 1]]).expand(count, -1),
        "boxes": BOXES.expand(count, -1, -1),
    }


def seen_box(image: Tensor, channel: int) -> list[float]:
    """Return the corners, in pixels, of what has the colour."""
    rows, columns = np.nonzero((image[..., channel] - image[..., 2 - channel]).numpy() > 0.5)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize(
    "changes",
    [{"flip": True}, {"flip_vertical": True}, {"zoom": 0.3}, {"shift": 0.2}, {"zoom": 0.3, "shift": 0.2, "flip": True}],
    ids=str,
)
def test_boxes_follow_the_image(changes: dict[str, float]) -> None:
    torch.manual_seed(0)
    changed = BoxAugmenter(BoxAugmentConfig(**changes))(batch_of(16))
    corners = to_corners(changed["boxes"]) * torch.tensor([80, 60, 80, 60])
    moved = 0
    for image, classes, boxes in zip(changed["image"], changed["classes"], corners, strict=True):
        for label, channel in ((0, 0), (1, 2)):
            if classes[label] >= 0:
                expected = seen_box(image, channel)
                assert boxes[label].tolist() == pytest.approx(expected, abs=1.1)
                moved += bool((boxes[label] - corners[0, label]).abs().max() > 2)
    # Not all are alike.
    assert moved > 3


def test_what_leaves_the_image_is_no_object_any_more() -> None:
    classes, boxes = torch.tensor([[0, 1]]), torch.tensor([[[0.1, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2]]])
    out = move_boxes(classes, boxes, torch.ones(1, 2), torch.tensor([[-0.15, 0.0]]), 0.3)
    # A quarter of the first is left, and all of the second.
    assert out["classes"].tolist() == [[-1, 1]]
    kept = move_boxes(classes, boxes, torch.ones(1, 2), torch.tensor([[-0.15, 0.0]]), 0.2)
    assert kept["classes"].tolist() == [[0, 1]]
    torch.testing.assert_close(to_corners(kept["boxes"][0, 0]), torch.tensor([0.0, 0.4, 0.05, 0.6]))


def test_colours_change_and_boxes_stay() -> None:
    torch.manual_seed(0)
    batch = batch_of(4)
    changed = BoxAugmenter(BoxAugmentConfig(colour=0.3))(batch)
    assert torch.equal(changed["boxes"], batch["boxes"])
    assert changed["image"].min() >= 0
    assert changed["image"].max() <= 1
    assert not torch.allclose(changed["image"][0], changed["image"][1])


def test_no_change_gives_the_batch_itself() -> None:
    batch = batch_of(2)
    assert BoxAugmenter(BoxAugmentConfig())(batch) is batch


def test_settings_have_limits() -> None:
    with pytest.raises(ValueError, match=r"zoom \(1\.0\) must lie between 0 and 1"):
        BoxAugmentConfig(zoom=1.0)
