"""Examples of a stream: in which order they come, and how a run finds its place in it again."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import numpy as np
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from perceivers.data.stream import Stream
from perceivers.tasks.base import Task

# Micro-batches whose examples can be named afterwards; more than processes prepare ahead.
_REMEMBERED = 256


@dataclass(frozen=True)
class Reference:
    """An example that is prepared when it is asked for.

    Args:
        rows: A block of rows.
        index: Which of the examples that the task makes of them.
        name: Where it comes from.
    """

    rows: Dataset
    index: int
    name: str


class References(TorchDataset[dict[str, Any]]):
    """Looks references up; the sampler of a stream makes them.

    The references alone travel to the processes that prepare examples: each of these has the task already.

    Args:
        task: Makes examples of rows.
    """

    def __init__(self, task: Task[Any]) -> None:
        self.task = task
        self.made: tuple[Dataset, TorchDataset[dict[str, Any]]] | None = None

    def __getitem__(self, reference: Reference) -> dict[str, Any]:
        if self.made is None or self.made[0] is not reference.rows:
            self.made = reference.rows, self.task.dataset(reference.rows, training=True)
        return self.made[1][reference.index]


class StreamOrder:
    """Micro-batches of a stream without end, pass after pass.

    A place in the order is found by reading up to it; rows are checked on the way, but nothing is prepared.

    Args:
        stream: The rows.
        task: Makes examples of them.
        batch_size: Examples a micro-batch, over all processes.
        seed: Seed of the shuffling.
        rank: This process.
        world_size: Number of processes.

    Raises:
        ValueError: The processes cannot share a micro-batch evenly.
    """

    batches_per_epoch: None = None

    def __init__(
        self, stream: Stream, task: Task[Any], batch_size: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        if batch_size % world_size:
            raise ValueError(f"a micro-batch of {batch_size} examples cannot be shared by {world_size} processes")
        self.stream = stream
        self.task = task
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.seen: deque[tuple[int, list[str]]] = deque(maxlen=_REMEMBERED)

    @property
    def facts(self) -> dict[str, int]:
        """What the order follows from."""
        return {"batch_size": self.batch_size, "seed": self.seed, "processes": self.world_size}

    def batches(self, start: int, count: int) -> Sampler[list[Reference]]:
        """Return this process's micro-batches from `start` on, `count` of them."""
        return _StreamBatches(self, start, count)

    def names(self, number: int) -> list[str]:
        """Return where the examples of one of the latest micro-batches come from, those of this process."""
        return next((names for other, names in self.seen if other == number), [])

    def references(self) -> Iterator[Reference]:
        """Yield this process's examples; those of a block of rows are mixed.

        Raises:
            ValueError: There are none.
        """
        for epoch in count():
            found = False
            for number, rows in enumerate(self.stream.blocks(self.seed, epoch, self.rank, self.world_size)):
                size = len(self.task.dataset(rows, training=True))  # pyright: ignore[reportArgumentType]
                mixed = np.random.default_rng([self.seed, epoch, self.rank, number]).permutation(size)
                for index in mixed.tolist():
                    found = True
                    yield Reference(rows, index, f"{index} of block {number} in pass {epoch + 1}")
            if not found:
                raise ValueError(f"{self.stream.source}: the stream has no rows for process {self.rank}")


class _StreamBatches(Sampler[list[Reference]]):
    def __init__(self, order: StreamOrder, start: int, count: int) -> None:
        self.order = order
        self.start = start
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[Reference]]:
        size = self.order.batch_size // self.order.world_size
        references = islice(self.order.references(), self.start * size, None)
        for number in range(self.start, self.start + self.count):
            batch = list(islice(references, size))
            self.order.seen.append((number, [reference.name for reference in batch]))
            yield batch
