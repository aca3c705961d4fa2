"""The contracts of the parts that a modality brings: input side, query side, output side.

Each part is a frozen config (a `Variant`, so that it registers itself by being written) whose
`build` makes the module. Nothing above this room knows any modality by name.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from perceivers.config import Variant
from perceivers.nn.absorption import Layer
from perceivers.nn.init import plain_linear
from perceivers.nn.rows import Block, Rows, Segment, as_array

Batch = Mapping[str, Any]
# How a decoder answers all queries of a segment, its answers already under the last layer: (B, O, E).
Ask = Callable[[Segment, Layer], Float[Tensor, "B O E"]]
# The grid of one modality's outputs, e.g. (height, width), or the grid of each of several modalities.
Grid = tuple[int, ...] | Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Tokens:
    """What an input side makes of a batch.

    Args:
        array: What the encoder reads: content and positions, (B, M, C), or `Rows` that stand for such an array.
        keep_mask: (B, M), `True` = attend; `None` keeps everything.
        features: The content without positions, (B, M, E), or what stands for it.
        grid_shape: The grid that the M elements form, e.g. (height, width).
        grids: The grid of each modality, in their order, when the elements of several are joined.
    """

    array: Float[Tensor, "B M C"] | Rows
    keep_mask: Bool[Tensor, "B M"] | None
    features: Float[Tensor, "B M E"] | Block | Rows
    grid_shape: tuple[int, ...]
    grids: Mapping[str, tuple[int, ...]] | None = None

    @property
    def values(self) -> Float[Tensor, "B M C"]:
        """What the encoder reads, as an array."""
        return as_array(self.array)

    @property
    def content(self) -> Float[Tensor, "B M E"]:
        """The features without positions, as an array."""
        return self.features if isinstance(self.features, Tensor) else self.features.dense()

    @property
    def batch_size(self) -> int:
        """B."""
        return self.array.shape[0]

    @property
    def like(self) -> Tensor:
        """A tensor of the number format and on the device of the values, which need not be made for that."""
        return self.array.like if isinstance(self.array, Rows) else self.array


@dataclass(frozen=True)
class Queries:
    """What to ask of the latents.

    Args:
        array: One row a wanted output, (B, O, F), or `Rows` that stand for such an array; with several modalities one
            segment each.
        keep_mask: (B, O), `False` rows read nothing; `None` keeps everything.
        counts: How many rows ask for each modality, in their order, when there are several.
    """

    array: Float[Tensor, "B O F"] | Rows
    keep_mask: Bool[Tensor, "B O"] | None = None
    counts: Mapping[str, int] | None = None

    @property
    def values(self) -> Float[Tensor, "B O F"]:
        """The rows, as an array."""
        return as_array(self.array)


@dataclass(frozen=True)
class RawTokens:
    """What the tokens of a batch are made of, before anything that is learned: what masked auto-encoding asks for.

    Args:
        values: Numbers of each token, (B, M, E), or an id of each, (B, M).
        keep_mask: (B, M), `True` = something is there; `None` is everywhere.
        grid_shape: The grid that the M elements form.
    """

    values: Float[Tensor, "B M E"] | Int[Tensor, "B M"]
    keep_mask: Bool[Tensor, "B M"] | None
    grid_shape: tuple[int, ...]


class InputAdapter(nn.Module, ABC):
    """Input side: raw batch -> `Tokens`.

    `num_channels` is the width C of the tokens, `entries` the entries of the batch that are read, `grid_shape`
    the grid of tokens that it is laid out for; the last two let a multimodal input do without a modality.
    """

    num_channels: int
    entries: tuple[str, ...] = ()
    grid_shape: tuple[int, ...] | None = None

    @abstractmethod
    def forward(self, batch: Batch) -> Tokens:
        """Read this modality's entries of `batch`."""

    @abstractmethod
    def example_batch(self, batch_size: int) -> dict[str, Any]:
        """Return a random batch of the right form, for tests, plans, benchmarks and export."""

    def raw(self, batch: Batch) -> RawTokens:
        """Return what the tokens are made of; by default their content, which has to be free of learned layers.

        Raises:
            ValueError: The content is learned: asked for it, a model would learn to make it easy instead.
        """
        with torch.enable_grad():
            tokens = self(batch)
            content = tokens.content
        if content.requires_grad:
            raise ValueError(
                f"{type(self).__name__} cannot be masked and asked for: the content of its tokens comes out of learned "
                f"layers, and it has no method `raw` that says what goes into them"
            )
        return RawTokens(content, tokens.keep_mask, tokens.grid_shape)

    def hide(self, batch: Batch, hidden: Bool[Tensor, "B M"]) -> Batch:
        """Return the batch without what `hidden` tokens are made of, for inputs whose tokens see their neighbours'.

        By default the batch itself: where each token is made of its own part, leaving tokens out is enough.
        """
        return batch


