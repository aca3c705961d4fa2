"""Labels of data: their names, and names to ids. A row has one label, or a list of labels."""

import re
from collections.abc import Sequence
from typing import Any

import datasets
from datasets import ClassLabel, Dataset

from perceivers.data.roles import DataError
from perceivers.data.tables import ORIGIN


def label_names(train: Dataset) -> tuple[str, ...]:
    """Return the names of all labels of a split, numbers by their value."""
    feature, _ = _of_one(train)
    if isinstance(feature, ClassLabel):
        return tuple(feature.names)
    values = {value for labels in train["label"] for value in _listed(labels)}
    numbers = all(isinstance(value, int) or re.fullmatch(r"-?\d+", value) for value in values)
    return tuple(str(value) for value in (sorted(values, key=int) if numbers else sorted(values)))


def encode_labels(part: Dataset, names: Sequence[str], where: str) -> Dataset:
    """Replace labels by their ids, refusing unknown ones; lists stay lists.

    Raises:
        DataError: A label is not among `names`.
    """
    feature, several = _of_one(part)
    own = feature.names if isinstance(feature, ClassLabel) else None
    index = {name: i for i, name in enumerate(names)}
    ids = []
    for values, origin in zip(part["label"], part[ORIGIN], strict=True):
        found = []
        for value in _listed(values):
            name = own[value] if own is not None and 0 <= value < len(own) else str(value)
            if name not in index:
                raise DataError(f"{origin}: label {name!r} is not one of the known labels {list(names)}")
            found.append(index[name])
        ids.append(found if several else found[0])
    kind: Any = ClassLabel(names=list(names))
    kind = datasets.Sequence(kind) if several else kind
    return part.remove_columns("label").add_column("label", ids).cast_column("label", kind)


def _of_one(part: Dataset) -> tuple[Any, bool]:
    """Return the feature of a single label, and whether rows have lists of them."""
    feature: Any = part.features["label"]
    inner = getattr(feature, "feature", None)
    return (feature, False) if inner is None else (inner, True)


def _listed(labels: Any) -> list[Any]:
    return labels if isinstance(labels, list) else [labels]
