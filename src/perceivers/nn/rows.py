"""Arrays kept as what they are made of: content, positions on a grid, constants.

An array (B, M, C) that attention reads or that asks is large because M is, yet much of it says little: the Fourier
features of a full grid depend on one coordinate each, a padding is the same everywhere. `Rows` keeps such an array as
blocks of channels. What single-head attention needs of a normalised row `(x - mean) / deviation` are its products with
a few vectors, sums of such rows with weights, and the deviation; each block gives its share without the array.

Letters: `B` batch, `M` rows, `C` their width, `R` vectors that meet them, `L` lines of the grid (all axes but the
last), `W` its last axis, `w` width of a block.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from math import prod

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional

# So many numbers are measured at a time: they stay in the processor's cache.
_MEASURED = 2**19


class Block(ABC):
    """Some neighbouring channels of the rows of a grid."""

    @property
    @abstractmethod
    def num_channels(self) -> int:
        """Their number w."""

    @abstractmethod
    def tensors(self) -> tuple[Tensor, ...]:
        """Return what the block is made of."""

    @property
    def like(self) -> Tensor:
        """A tensor of the block: its number format and device are the block's."""
        return self.tensors()[0]

    @abstractmethod
    def dense(self) -> Float[Tensor, "#B #M w"]:
        """Return the block as an array."""

    def element(self, index: int) -> "Block":
        """Return the block of one element of the batch."""
        return self

    @cached_property
    def moments(self) -> tuple[Float64[Tensor, "#B #M"], Float64[Tensor, "#B #M"]]:
        """The mean over the block's channels, and the sum of squared distances from it; measured once."""
        return self._measure()

    @abstractmethod
    def _measure(self) -> tuple[Float64[Tensor, "#B #M"], Float64[Tensor, "#B #M"]]:
        """Return `moments`."""