@dataclass(frozen=True, kw_only=True)
class InputConfig(Variant, ABC):
    """Config of an input side."""

    @abstractmethod
    def build(self) -> InputAdapter:
        """Make the module."""

    @classmethod
    @abstractmethod
    def example(cls) -> "InputConfig":
        """Return a tiny config of this kind; contract tests walk all kinds."""


class QueryAdapter(nn.Module, ABC):
    """Query side: which outputs to ask for -> `Queries`. `num_channels` is their width F."""

    num_channels: int

    @abstractmethod
    def forward(self, tokens: Tokens, where: Any = None) -> Queries:
        """Return the queries for `where`, or for all outputs.

        Args:
            tokens: What was read; some queries are made from it.
            where: Indices into the row-major outputs, (K,) for all rows or (B, K) row by row.
        """

    @abstractmethod
    def output_grid(self, tokens: Tokens) -> Grid:
        """Return the grid that all outputs together form; its product is their number O."""

    def split(self, tokens: Tokens, where: Any, chunk_size: int) -> Iterator[Any]:
        """Yield `where`, or all outputs, in pieces of at most `chunk_size`."""
        if where is None:
            count = grid_size(self.output_grid(tokens))
            where = torch.arange(count, device=tokens.like.device)
        yield from where.split(chunk_size, dim=-1)


@dataclass(frozen=True, kw_only=True)
class QueryConfig(Variant, ABC):
    """Config of a query side."""

    @abstractmethod
    def build(self, inputs: InputAdapter) -> QueryAdapter:
        """Make the module; some queries share the form of the inputs."""

    @classmethod
    @abstractmethod
    def example(cls) -> "QueryConfig":
        """Return a tiny config of this kind."""

    @classmethod
    def example_input(cls) -> InputConfig | None:
        """Return the input side that this kind needs, or `None` when any will do."""
        return None


class OutputAdapter(nn.Module, ABC):
    """Output side: decoded rows -> this modality's outputs, each row on its own."""

    @abstractmethod
    def forward(self, decoded: Float[Tensor, "B O F"], queries: Queries) -> Any:
        """Turn decoded rows into outputs; `queries` is what they answer."""

    def last_layer(self) -> Layer | None:
        """Return the linear layer that all of `forward` is, or `None` when it is something else."""
        return None

    def answer(self, ask: Ask, segments: Sequence[Segment], queries: Queries) -> Any:
        """Ask for all outputs by a decoder that applies the last layer itself; `None` when that cannot be done.

        Args:
            ask: Takes one segment of queries and the last layer to answers.
            segments: The queries.
            queries: What the segments are of.
        """
        last = self.last_layer()
        return None if last is None else torch.cat([ask(segment, last) for segment in segments], dim=1)

    def join(self, pieces: list[Any]) -> Any:
        """Put together outputs that were asked for in pieces."""
        return torch.cat(pieces, dim=1)

    def arrange(self, outputs: Any, grid: Grid) -> Any:
        """Give the form of the modality to outputs that are complete, e.g. (B, H, W, E)."""
        return outputs


