"""Labels: what is known of them in, a few learned queries, class scores out."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from perceivers.adapters.base import (
    Batch,
    Grid,
    InputAdapter,
    InputConfig,
    LinearOutput,
    OutputConfig,
    Queries,
    QueryAdapter,
    QueryConfig,
    Tokens,
    batch_entry,
    take_rows,
)
from perceivers.nn.init import truncated_normal_


@dataclass(frozen=True, kw_only=True)
class LabelInputConfig(InputConfig, kind="label"):
    """A label as an input: one token, one channel a class.

    Args:
        num_classes: Number of classes.
    """

    num_classes: int

    def build(self) -> "LabelInput":
        """Make the module."""
        return LabelInput(self)

    @classmethod
    def example(cls) -> "LabelInputConfig":
        """Return a tiny config."""
        return cls(num_classes=5)


class LabelInput(InputAdapter):
    """Reads `label`: class ids (B,), or probabilities (B, E)."""

    entries = ("label",)
    grid_shape = (1,)
    like: Tensor

    def __init__(self, config: LabelInputConfig) -> None:
        super().__init__()
        self.num_channels = config.num_classes
        # Says in which dtype and on which device the model computes.
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def forward(self, batch: Batch) -> Tokens:
        """Return one token a label.

        Raises:
            ValueError: The label has another form, or an id is no class.
        """
        label = batch_entry(batch, "label")
        if label.dim() == 1 and not label.is_floating_point():
            if not torch.compiler.is_compiling() and len(label) and not label.is_meta:
                low, high = int(label.min()), int(label.max())
                if low < 0 or high >= self.num_channels:
                    raise ValueError(f"label {low if low < 0 else high} must lie between 0 and {self.num_channels - 1}")
            label = functional.one_hot(label.long(), self.num_channels)
        if label.dim() != 2 or label.shape[1] != self.num_channels:
            raise ValueError(
                f"label of shape {tuple(label.shape)} must be ids (B,) or probabilities (B, {self.num_channels})"
            )
        values = label.to(self.like)[:, None]
        return Tokens(values, None, values, (1,))

    def example_batch(self, batch_size: int) -> dict[str, Any]:
        """Return random ids."""
        return {"label": torch.randint(self.num_channels, (batch_size,))}


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
        batch_size = tokens.batch_size
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
        empty = tokens.like.new_empty(1, 0)
        where = torch.zeros(1, dtype=torch.long, device=empty.device) if where is None else where
        return Queries(take_rows(empty, where, tokens.batch_size))

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
        return LabelOutput(num_channels, self.num_classes, zero_init=self.zero_init)

    @classmethod
    def example(cls) -> "LabelOutputConfig":
        """Return a tiny config."""
        return cls(num_classes=5)


class LabelOutput(LinearOutput):
    """One row of logits a query."""

    def arrange(self, outputs: Any, grid: Grid) -> Any:
        """Return (B, E) for a single query, (B, O, E) for several."""
        return outputs[:, 0] if grid == (1,) else outputs
