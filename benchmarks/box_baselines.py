"""Score simple ways of finding boxes on the split that the recipe uses: baselines of object detection.

python benchmarks/box_baselines.py path/to/bccd
"""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier

from perceivers.data import DataConfig, Splits, load_data
from perceivers.data.objects import read_objects
from perceivers.processing.image import read_image
from perceivers.tasks.box_arithmetic import keep_best, overlap
from perceivers.tasks.scores.boxes import AveragePrecision

Answers = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
# Images are read at every second pixel; boxes are counted in pixels of the whole.
STRIDE = 2
# An overlap with an object from which on a region is that object.
SAME = 0.5


def otsu(values: NDArray[np.float64]) -> float:
    """Return the threshold that parts values in two with the least variance within (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=128)
    middles, below = (edges[1:] + edges[:-1]) / 2, np.cumsum(counts)
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums[-1] * below / below[-1] - sums) ** 2 / (below * (below[-1] - below))
    return float(middles[np.nanargmax(between[:-1])])


def components(mask: Any) -> NDArray[np.int64]:
    """Return the number of the connected region at each pixel, 0 outside."""
    labelled: Any = ndimage.label(mask)
    return labelled[0]


def regions(image: NDArray[np.uint8], radius: float) -> Iterator[tuple[list[int], list[float]]]:
    """Yield corners and features of regions: cells, cut apart where they touch, and what is stained violet.

    Args:
        image: (H, W, 3).
        radius: Usual radius of a cell in pixels.
    """
    small = image[::STRIDE, ::STRIDE].astype(np.float64)
    violet = small[..., 2] - small[..., 1]
    cells: Any = ndimage.binary_fill_holes(small[..., 1] < otsu(small[..., 1]))
    depth = np.asarray(ndimage.distance_transform_edt(cells))
    tops = (ndimage.maximum_filter(depth, size=round(radius / STRIDE)) == depth) & (depth > radius / STRIDE / 3)
    seeds = components(ndimage.binary_dilation(tops, iterations=2))
    # Every pixel of a cell belongs to the nearest seed.
    nearest = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    parted = np.where(cells, seeds[tuple(np.asarray(nearest))], 0)
    stained = components(ndimage.binary_opening(violet > max(otsu(violet), 20.0)))
    for labelled in (parted, stained):
        for number, place in enumerate(ndimage.find_objects(labelled), start=1):
            if place is None:
                continue
            inside = labelled[place] == number
            rows, columns = place
            corners = [STRIDE * side for side in (columns.start, rows.start, columns.stop, rows.stop)]
            width, height = corners[2] - corners[0], corners[3] - corners[1]
            colour = small[place][inside].mean(axis=0)
            area = float(inside.sum()) * STRIDE**2
            yield corners, [width, height, area, area / (width * height), *colour, float(labelled is stained)]


def score(name: str, splits: Splits, answer: Callable[[NDArray[np.uint8]], Answers], seconds: float) -> None:
    """Print the scores of a way of answering on the evaluation split."""
    assert splits.labels is not None
    metric = AveragePrecision(splits.labels)
    start = time.perf_counter()
    for row in splits.eval:
        image, corners, classes, crowd = truth(row, splits.labels)
        objects = torch.from_numpy(corners), torch.from_numpy(classes), torch.from_numpy(crowd)
        metric.update([answer(image)], [objects])
    values = "  ".join(f"{key} {value:.3f}" for key, value in metric.compute().items())
    print(f"{name:42} {values}  {seconds + time.perf_counter() - start:.0f} s", flush=True)


def truth(row: Any, labels: tuple[str, ...]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return an image, and corners, classes and crowds of its objects."""
    image = read_image(row["image"])
    classes, corners, crowd = read_objects(row["objects"], labels, image.shape[:2])
    return image, corners, classes, crowd


def constant_boxes(splits: Splits) -> Callable[[NDArray[np.uint8]], Answers]:
    """Answer every image alike: boxes of each class's mean size side by side, scored by how common the class is."""
    assert splits.labels is not None
    rows = [truth(row, splits.labels) for row in splits.rows]
    corners, classes = (np.concatenate([row[i] for row in rows]) for i in (1, 2))
    height, width = rows[0][0].shape[:2]
    boxes, ids, scores = [], [], []
    for label in range(len(splits.labels)):
        w, h = (corners[classes == label, 2:] - corners[classes == label, :2]).mean(axis=0)
        for y in np.linspace(0, height - h, max(round(height / h), 1)):
            for x in np.linspace(0, width - w, max(round(width / w), 1)):
                boxes.append([x, y, x + w, y + h])
                ids.append(label)
                scores.append((classes == label).mean())
    return lambda image: (torch.tensor(np.array(boxes)), torch.tensor(ids), torch.tensor(scores))


def forest_of_regions(splits: Splits) -> Callable[[NDArray[np.uint8]], Answers]:
    """Cut images by colour and shape; a forest, trained on the regions' sizes and colours, tells what they are."""
    assert splits.labels is not None
    num_classes, features, kinds = len(splits.labels), [], []
    rows = [truth(row, splits.labels) for row in splits.rows]
    sides = np.concatenate([corners[:, 2:] - corners[:, :2] for _, corners, _, _ in rows])
    radius = float(np.median(sides)) / 2
    for image, corners, classes, _ in rows:
        for box, feature in regions(image, radius):
            shared = overlap(torch.tensor(box).double(), torch.from_numpy(corners))
            features.append(feature)
            kinds.append(classes[shared.argmax()] if shared.max() > SAME else num_classes)
    forest = RandomForestClassifier(300, min_samples_leaf=3, random_state=0).fit(np.array(features), kinds)

    def answer(image: NDArray[np.uint8]) -> Answers:
        found = list(regions(image, radius))
        likely = np.zeros((len(found), num_classes + 1))
        likely[:, forest.classes_] = forest.predict_proba(np.array([feature for _, feature in found]))
        boxes = torch.tensor([box for box, _ in found]).double()
        scores, ids = torch.from_numpy(likely[:, :num_classes]).max(dim=1)
        kept = keep_best(boxes, ids, scores, SAME)
        return boxes[kept], ids[kept], scores[kept]

    return answer


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} path/to/bccd")
    data = load_data(DataConfig(source=sys.argv[1]), ("image", "objects"))
    for name, method in {
        "the same boxes always": constant_boxes,
        "colour, regions and a forest": forest_of_regions,
    }.items():
        start = time.perf_counter()
        way = method(data)
        score(name, data, way, time.perf_counter() - start)
