"""Label names of a data set, and labels as ids: of whole examples, and of the words or objects in them."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
from datasets import ClassLabel, Dataset

from perceivers.data.objects import LABEL_NAMES, parse_objects
from perceivers.data.roles import DataError
from perceivers.data.tables import ORIGIN
from perceivers.data.tags import check_tag, tag_names


@dataclass(frozen=True)
class Labelling:
    """How a role whose values become ids is read.

    Args:
        names: Returns the label names of a training split.
        declared: Returns those that the data set itself declares, as the Hub's do, or `None`.
        encode: Returns a split with ids instead of labels, refusing unknown ones.
        fewest: How many label names there must be.
        use: What they are for, in words.
    """

    names: Callable[[Dataset], tuple[str, ...]]
    declared: Callable[[Dataset], tuple[str, ...] | None]
    encode: Callable[[Dataset, Sequence[str]], Dataset]
    fewest: int
    use: str


def _sorted_names(labels: Iterable[Any]) -> tuple[str, ...]:
    values = set(labels)
    numbers = all(isinstance(value, int) or re.fullmatch(r"-?\d+", value) for value in values)
    return tuple(str(value) for value in (sorted(values, key=int) if numbers else sorted(values)))


def _id_of(value: Any, index: dict[str, int], own: Sequence[str] | None, where: str) -> int:
    name = str(own[value] if own is not None and 0 <= value < len(own) else value)
    if name not in index:
        raise DataError(f"{where}: label {name!r} is not one of the known labels {list(index)}")
    return index[name]


def _names_of_labels(part: Dataset) -> tuple[str, ...] | None:
    feature, _ = _label_of(part)
    return tuple(feature.names) if isinstance(feature, ClassLabel) else None


def _label_names(train: Dataset) -> tuple[str, ...]:
    own = _names_of_labels(train)
    if own is not None:
        return own
    return _sorted_names(value for labels in train["label"] for value in _listed(labels))


def _encode_labels(part: Dataset, names: Sequence[str]) -> Dataset:
    """Replace labels by their ids; lists stay lists."""
    feature, several = _label_of(part)
    own = feature.names if isinstance(feature, ClassLabel) else None
    index = {name: i for i, name in enumerate(names)}
    ids = []
    for values, origin in zip(part["label"], part[ORIGIN], strict=True):
        found = [_id_of(value, index, own, origin) for value in _listed(values)]
        ids.append(found if several else found[0])
    kind: Any = ClassLabel(names=list(names))
    kind = datasets.Sequence(kind) if several else kind
    return part.remove_columns("label").add_column("label", ids).cast_column("label", kind)


def _label_of(part: Dataset) -> tuple[Any, bool]:
    """Return the feature of a single label, and whether rows have lists of them."""
    feature: Any = part.features["label"]
    inner = getattr(feature, "feature", None)
    return (feature, False) if inner is None else (inner, True)


def _listed(labels: Any) -> list[Any]:
    return labels if isinstance(labels, list) else [labels]


def _tag_names(train: Dataset) -> tuple[str, ...]:
    own = _names_of_tags(train)
    if own is not None:
        problems = [problem for problem in map(check_tag, own) if problem]
        if problems:
            raise DataError(f"{train[ORIGIN][0]}: {problems[0]}")
        return own
    try:
        return tag_names([tag for tags in train["tags"] for tag in tags])
    except ValueError as error:
        raise DataError(f"{train[ORIGIN][0]}: {error}") from error


def _encode_tags(part: Dataset, names: Sequence[str]) -> Dataset:
    own = _names_of_tags(part)
    index = {name: i for i, name in enumerate(names)}
    ids = []
    for tags, origin in zip(part["tags"], part[ORIGIN], strict=True):
        found = tags if own is None else [own[tag] if 0 <= tag < len(own) else tag for tag in tags]
        for place, tag in enumerate(found):
            if tag not in index:
                raise DataError(f"{origin}: tag {tag!r} of word {place} is not one of the known tags {list(names)}")
        ids.append([index[tag] for tag in found])
    return part.remove_columns("tags").add_column("tags", ids)


def _names_of_tags(part: Dataset) -> tuple[str, ...] | None:
    """Return the names of tags that are ids, as data sets of the Hub have them; `None` where tags are names."""
    inner: Any = getattr(part.features["tags"], "feature", None)
    return tuple(inner.names) if isinstance(inner, ClassLabel) else None


def _object_names(train: Dataset) -> tuple[str, ...]:
    own = _names_of_objects(train)
    if own is not None:
        return own
    return _sorted_names(label for value in train["objects"] for label in parse_objects(value).labels)


def _encode_objects(part: Dataset, names: Sequence[str]) -> Dataset:
    own = _names_of_objects(part)
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


def _names_of_objects(part: Dataset) -> tuple[str, ...] | None:
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
    "label": Labelling(_label_names, _names_of_labels, _encode_labels, fewest=2, use="classification"),
    "tags": Labelling(_tag_names, _names_of_tags, _encode_tags, fewest=2, use="classification"),
    "objects": Labelling(_object_names, _names_of_objects, _encode_objects, fewest=1, use="detection"),
}
