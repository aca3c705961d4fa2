"""Rows that are read one after the other, pass after pass, and are never all held."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from datasets import Audio, Dataset, Features, Image, IterableDataset, Value
from datasets.distributed import split_dataset_by_node

from perceivers.data.tables import ORIGIN, table_of

# Rows that are checked, prepared and mixed at a time.
_BLOCK = 256


def _as_it_is(block: Dataset) -> Dataset:
    return block


@dataclass(frozen=True)
class Stream:
    """Rows that are read one after the other.

    Args:
        rows: The rows.
        source: Where they come from, for messages.
        shuffle_buffer: Rows among which the next is drawn.
        ready: What is done to each block of rows: columns named, checked, labels encoded.
    """

    rows: IterableDataset
    source: str
    shuffle_buffer: int
    ready: Callable[[Dataset], Dataset] = _as_it_is

    def head(self) -> Dataset:
        """Return the first rows, as they are."""
        return next(self.in_order())

    def in_order(self) -> Iterator[Dataset]:
        """Yield blocks of all rows in their own order, as they are."""
        return self._blocks(self.rows, "row")

    def blocks(self, seed: int, epoch: int, rank: int = 0, world_size: int = 1) -> Iterator[Dataset]:
        """Yield blocks of shuffled rows of one pass, ready for a task.

        Args:
            seed: Seed of the shuffling.
            epoch: Which pass; each is in another order.
            rank: This process.
            world_size: Number of processes; each has files of its own where their number is a multiple of it, and every
                `world_size`-th row otherwise.

        Raises:
            DataError: A row cannot be used.
        """
        # `datasets` would add seed and pass: the second pass of one seed would be the first of the next.
        mixed = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
        rows = self.rows.shuffle(seed=mixed, buffer_size=self.shuffle_buffer)
        rows = split_dataset_by_node(rows, rank, world_size)
        return map(self.ready, self._blocks(rows, f"pass {epoch + 1}, process {rank}, row"))

    def _blocks(self, rows: IterableDataset, place: str) -> Iterator[Dataset]:
        features = rows.features
        files = [name for name, kind in (features or {}).items() if isinstance(kind, Image | Audio)]
        for name in files:
            # Read, not decoded: rows that are passed over would be decoded for nothing.
            rows = rows.cast_column(name, type((features or {})[name])(decode=False))
        stream, count = iter(rows), 0
        while block := list(islice(stream, _BLOCK)):
            yield self._table(block, features, [f"{self.source}, {place} {count + i}" for i in range(len(block))])
            count += len(block)

    def _table(self, rows: list[dict[str, Any]], features: Features | None, origins: list[str]) -> Dataset:
        if features is None:
            return table_of(rows, origins[0])
        columns = {name: [row[name] for row in rows] for name in features}
        kinds = Features({**features, ORIGIN: Value("string")})
        return Dataset.from_dict({**columns, ORIGIN: origins}, features=kinds)
