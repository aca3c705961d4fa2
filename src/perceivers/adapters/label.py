"""Labels: a few learned queries in, class scores out."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from perceivers.adapters.base import (
    InputAdapter,
    OutputAdapter,
    OutputConfig,
    Queries,
    QueryAdapter,
    QueryConfig,
    Tokens,
    take_rows,
)
from perceivers.nn.init import plain_linear, truncated_normal_


@dataclass(frozen=True, kw_only=True)
class LearnedQueryConfig(QueryConfig, kind="learned"):
    """A fixed number of learned queries: one for a label, or one a task.

    Args:
        num_queries: How many.
        num_channels: Width of a query.
        init_scale: Deviation of the truncated normal they start from.
    """

    num_queries: int = 1
    num_channels: int
    init_scale: float = 0.02

    def build(self, inputs: InputAdapter) -> "LearnedQueries":
        """Make the module."""
        return LearnedQueries(self)

    @classmethod
    def example(cls) -> "LearnedQueryConfig":
        """Return a tiny config."""
        return cls(num_queries=3, num_channels=8)


class LearnedQueries(QueryAdapter):
    """The same learned rows for every input."""

    def __init__(self, config: LearnedQueryConfig) -> None:
        super().__init__()
        self.num_channels = config.num_channels
        self.table = nn.Parameter(torch.empty(config.num_queries, config.num_channels))
        truncated_normal_(self.table, config.init_scale)

    def forward(self, tokens: Tokens, where: Any = None) -> Queries:
        """Return all queries, or those in `where`."""
        batch_size = len(tokens.values)
        if where is None:
            return Queries(self.table.expand(batch_size, -1, -1))
        return Queries(take_rows(self.table, where, batch_size))

    def output_grid(self, tokens: Tokens) -> tuple[int, ...]:
        """Return the number of queries."""
        return (len(self.table),)


@dataclass(frozen=True, kw_only=True)
class NoQueryConfig(QueryConfig, kind="none"):
    """One query that says nothing, for the original Perceiver's averaged head."""

    def build(self, inputs: InputAdapter) -> "NoQueries":
        """Make the module."""
        return NoQueries()

    @classmethod
    def example(cls) -> "NoQueryConfig":
        """Return the config."""
        return cls()


class NoQueries(QueryAdapter):
    """A query of no width."""

    num_channels = 0

    def forward(self, tokens: Tokens, where: Any = None) -> Queries:
        """Return one empty query, or one for each entry of `where`."""
        empty = tokens.values.new_empty(1, 0)
        where = torch.zeros(1, dtype=torch.long, device=empty.device) if where is None else where
        return Queries(take_rows(empty, where, len(tokens.values)))

    def output_grid(self, tokens: Tokens) -> tuple[int, ...]:
        """Return 1."""
        return (1,)


@dataclass(frozen=True, kw_only=True)
class LabelOutputConfig(OutputConfig, kind="label"):
    """Decoded rows -> class scores.

    Args:
        num_classes: Number of classes.
        zero_init: Start from zero weights.
    """

    num_classes: int
    zero_init: bool = False

    def build(self, num_channels: int, inputs: InputAdapter) -> "LabelOutput":
        """Make the module."""
        return LabelOutput(self, num_channels)

    @classmethod
    def example(cls) -> "LabelOutputConfig":
        """Return a tiny config."""
        return cls(num_classes=5)


class LabelOutput(OutputAdapter):
    """A linear layer over classes."""

    def __init__(self, config: LabelOutputConfig, num_channels: int) -> None:
        super().__init__()
        self.linear = plain_linear(num_channels, config.num_classes, zeros=config.zero_init)

    def forward(self, decoded: Float[Tensor, "B O F"], where: Any = None) -> Float[Tensor, "B O E"]:
        """Return one row of logits a query."""
        return self.linear(decoded)

    def arrange(self, outputs: Any, grid: tuple[int, ...]) -> Any:
        """Return (B, E) for a single query, (B, O, E) for several."""
        return outputs[:, 0] if grid == (1,) else outputs
