"""Data sets whose rows are made when they are asked for, such as scenes with their exact optical flow.

A new one is a frozen dataclass with a `row` method, entered into `GENERATED`; its fields are the options of the data
set.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from datasets import Dataset, DatasetDict

from perceivers.registry import Registry

# First number of the seed of a row, so that no row is in both splits.
_SPLITS = {"train": 0, "test": 1}


@dataclass(frozen=True, kw_only=True)
class GeneratedSource(ABC):
    """A source that makes its rows; a row follows from its split and its number alone.

    Args:
        num_train: Rows of the training split; they take no room before they are asked for.
        num_test: Rows of the evaluation split.
    """

    roles: ClassVar[tuple[str, ...]]  # what a row has
    labels: ClassVar[tuple[str, ...]] = ()  # names of the labels, whose ids the rows have
    num_train: int = 100_000
    num_test: int = 100

    def __post_init__(self) -> None:
        for name in ("num_train", "num_test"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")

    @abstractmethod
    def row(self, random: np.random.Generator) -> Mapping[str, Any]:
        """Make one row, a value for each of `roles`, with no other randomness than what is given."""

    def splits(self) -> DatasetDict:
        """Return both splits; each holds numbers only until a row is asked for."""
        counts = {"train": self.num_train, "test": self.num_test}
        parts = {
            name: Dataset.from_dict({"split": np.full(count, _SPLITS[name]), "number": np.arange(count)})
            for name, count in counts.items()
        }
        # Both have the same transform, so that `datasets` keeps it when they are put together.
        return DatasetDict({name: part.with_transform(self) for name, part in parts.items()})

    def __call__(self, numbers: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
        """Make the rows of some numbers, as `datasets` asks for them."""
        rows = [self.row(np.random.default_rng(seed)) for seed in zip(numbers["split"], numbers["number"], strict=True)]
        return {role: [row[role] for row in rows] for role in self.roles}


GENERATED: Registry[type[GeneratedSource]] = Registry("generated data set")


def source_of(part: Dataset) -> GeneratedSource | None:
    """Return what makes the rows of a split, or `None` when it holds them."""
    transform = part.format["format_kwargs"].get("transform")
    return transform if isinstance(transform, GeneratedSource) else None
