"""Cutting an evaluation part off a source that has one split only."""

from collections.abc import Sequence

import numpy as np
from datasets import ClassLabel, Dataset

from perceivers.data.roles import DataError
from perceivers.data.tables import GROUP


def hold_out(train: Dataset, fraction: float, seed: int, where: str) -> dict[str, Dataset]:
    """Hold out the same share of every class; a class of one example is trained on. Groups stay whole.

    Args:
        train: All examples.
        fraction: The share.
        seed: What the choice follows from.
        where: The source, for the error message.

    Raises:
        DataError: There are too few examples.
    """
    groups = train[GROUP] if GROUP in train.column_names else []
    if len(set(groups)) > 1:
        return _hold_out_groups(train, groups, fraction, seed)
    # Examples of several labels are held out as if they were of one class.
    one_each = "label" in train.column_names and isinstance(train.features["label"], ClassLabel)
    classes = np.array(train["label"]) if one_each else np.zeros(len(train), dtype=int)
    generator = np.random.default_rng(seed)
    held_out: list[int] = []
    for name in np.unique(classes):
        members = generator.permutation(np.flatnonzero(classes == name))
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        held_out += members[:count].tolist()
    if not held_out:
        raise DataError(f"{where}: {len(train)} examples are too few to hold some out for evaluation")
    kept = np.setdiff1d(np.arange(len(train)), held_out)
    return {"train": train.select(kept), "eval": train.select(sorted(held_out))}


def _hold_out_groups(train: Dataset, groups: Sequence[str], fraction: float, seed: int) -> dict[str, Dataset]:
    """Hold out whole groups, at random, until the share is reached; one is left to train on."""
    names = np.random.default_rng(seed).permutation(sorted(set(groups))).tolist()
    wanted, count, chosen = fraction * len(train), 0, set[str]()
    for name in names[:-1]:
        if count >= wanted:
            break
        chosen.add(name)
        count += sum(group == name for group in groups)
    held_out = [i for i, group in enumerate(groups) if group in chosen]
    kept = [i for i, group in enumerate(groups) if group not in chosen]
    return {"train": train.select(kept), "eval": train.select(held_out)}


def hold_end_out(text: Dataset, fraction: float, where: str) -> dict[str, Dataset]:
    """Hold out the end of a long text, so that no neighbour of a held-out piece is trained on.

    Args:
        text: Its pieces.
        fraction: The share.
        where: The source, for the error message.

    Raises:
        DataError: The text is one piece.
    """
    kept = len(text) - max(round(fraction * len(text)), 1)
    if kept < 1:
        raise DataError(
            f"{where}: a text of {len(text)} piece is too short to hold some out for evaluation; "
            f"text_characters could be smaller"
        )
    return {"train": text.select(range(kept)), "eval": text.select(range(kept, len(text)))}
