"""Objects in an image, from the usual ways of writing them down to labels and corners of boxes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

# How far a box may jut out of its image, in pixels: annotations are rounded. What juts out is cut off.
SLACK = 1.0

# Names of the entries of an object. "box" holds corners, "bbox" corner and size as COCO has it.
LABEL_NAMES = ("label", "category", "category_id", "class")
_CORNERS, _SIZED = "box", "bbox"
_CROWDS = ("crowd", "iscrowd", "is_crowd")


@dataclass(frozen=True)
class Objects:
    """The objects of one image.

    Args:
        labels: Their labels as written: names or ids.
        corners: (xmin, ymin, xmax, ymax) in pixels, (K, 4).
        crowd: Which of them are crowds: boxes around many objects that nobody told apart.
    """

    labels: tuple[Any, ...]
    corners: Float64[np.ndarray, "K 4"]
    crowd: Bool[np.ndarray, "K"]


def parse_objects(value: Any) -> Objects:
    """Read the objects of one image.

    Args:
        value: A list of mappings, or a mapping of lists as `datasets` makes of such: `label` (or `category`), and
            `box` with (xmin, ymin, xmax, ymax) or `bbox` with COCO's (x, y, width, height), in pixels; maybe `crowd`
            (or `iscrowd`). An empty list is an image without objects.

    Raises:
        ValueError: Says what is wrong, with the number of the object, counted from 0.
    """
    if isinstance(value, Mapping):
        value = _transposed(value)
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ValueError(f"objects must be a list of {{'label', 'box'}}, got {value!r}")
    labels, corners, crowd = [], np.zeros((len(value), 4)), np.zeros(len(value), dtype=bool)
    for i, entry in enumerate(value):
        if not isinstance(entry, Mapping):
            raise ValueError(f"object {i} must have a label and a box, got {entry!r}")
        labels.append(_label(entry, i))
        corners[i] = _corners(entry, i)
        crowd[i] = any(bool(entry.get(name)) for name in _CROWDS)
    return Objects(tuple(labels), corners, crowd)


def _transposed(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    lists = {name: column for name, column in columns.items() if isinstance(column, Sequence)}
    if len({len(column) for column in lists.values()}) > 1:
        raise ValueError(f"objects have columns of lengths { {name: len(column) for name, column in lists.items()} }")
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _label(entry: Mapping[str, Any], number: int) -> str | int:
    label = next((entry[name] for name in LABEL_NAMES if entry.get(name) is not None), None)
    if label is None or label == "":
        raise ValueError(f"object {number} has no label; names for it = {list(LABEL_NAMES)}")
    if isinstance(label, bool) or not isinstance(label, str | int | np.integer):
        raise ValueError(f"the label of object {number} must be a name or a whole number, got {label!r}")
    return label if isinstance(label, str) else int(label)


def _corners(entry: Mapping[str, Any], number: int) -> Float64[np.ndarray, "4"]:
    name = _CORNERS if entry.get(_CORNERS) is not None else _SIZED
    box = entry.get(name)
    if box is None:
        raise ValueError(f"object {number} has neither '{_CORNERS}' (corners) nor '{_SIZED}' (corner and size)")
    try:
        numbers = np.array(box, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} of object {number} must be four numbers, got {box!r}") from error
    if numbers.shape != (4,) or not np.isfinite(numbers).all():
        raise ValueError(f"{name} of object {number} must be four finite numbers, got {box!r}")
    if name == _SIZED:
        numbers[2:] += numbers[:2]
    if (numbers[2:] <= numbers[:2]).any():
        raise ValueError(f"{name} {list(box)} of object {number} must be wider and higher than 0")
    return numbers


def outside(objects: Objects, size: tuple[int, int]) -> str | None:
    """Return which box lies outside of an image of (height, width) pixels, or `None`."""
    limits = np.array([size[1], size[0]] * 2) + SLACK
    wrong = ((objects.corners < -SLACK) | (objects.corners > limits)).any(axis=1)
    if not wrong.any():
        return None
    number = int(wrong.argmax())
    box = [f"{value:g}" for value in objects.corners[number]]
    return f"the box ({', '.join(box)}) of object {number} lies outside of its image of {size[1]} x {size[0]} pixels"


def read_objects(
    value: Any, labels: Sequence[str], size: tuple[int, int]
) -> tuple[Int64[np.ndarray, "K"], Float64[np.ndarray, "K 4"], Bool[np.ndarray, "K"]]:
    """Return ids of the classes, corners within the image, and which objects are crowds; see `parse_objects`.

    Args:
        value: The objects; labels are names, or ids already.
        labels: The known names.
        size: Height and width of the image.

    Raises:
        ValueError: An object is wrong, its label unknown, or it lies outside of the image.
    """
    objects = parse_objects(value)
    problem = outside(objects, size)
    if problem:
        raise ValueError(problem)
    classes = [label if isinstance(label, int) else _id_of(label, labels) for label in objects.labels]
    unknown = [label for label in classes if not 0 <= label < len(labels)]
    if unknown:
        raise ValueError(f"label {unknown[0]} is not one of the {len(labels)} known labels {list(labels)}")
    limits = np.array([size[1], size[0]] * 2)
    return np.array(classes, dtype=np.int64), objects.corners.clip(0, limits), objects.crowd


def _id_of(label: str, labels: Sequence[str]) -> int:
    if label not in labels:
        raise ValueError(f"label {label!r} is not one of the known labels {list(labels)}")
    return list(labels).index(label)
