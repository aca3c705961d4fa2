"""Which rows are trained on and which are held out."""

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np


def stratified_split(labels: Sequence[Hashable], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Hold out `fraction` of each class, by `seed` alone; every class keeps at least one row to train on.

    Returns:
        Indices to train on and indices held out, each ascending.
    """
    classes: dict[Hashable, list[int]] = defaultdict(list)
    for i, label in enumerate(labels):
        classes[label].append(i)
    generator = np.random.default_rng(seed)
    held: list[int] = []
    for members in classes.values():
        count = max(round(len(members) * fraction), 1) if len(members) > 1 else 0
        held += generator.permutation(members)[: min(count, len(members) - 1)].tolist()
    return _parts(len(labels), held)


def random_split(count: int, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Hold out `fraction` of independent rows."""
    return stratified_split([0] * count, fraction, seed)


def tail_split(runs: Sequence[int], fraction: float) -> tuple[list[int], list[int]]:
    """Hold out the end of each run of consecutive text, so that no neighbour of it is trained on.

    Args:
        runs: Number of rows of each run.
        fraction: Share of each run.
    """
    held: list[int] = []
    start = 0
    for length in runs:
        count = max(round(length * fraction), 1) if length > 1 else 0
        stop = start + length
        held += range(stop - min(count, length - 1), stop)
        start = stop
    return _parts(start, held)


def _parts(count: int, held: list[int]) -> tuple[list[int], list[int]]:
    out = set(held)
    return [i for i in range(count) if i not in out], sorted(held)