@dataclass(frozen=True)
class Content(Block):
    """Numbers that each row has of its own.

    Args:
        values: The numbers; (1, M, w) serves the whole batch.
    """

    values: Float[Tensor, "b M w"]

    @property
    def num_channels(self) -> int:
        """Their number."""
        return self.values.shape[-1]

    def tensors(self) -> tuple[Tensor, ...]:
        """See `Block`."""
        return (self.values,)

    def element(self, index: int) -> "Content":
        """Return the numbers of one element of the batch."""
        return self if len(self.values) == 1 else Content(self.values[index : index + 1])

    def dense(self) -> Float[Tensor, "#B #M w"]:
        """Return the numbers."""
        return self.values

    def _measure(self) -> tuple[Float64[Tensor, "#B #M"], Float64[Tensor, "#B #M"]]:
        """Measure each row by the layer norm's own kernel, which does not cancel and is faster than a variance."""
        width = self.num_channels
        pieces = self.values.split(max(1, _MEASURED // width), dim=1)
        measured = [torch.native_layer_norm(piece, (width,), None, None, 0.0)[1:] for piece in pieces]
        mean, inverse = (torch.cat(parts, dim=1)[..., 0].double() for parts in zip(*measured, strict=True))
        return mean, inverse.pow(-2) * width


@dataclass(frozen=True)
class Projected(Block):
    """Numbers of each row after a linear layer that widens them.

    Args:
        values: The numbers before it.
        weight: Of the layer.
        bias: Likewise.
    """

    values: Float[Tensor, "b M v"]
    weight: Float[Tensor, "w v"]
    bias: Float[Tensor, "w"]

    @property
    def num_channels(self) -> int:
        """Width of the layer's result."""
        return len(self.weight)

    def tensors(self) -> tuple[Tensor, ...]:
        """See `Block`."""
        return (self.values, self.weight, self.bias)

    def element(self, index: int) -> "Projected":
        """Return the numbers of one element of the batch."""
        return self if len(self.values) == 1 else replace(self, values=self.values[index : index + 1])

    def dense(self) -> Float[Tensor, "#B #M w"]:
        """Apply the layer."""
        return functional.linear(self.values, self.weight, self.bias)

    def _measure(self) -> tuple[Float64[Tensor, "#B #M"], Float64[Tensor, "#B #M"]]:
        """Return the mean and the length of `R (values, 1)`, R the triangle of the centred layer: squares only."""
        layer = torch.cat([self.weight, self.bias[:, None]], dim=1).double()
        mean = layer.mean(dim=0)
        triangle = torch.linalg.qr(layer - mean, mode="r").R.mT
        values = self.values.double()
        lengths = (values @ triangle[:-1] + triangle[-1]).square().sum(dim=-1)
        return values @ mean[:-1] + mean[-1], lengths


@dataclass(frozen=True)
class GridAxes(Block):
    """Features that depend on one coordinate of the row each, such as Fourier positions of a full grid.

    Args:
        tables: For each axis of the grid the features of its steps, (n, w_a).
        places: The channels that they fill, counted within the block.
        whole: Makes the block as an array (M, w).
    """

    tables: tuple[Tensor, ...]
    places: tuple[Tensor, ...]
    whole: Callable[[], Float[Tensor, "M w"]]

    @property
    def num_channels(self) -> int:
        """Width of all axes together."""
        return sum(table.shape[-1] for table in self.tables)

    def tensors(self) -> tuple[Tensor, ...]:
        """See `Block`."""
        return self.tables

    def dense(self) -> Float[Tensor, "#B #M w"]:
        """Return the array."""
        return self.whole()[None]

    def _measure(self) -> tuple[Float64[Tensor, "#B #M"], Float64[Tensor, "#B #M"]]:
        """Add up axes: each is measured on its steps."""
        width = self.num_channels
        tables = [table.double() for table in self.tables]
        mean = outer_sum([table.sum(dim=-1) / width for table in tables])
        inner = outer_sum([table.var(dim=-1, correction=0) * table.shape[-1] for table in tables])
        between = outer_sum([table.sum(dim=-1) ** 2 / table.shape[-1] for table in tables]) - width * mean**2
        return mean.flatten()[None], (inner + between.clamp_min(0)).flatten()[None]

    def embedded(self) -> list[Float[Tensor, "n w"]]:
        """Return the table of each axis over all channels of the block, zero where others are."""
        return [
            table.new_zeros(len(table), self.num_channels).index_copy(1, place, table)
            for table, place in zip(self.tables, self.places, strict=True)
        ]


@dataclass(frozen=True)
class Constant(Block):
    """The same numbers in every row.

    Args:
        vector: The numbers.
    """

    vector: Float[Tensor, "w"]

    @property
    def num_channels(self) -> int:
        """Their number."""
        return len(self.vector)

    def tensors(self) -> tuple[Tensor, ...]:
        """See `Block`."""
        return (self.vector,)

    def dense(self) -> Float[Tensor, "#B #M w"]:
        """Return one row."""
        return self.vector[None, None]

    def _measure(self) -> tuple[Float64[Tensor, "#B #M"], Float64[Tensor, "#B #M"]]:
        """Measure the one row."""
        vector = self.vector.double()
        return vector.mean()[None, None], ((vector - vector.mean()).square().sum())[None, None]


@dataclass(frozen=True)
class Span:
    """A run of rows: whole lines of the grid, or a part of one line.

    Args:
        lines: Which lines.
        columns: Which steps of the last axis.
        rows: The same as row numbers.
    """

    lines: slice
    columns: slice
    rows: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Number of lines, and of columns."""
        return self.lines.stop - self.lines.start, self.columns.stop - self.columns.start


@dataclass(frozen=True)
class Segment:
    """Rows that form one grid, as blocks side by side.

    Args:
        batch_size: B.
        grid_shape: The grid; M is its product (row-major).
        blocks: Their channels, in order.
    """

    batch_size: int
    grid_shape: tuple[int, ...]
    blocks: tuple[Block, ...]

    @property
    def num_rows(self) -> int:
        """M."""
        return prod(self.grid_shape)

    @property
    def num_channels(self) -> int:
        """C."""
        return sum(block.num_channels for block in self.blocks)

    def dense(self) -> Float[Tensor, "B M C"]:
        """Return the rows as an array."""
        shape = (self.batch_size, self.num_rows, -1)
        return torch.cat([block.dense().expand(shape) for block in self.blocks], dim=-1)

    def inverse_deviation(self, eps: float) -> Float64[Tensor, "#B M"]:
        """Return `1 / sqrt(variance + eps)` of each row, over all its channels.

        Blocks are put together by their means and squared distances: nothing cancels, however far the mean of a row
        lies from zero.
        """
        means, squares = zip(*(block.moments for block in self.blocks), strict=True)
        widths = [block.num_channels for block in self.blocks]
        mean = _total([width * m for width, m in zip(widths, means, strict=True)]) / self.num_channels
        between = [width * (m - mean).square() for width, m in zip(widths, means, strict=True)]
        variance = _total([*squares, *between]) / self.num_channels
        return (variance + eps).rsqrt().expand(-1, self.num_rows)

    def element(self, index: int) -> "Segment":
        """Return the rows of one element of the batch."""
        return Segment(1, self.grid_shape, tuple(block.element(index) for block in self.blocks))

    def with_constant(self, vector: Float[Tensor, "w"]) -> "Segment":
        """Return the rows with the same numbers behind each."""
        return Segment(self.batch_size, self.grid_shape, (*self.blocks, Constant(vector)))

    def spans(self, most: int) -> Iterator[Span]:
        """Cut the rows into runs of at most `most`: as many whole lines as fit, else parts of a line."""
        width = self.grid_shape[-1]
        num_lines = self.num_rows // width
        step = max(1, most // width)
        if width <= most:
            for start in range(0, num_lines, step):
                stop = min(start + step, num_lines)
                yield Span(slice(start, stop), slice(0, width), slice(start * width, stop * width))
            return
        for line in range(num_lines):
            for start in range(0, width, most):
                stop = min(start + most, width)
                rows = slice(line * width + start, line * width + stop)
                yield Span(slice(line, line + 1), slice(start, stop), rows)


@dataclass(frozen=True)
class Rows:
    """An array (B, M, C) as segments one after the other.

    Args:
        segments: Of equal batch size and width.
    """

    segments: tuple[Segment, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """B, M and C."""
        first = self.segments[0]
        return first.batch_size, sum(segment.num_rows for segment in self.segments), first.num_channels

    @property
    def like(self) -> Tensor:
        """A tensor of the rows: its number format and device are theirs."""
        return self.segments[0].blocks[0].like

    @cached_property
    def _dense(self) -> Tensor:
        return self._make()

    def _make(self) -> Tensor:
        arrays = [segment.dense() for segment in self.segments]
        return arrays[0] if len(arrays) == 1 else torch.cat(arrays, dim=1)

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient would flow into what the rows are made of."""
        tensors = (t for segment in self.segments for block in segment.blocks for t in block.tensors())
        return any(tensor.requires_grad for tensor in tensors)

    def with_constant(self, vector: Float[Tensor, "w"]) -> "Rows":
        """Return the rows with the same numbers behind each."""
        return Rows(tuple(segment.with_constant(vector) for segment in self.segments))

    def dense(self) -> Float[Tensor, "B M C"]:
        """Return the array; made once."""
        # Up to Python 3.11 the cache takes a lock, which a compiler cannot see through.
        return self._make() if torch.compiler.is_compiling() else self._dense


def _total(terms: Sequence[Tensor]) -> Tensor:
    return reduce(torch.add, terms)


def outer_sum(tables: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return `a[i] + b[j] + ...` for all i, j, ... (row-major) along `dim`."""

    def add(left: Tensor, right: Tensor) -> Tensor:
        both = left.unsqueeze(dim + 1) + right.unsqueeze(dim)
        return both.flatten(dim, dim + 1)

    return reduce(add, tables)


def as_array(array: Float[Tensor, "B M C"] | Rows) -> Float[Tensor, "B M C"]:
    """Return what may be kept in parts as an array."""
    return array.dense() if isinstance(array, Rows) else array


def joined(parts: Sequence[Rows]) -> Rows:
    """Return rows of equal batch size and width one after the other."""
    return Rows(tuple(segment for rows in parts for segment in rows.segments))


def behind(array: Float[Tensor, "B M C"] | Rows, grid_shape: tuple[int, ...], vector: Float[Tensor, "w"]) -> Rows:
    """Return an array with the same numbers behind each row.

    Args:
        array: The array.
        grid_shape: The grid that its rows form, where it does not say so itself.
        vector: What stands behind each row.
    """
    rows = array if isinstance(array, Rows) else as_rows(array.shape[0], grid_shape, [Content(array)])
    return rows.with_constant(vector)


def as_rows(batch_size: int, grid_shape: tuple[int, ...], blocks: Sequence[Block]) -> Rows:
    """Return rows of one grid.

    Args:
        batch_size: B.
        grid_shape: The grid that the rows form.
        blocks: Their channels, in order.
    """
    return Rows((Segment(batch_size, tuple(grid_shape), tuple(blocks)),))