class LinearOutput(OutputAdapter):
    """One linear layer over decoded rows, for modalities that differ in the form of their answers only.

    Args:
        num_channels: Width of the decoded rows.
        output_channels: Width of an output.
        zero_init: Start from zero weights.
    """

    def __init__(self, num_channels: int, output_channels: int, *, zero_init: bool = False) -> None:
        super().__init__()
        self.linear = plain_linear(num_channels, output_channels, zeros=zero_init)

    def forward(self, decoded: Float[Tensor, "B O F"], queries: Queries) -> Float[Tensor, "B O E"]:
        """Return one output a row."""
        return self.linear(decoded)

    def last_layer(self) -> Layer:
        """Return the layer."""
        return Layer(self.linear.dense_weight(), self.linear.bias)


@dataclass(frozen=True, kw_only=True)
class OutputConfig(Variant, ABC):
    """Config of an output side."""

    @abstractmethod
    def build(self, num_channels: int, inputs: InputAdapter) -> OutputAdapter:
        """Make the module.

        Args:
            num_channels: Width of the decoded rows.
            inputs: The input side, for outputs that share weights with it.
        """

    @classmethod
    @abstractmethod
    def example(cls) -> "OutputConfig":
        """Return a tiny config of this kind."""

    @classmethod
    def example_input(cls) -> InputConfig | None:
        """Return the input side that this kind needs, or `None` when any will do."""
        return None

    @classmethod
    def example_queries(cls) -> QueryConfig | None:
        """Return the query side that this kind needs, or `None` when any will do."""
        return None


def batch_entry(batch: Batch, key: str) -> Any:
    """Return `batch[key]`.

    Raises:
        ValueError: The batch has no such entry.
    """
    if key not in batch:
        raise ValueError(f"the batch has no '{key}'; it has {sorted(batch)}")
    return batch[key]


def without_full_mask(keep_mask: Bool[Tensor, "B M"]) -> Bool[Tensor, "B M"] | None:
    """Return the mask, or `None` for one that hides nothing, where a look at it costs nothing."""
    looks = keep_mask.device.type == "cpu" and not torch.compiler.is_compiling()
    return None if looks and bool(keep_mask.all()) else keep_mask


def grid_size(grid: Grid) -> int:
    """Return the number of cells."""
    grids = grid.values() if isinstance(grid, Mapping) else (grid,)
    return sum(prod(sides) for sides in grids)


def check_statistics(channels: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Refuse channel statistics that have neither one entry nor one a channel.

    Raises:
        ValueError: Names the statistic.
    """
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, channels):
            raise ValueError(f"{name} {values} must have 1 entry or one for each of {channels} channels")


def as_values(pixels: Tensor, mean: Float[Tensor, "#C"], std: Float[Tensor, "#C"]) -> Float[Tensor, "..."]:
    """Normalise pixels, `uint8` or values in [0, 1], channels last, in the dtype of `mean`."""
    values = pixels.to(mean.dtype) / 255 if pixels.dtype == torch.uint8 else pixels.to(mean.dtype)
    return (values - mean) / std


def check_where(where: Int[Tensor, "K"] | Int[Tensor, "B K"], count: int, batch_size: int) -> None:
    """Refuse indices that no output has.

    Raises:
        ValueError: An index is outside the `count` outputs, or `where` does not fit the batch.
    """
    if where.dim() == 2 and len(where) != batch_size:
        raise ValueError(f"where has {len(where)} rows, but the batch has {batch_size}")
    # On the meta device there is nothing to look at.
    if not torch.compiler.is_compiling() and where.numel() and not where.is_meta:
        low, high = int(where.min()), int(where.max())
        if low < 0 or high >= count:
            raise ValueError(f"where asks for output {low if low < 0 else high}; outputs run from 0 to {count - 1}")


def take_rows(
    rows: Float[Tensor, "O F"] | Float[Tensor, "B O F"], where: Int[Tensor, "K"] | Int[Tensor, "B K"], batch_size: int
) -> Float[Tensor, "B K F"]:
    """Return the rows that `where` names, for each element of the batch.

    Raises:
        ValueError: An index is outside the rows, or `where` does not fit the batch.
    """
    check_where(where, rows.shape[-2], batch_size)
    if rows.dim() == 2:
        return rows[where].expand(batch_size, -1, -1)
    return rows.gather(1, where.expand(batch_size, -1)[..., None].expand(-1, -1, rows.shape[-1]))
