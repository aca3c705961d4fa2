"""Average precision of boxes as COCO defines it, counted by pycocotools."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class AveragePrecision(Metric):
    """COCO's `map`, mean over overlaps of 0.5 to 0.95, `map50`, `map75`, and `ap_LABEL` of each class.

    torchmetrics has such a metric, which refuses to be made without torchvision. A class that no object has is left
    out. Which image a row belongs to follows from the number of rows of each, so that the counts of several processes
    can be put one after the other.

    Args:
        labels: Label names.

    Raises:
        ValueError: pycocotools is not installed.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    found: list[Tensor]
    found_counts: list[Tensor]
    objects: list[Tensor]
    object_counts: list[Tensor]

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        try:
            import pycocotools  # noqa: F401
        except ImportError as error:
            raise ValueError("scores of boxes need pycocotools: pip install 'perceivers[detection]'") from error
        self.labels = tuple(labels)
        for name in ("found", "found_counts", "objects", "object_counts"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(
        self,
        found: Sequence[tuple[Tensor, Tensor, Tensor]],
        objects: Sequence[tuple[Tensor, Tensor, Tensor]],
    ) -> None:
        """Count images.

        Args:
            found: For each image the corners (G, 4), classes (G,) and scores (G,) of what was found.
            objects: For each image the corners (K, 4) and classes (K,) of what there is, and which of these are crowds
                (K,): what is found in a crowd counts neither for nor against.
        """
        for rows, counts, images in (
            (self.found, self.found_counts, found),
            (self.objects, self.object_counts, objects),
        ):
            for corners, classes, last in images:
                columns = (classes[:, None], last[:, None], corners)
                rows.append(torch.cat([column.detach().double() for column in columns], dim=1))
                counts.append(torch.tensor([len(corners)], device=corners.device))

    def compute(self) -> dict[str, Tensor]:
        """Return the scores by name."""
        found, objects = (
            _rows_with_image(rows, counts)
            for rows, counts in ((self.found, self.found_counts), (self.objects, self.object_counts))
        )
        precision = _precision(found, objects, len(self.labels), len(dim_zero_cat(self.object_counts)))
        parts = {"map": precision, "map50": precision[:1], "map75": precision[5:6]}
        parts |= {f"ap_{label}": precision[..., i] for i, label in enumerate(self.labels)}
        # Where there is no object, pycocotools says -1.
        return {name: torch.tensor(part[part > -1].mean()) for name, part in parts.items() if (part > -1).any()}


def _rows_with_image(rows: Any, counts: Any) -> np.ndarray:
    numbers = dim_zero_cat(counts)
    image = torch.arange(len(numbers), device=numbers.device).repeat_interleave(numbers)
    return torch.cat([image[:, None].double(), dim_zero_cat(rows)], dim=1).cpu().numpy()


def _precision(found: np.ndarray, objects: np.ndarray, num_classes: int, num_images: int) -> np.ndarray:
    """Return precision by overlap (10), recall (101) and class, from rows (image, class, score or crowd, corners)."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, answers = COCO(), COCO()
    counts = {"images": num_images, "categories": num_classes}
    tables: Any = {name: [{"id": i} for i in range(count)] for name, count in counts.items()}
    # It tells what it does on standard output.
    with contextlib.redirect_stdout(io.StringIO()):
        for coco, rows, name in ((truth, objects, "iscrowd"), (answers, found, "score")):
            coco.dataset = tables | {"annotations": [_annotation(i, row, name) for i, row in enumerate(rows, start=1)]}
            coco.createIndex()
        evaluation = COCOeval(truth, answers, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    # Over all sizes of objects, with at most 100 answers an image.
    return evaluation.eval["precision"][:, :, :, 0, -1]


def _annotation(number: int, row: np.ndarray, name: str) -> dict[str, Any]:
    image, label, value, xmin, ymin, xmax, ymax = row.tolist()
    return {
        "id": number,
        "image_id": int(image),
        "category_id": int(label),
        "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
        "area": (xmax - xmin) * (ymax - ymin),
        "iscrowd": 0,
        name: int(value) if name == "iscrowd" else value,
    }
