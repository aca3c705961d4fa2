"""Rows of a segment against a few vectors, span by span: their products, and their sums with weights.

Letters as in `nn.rows`: `B` batch, `R` vectors, `m` rows of a span, of which `l` lines and `w` columns of the grid.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from perceivers.nn.linear import Multiplier
from perceivers.nn.rows import Block, Constant, Content, GridAxes, Projected, Segment, Span, outer_sum

# With fewer lines a table of the last axis saves nothing.
_FEWEST_LINES = 2


@dataclass(frozen=True)
class _Tables:
    """Products of rows with vectors, as far as they are the same along an axis of the grid.

    Args:
        lines: What all rows of a line of the grid have in common.
        columns: Likewise of a step of the last axis; `None` where nothing depends on it.
        contents: Numbers of each row, and the part of the vectors that they meet.
    """

    lines: Float[Tensor, "B L R"]
    columns: Float[Tensor, "B W R"] | None
    contents: list[tuple[Float[Tensor, "_ M _"], Float[Tensor, "B R _"]]]


def _blocks(segment: Segment) -> list[Block]:
    """Return the blocks of a segment, those on axes as content where tables of them would be as long as the rows."""
    few = segment.num_rows < _FEWEST_LINES * segment.grid_shape[-1]
    return [Content(block.dense()) if few and isinstance(block, GridAxes) else block for block in segment.blocks]


def _tables(segment: Segment, vectors: Float[Tensor, "B R C"]) -> _Tables:
    parts = vectors.split([block.num_channels for block in segment.blocks], dim=-1)
    width = segment.grid_shape[-1]
    lines = vectors.new_zeros(len(vectors), 1, vectors.shape[1])
    columns: Tensor | None = None
    contents: list[tuple[Tensor, Tensor]] = []
    for block, part in zip(_blocks(segment), parts, strict=True):
        if isinstance(block, Content):
            contents.append((block.values, part))
        elif isinstance(block, Projected):
            contents.append((block.values, part @ block.weight))
            lines = lines + (part @ block.bias)[:, None]
        elif isinstance(block, Constant):
            lines = lines + (part @ block.vector)[:, None]
        elif isinstance(block, GridAxes):
            *leading, last = [table @ part.mT for table in block.embedded()]
            columns = last if columns is None else columns + last
            if leading:
                lines = lines + outer_sum(leading, dim=1)
    return _Tables(lines.expand(-1, segment.num_rows // width, -1), columns, contents)


class Meeting:
    """Products of R vectors with the rows of a segment, span by span.

    Args:
        segment: The rows.
        vectors: What they are multiplied by; centred ones (mean 0) make the mean of a row fall out.
    """

    def __init__(self, segment: Segment, vectors: Float[Tensor, "B R C"]) -> None:
        tables = _tables(segment, vectors)
        self._lines = tables.lines.mT
        self._columns = None if tables.columns is None else tables.columns.mT.contiguous()
        self._contents = tables.contents

    def products(self, span: Span, out: Float[Tensor, "B R m"]) -> Float[Tensor, "B R m"]:
        """Write the products with the rows in `span` to `out`."""
        lines, on_grid = self._lines[..., span.lines, None], out.unflatten(-1, span.shape)
        if self._columns is None:
            on_grid.copy_(lines.expand_as(on_grid))
        else:
            torch.add(lines, self._columns[..., None, span.columns], out=on_grid)
        for values, part in self._contents:
            out.baddbmm_(part, values[:, span.rows].expand(len(out), -1, -1).mT)
        return out


class Questions:
    """Products of the rows of a segment with R vectors, span by span: `Meeting` for one element, rows first.

    Args:
        segment: The rows.
        vectors: As in `Meeting`.
    """

    def __init__(self, segment: Segment, vectors: Float[Tensor, "R C"]) -> None:
        tables = _tables(segment, vectors[None])
        self._lines, self._columns = tables.lines[0], None if tables.columns is None else tables.columns[0]
        self._contents = [(values[0], Multiplier(part[0].contiguous())) for values, part in tables.contents]

    def products(self, span: Span) -> Float[Tensor, "m R"]:
        """Return the products of the rows in `span`, which may be overwritten."""
        contents = self._contents
        if self._columns is not None and span.shape[0] == 1 and contents:
            # Of a single line nothing is made beforehand.
            (values, multiply), *contents = contents
            products = multiply(values[span.rows], self._columns[span.columns], self._lines[span.lines][0])
        else:
            products = self._on_grid(span)
            if not contents:
                return products.clone()
        for values, multiply in contents:
            products = multiply(values[span.rows], products)
        return products

    def _on_grid(self, span: Span) -> Float[Tensor, "m R"]:
        lines = self._lines[span.lines, None]
        products = lines.expand(-1, span.shape[1], -1) if self._columns is None else lines + self._columns[span.columns]
        return products.reshape(-1, products.shape[-1])


class WeightedSums:
    """Sums of the rows of a segment with weights, and of the weights alone, R of each, span by span.

    Args:
        segment: The rows.
        like: Says number format and device.
        num_vectors: R.
    """

    def __init__(self, segment: Segment, like: Tensor, num_vectors: int) -> None:
        self.segment = segment
        blocks = _blocks(segment)
        on_axes = any(isinstance(block, GridAxes) for block in blocks)
        width = segment.grid_shape[-1] if on_axes else 1

        def zeros(count: int) -> Tensor:
            return like.new_zeros(segment.batch_size, num_vectors, count)

        self.total = zeros(1)
        # Without axes nobody asks where the weight lies: a single line and column take it all.
        self.lines, self.columns = zeros(segment.num_rows // width if on_axes else 1), zeros(width)
        self._blocks, self._on_axes = blocks, on_axes
        self.contents: list[tuple[Tensor, Tensor]] = []
        for block in blocks:
            if isinstance(block, Content):
                self.contents.append((block.values, zeros(block.num_channels)))
            elif isinstance(block, Projected):
                # A rounding error of these few goes through the layer into all its channels alike.
                self.contents.append((block.values, zeros(block.values.shape[-1]).double()))

    def add(self, span: Span, weights: Float[Tensor, "B R m"], factor: Float[Tensor, "#B 1 m"]) -> None:
        """Add the rows in `span`, each times its weights and its factor; `weights` is overwritten."""
        self.total += weights.sum(dim=-1, keepdim=True)
        weights.mul_(factor)
        if self._on_axes:
            on_grid = weights.unflatten(-1, span.shape)  # (B, R, l, w)
            self.lines[..., span.lines] += on_grid.sum(dim=-1)
            self.columns[..., span.columns] += on_grid.sum(dim=-2) if span.shape[0] > 1 else on_grid[..., 0, :]
        else:
            self.lines += weights.sum(dim=-1, keepdim=True)
        for values, total in self.contents:
            rows = values[:, span.rows].expand(len(weights), -1, -1)
            if total.dtype == weights.dtype:
                total.baddbmm_(weights, rows)
            else:
                total += torch.bmm(weights, rows)

    def scale(self, factor: Float[Tensor, "B R 1"]) -> None:
        """Multiply all that was added."""
        for total in (self.total, self.lines, self.columns, *(total for _, total in self.contents)):
            total.mul_(factor)

    def result(self) -> Float[Tensor, "B R C"]:
        """Return the sums of rows."""
        contents = iter(total for _, total in self.contents)
        mass = self.lines.sum(dim=-1, keepdim=True)  # (B, R, 1)
        parts: list[Tensor] = []
        for block in self._blocks:
            if isinstance(block, Content):
                parts.append(next(contents))
            elif isinstance(block, Projected):
                read = next(contents) @ block.weight.double().mT + mass.double() * block.bias.double()
                parts.append(read.to(mass.dtype))
            elif isinstance(block, Constant):
                parts.append(mass * block.vector)
            elif isinstance(block, GridAxes):
                parts.append(self._of_axes(block))
        return torch.cat(parts, dim=-1)

    def _of_axes(self, block: GridAxes) -> Float[Tensor, "B R w"]:
        *leading, last = block.embedded()
        total = self.columns @ last
        grid = self.segment.grid_shape[:-1]
        lines = self.lines.unflatten(-1, grid or (1,))  # (B, R, *grid)
        for axis, table in enumerate(leading):
            others = [2 + a for a in range(len(grid)) if a != axis]
            total = total + (lines.sum(dim=others) if others else lines) @ table
        return total
