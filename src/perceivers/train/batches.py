"""The order of examples: a pure function of seed and step, so that a run can be taken up anywhere."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler


@dataclass(frozen=True, kw_only=True)
class Order:
    """Shuffled micro-batches without end.

    Args:
        num_examples: Size of the data set.
        batch_size: Examples a micro-batch, over all processes.
        seed: Seed of the shuffling.
        rank: This process.
        world_size: Number of processes; each takes every `world_size`-th example of a micro-batch.
    """

    num_examples: int
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if self.num_examples < 1:
            raise ValueError("the training split is empty")
        if self.batch_size % self.world_size:
            raise ValueError(
                f"a micro-batch of {self.batch_size} examples cannot be shared by {self.world_size} processes"
            )

    @property
    def batches_per_epoch(self) -> int:
        """Whole micro-batches in a pass; the rest of a shuffled pass is left out."""
        return max(self.num_examples // self.batch_size, 1)

    @property
    def facts(self) -> dict[str, int]:
        """What the order follows from."""
        return {"examples": self.num_examples, "batch_size": self.batch_size, "seed": self.seed}

    def batches(self, start: int, count: int) -> "EndlessBatches":
        """Return this process's micro-batches from `start` on, `count` of them."""
        return EndlessBatches(self, start, count)

    def names(self, number: int) -> list[int]:
        """Return the examples of a micro-batch, of all processes."""
        return self.batch(number).tolist()

    def epoch(self, number: int) -> np.ndarray:
        """Return the order of all examples in one pass."""
        return np.random.default_rng([self.seed, number]).permutation(self.num_examples)

    def batch(self, number: int) -> np.ndarray:
        """Return the examples of a micro-batch, counted from the first pass on, of all processes."""
        epoch, place = divmod(number, self.batches_per_epoch)
        return self.epoch(epoch)[place * self.batch_size : (place + 1) * self.batch_size]


class EndlessBatches(Sampler[list[int]]):
    """Yields the indices of this process's micro-batches from `start` on, `count` of them.

    Args:
        order: The order.
        start: First micro-batch.
        count: How many.
    """

    def __init__(self, order: Order, start: int, count: int) -> None:
        self.order = order
        self.start = start
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        order = self.order
        number, shuffled = -1, np.empty(0, dtype=np.int64)
        for batch in range(self.start, self.start + self.count):
            epoch, place = divmod(batch, order.batches_per_epoch)
            if epoch != number:
                number, shuffled = epoch, order.epoch(epoch)
            chosen = shuffled[place * order.batch_size : (place + 1) * order.batch_size]
            yield chosen[order.rank :: order.world_size].tolist()
