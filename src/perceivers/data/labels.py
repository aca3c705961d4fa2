"""Labels as class ids, in an order that the training split or a trained model settles."""

from collections.abc import Sequence

import datasets

from perceivers.data.errors import DataError, listed
from perceivers.data.roles import ROLES
from perceivers.data.table import Table


def label_names(table: Table) -> tuple[str, ...]:
    """Return the names of the classes of a training split: as its data set orders them, else sorted.

    Raises:
        DataError: A label is missing or of a wrong type, or all are the same.
    """
    texts = set(label_texts(table))
    if len(texts) < 2:
        raise DataError(f"{table.name}: the only label is {listed(sorted(texts))}; expected at least two classes")
    feature = table.rows.features["label"]
    return tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else tuple(sorted(texts, key=_sort_key))


def label_texts(table: Table) -> list[str]:
    """Return the name of each row's label.

    Raises:
        DataError: A label is missing or of a wrong type.
    """
    feature = table.rows.features["label"]
    names = feature.names if isinstance(feature, datasets.ClassLabel) else None
    role = ROLES["label"]
    texts: list[str] = []
    for i, value in enumerate(table.values("label")):
        try:
            # Data sets write -1 where the label is kept secret.
            role.check(None if names is not None and value == -1 else value)
        except ValueError as error:
            raise DataError(f"{table.place(i)}: label {error}; expected {role.expects}") from error
        texts.append(str(value) if names is None else names[value])
    return texts


def with_class_ids(table: Table, names: Sequence[str]) -> Table:
    """Return `table` with its labels as ids of the classes `names`.

    Raises:
        DataError: A label is missing, of a wrong type or not among `names`.
    """
    ids = {name: i for i, name in enumerate(names)}
    texts = label_texts(table)
    for i, text in enumerate(texts):
        if text not in ids:
            raise DataError(f"{table.place(i)}: label {text!r} is not known; known labels = {listed(list(names))}")
    feature = datasets.ClassLabel(names=list(names))
    rows = table.rows.remove_columns("label").add_column("label", [ids[text] for text in texts], feature=feature)
    return Table(rows, table.name, table.place, table.runs)


def _sort_key(text: str) -> tuple[int, int, str]:
    """Put numbers before names, and "10" after "9"."""
    digits = text.removeprefix("-")
    return (0, int(text), text) if digits.isascii() and digits.isdigit() else (1, 0, text)
