"""A part of the training data held out for evaluation, where a source has no such split of its own."""

from collections.abc import Sequence

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict

from perceivers.data.roles import DataError
from perceivers.data.tables import GROUP


def hold_out(train: Dataset, fraction: float, seed: int, source: str) -> dict[str, Dataset]:
    """Hold out the same share of every class; a class of one example is trained on. Groups stay whole.

    Args:
        train: Everything.
        fraction: The share.
        seed: Seed of the choice.
        source: Where it comes from, for the error message.

    Returns:
        `train` and `eval`.

    Raises:
        DataError: There is only one example.
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
        raise DataError(f"{source}: {len(train)} examples are too few to hold some out for evaluation")
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


def hold_out_end(text: Dataset, fraction: float, source: str) -> DatasetDict:
    """Hold out the end of a long text, so that no neighbour of a held-out piece is trained on.

    Raises:
        DataError: The text is a single piece.
    """
    kept = len(text) - max(round(fraction * len(text)), 1)
    if kept < 1:
        raise DataError(
            f"{source}: a text of {len(text)} piece is too short to hold some out for evaluation; "
            "text_characters could be smaller"
        )
    return DatasetDict({"train": text.select(range(kept)), "eval": text.select(range(kept, len(text)))})
