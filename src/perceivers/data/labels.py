"""Label names of a data set, and labels as ids: of whole examples, and of the objects in them."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import ClassLabel, Dataset

from perceivers.data.objects import LABEL_NAMES, parse_objects
from perceivers.data.roles import DataError
from perceivers.data.tables import ORIGIN


@dataclass(frozen=True)
class Labelling:
    """How a role whose values become ids is read.

    Args:
        names: Returns the label names of a training split.
        encode: Returns a split with ids instead of labels, refusing unknown ones.
        fewest: How many label names there must be.
        use: What they are for, in words.
    """

    names: Callable[[Dataset], tuple[str, ...]]
    encode: Callable[[Dataset, Sequence[str]], Dataset]
    fewest: int
    use: str


def _label_names(train: Dataset) -> tuple[str, ...]:
    feature = train.features["label"]
    return tuple(feature.names) if isinstance(feature, ClassLabel) else _sorted_names(train["label"])


def _sorted_names(labels: Iterable[Any]) -> tuple[str, ...]:
    values = set(labels)
    numbers = all(isinstance(value, int) or re.fullmatch(r"-?\d+", value) for value in values)
    return tuple(str(value) for value in (sorted(values, key=int) if numbers else sorted(values)))


def _encode_labels(part: Dataset, names: Sequence[str]) -> Dataset:
    feature = part.features["label"]
    index = {name: i for i, name in enumerate(names)}
    own = feature.names if isinstance(feature, ClassLabel) else None
    ids = [_id_of(value, index, own, origin) for value, origin in zip(part["label"], part[ORIGIN], strict=True)]
    return part.remove_columns("label").add_column("label", ids).cast_column("label", ClassLabel(names=list(names)))


def _id_of(value: Any, index: dict[str, int], own: Sequence[str] | None, where: str) -> int:
    name = str(own[value] if own is not None and 0 <= value < len(own) else value)
    if name not in index:
        raise DataError(f"{where}: label {name!r} is not one of the known labels {list(index)}")
    return index[name]


def _object_names(train: Dataset) -> tuple[str, ...]:
    own = _names_of_ids(train)
    if own is not None:
        return own
    return _sorted_names(label for value in train["objects"] for label in parse_objects(value).labels)


def _encode_objects(part: Dataset, names: Sequence[str]) -> Dataset:
    own = _names_of_ids(part)
    index = {name: i for i, name in enumerate(names)}
    rows = []
    for value, origin in zip(part["objects"], part[ORIGIN], strict=True):
        found = parse_objects(value)
        rows.append(
            [
                {"label": _id_of(label, index, own, f"{origin}, object {i}"), "box": box, "crowd": crowd}
                for i, (label, box, crowd) in enumerate(
                    zip(found.labels, found.corners.tolist(), found.crowd.tolist(), strict=True)
                )
            ]
        )
    return part.remove_columns("objects").add_column("objects", rows)


def _names_of_ids(part: Dataset) -> tuple[str, ...] | None:
    """Return the names of labels that are ids, as data sets of the Hub have them; `None` where labels are names."""
    entries: Any = part.features["objects"]
    entries = getattr(entries, "feature", entries)
    for name in LABEL_NAMES:
        kind = entries.get(name) if isinstance(entries, dict) else None
        kind = getattr(kind, "feature", kind)
        if isinstance(kind, ClassLabel):
            return tuple(kind.names)
    return None


LABELLINGS: dict[str, Labelling] = {
    "label": Labelling(_label_names, _encode_labels, fewest=2, use="classification"),
    "objects": Labelling(_object_names, _encode_objects, fewest=1, use="detection"),
}
