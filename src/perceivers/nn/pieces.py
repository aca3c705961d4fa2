"""Rows of a segment against a few vectors, span by span: their products, and their sums with weights."""

import torch
from jaxtyping import Float
from torch import Tensor

from perceivers.nn.rows import Constant, Content, GridAxes, Segment, Span, outer_sum


class Meeting:
    """Products of the rows of a segment with R vectors, span by span.

    Args:
        segment: The rows.
        vectors: What they are multiplied by; centred ones (mean 0) make the mean of a row fall out.
    """

    def __init__(self, segment: Segment, vectors: Float[Tensor, "B R C"]) -> None:
        parts = vectors.split([block.num_channels for block in segment.blocks], dim=-1)
        self.lines: Tensor = vectors.new_zeros(len(vectors), 1, vectors.shape[1])  # (B, L | 1, R)
        self.columns: Tensor | None = None  # (B, W, R)
        self.contents: list[tuple[Tensor, Tensor]] = []
        for block, part in zip(segment.blocks, parts, strict=True):
            if isinstance(block, Content):
                self.contents.append((block.values, part.mT))
            elif isinstance(block, Constant):
                self.lines = self.lines + (part @ block.vector)[:, None]
            elif isinstance(block, GridAxes):
                *leading, last = [table @ part.mT for table in block.embedded()]
                self.columns = last
                if leading:
                    self.lines = self.lines + outer_sum(leading, dim=1)

    def products(self, span: Span, out: Float[Tensor, "B m R"]) -> Float[Tensor, "B m R"]:
        """Write the products of the rows in `span` to `out`."""
        lines = self.lines if self.lines.shape[1] == 1 else self.lines[:, span.lines]
        if self.columns is None:
            out.copy_(lines.expand_as(out))
        else:
            shape = (span.lines.stop - span.lines.start, span.columns.stop - span.columns.start)
            torch.add(lines[:, :, None], self.columns[:, None, span.columns], out=out.unflatten(1, shape))
        for values, weights in self.contents:
            out.baddbmm_(values[:, span.rows].expand(len(out), -1, -1), weights)
        return out


class WeightedSums:
    """Sums of the rows of a segment with R weights each, span by span.

    Args:
        segment: The rows.
        like: Says number format and device.
        num_vectors: R.
    """

    def __init__(self, segment: Segment, like: Tensor, num_vectors: int) -> None:
        self.segment = segment
        grid = segment.grid_shape

        def zeros(count: int) -> Tensor:
            return like.new_zeros(segment.batch_size, count, num_vectors)

        self.lines, self.columns = zeros(segment.num_rows // grid[-1]), zeros(grid[-1])
        self.contents = [
            (block.values, zeros(block.values.shape[-1])) for block in segment.blocks if isinstance(block, Content)
        ]

    def add(self, span: Span, weights: Float[Tensor, "B m R"]) -> None:
        """Add the rows in `span`, each times its weights."""
        shape = (span.lines.stop - span.lines.start, span.columns.stop - span.columns.start)
        on_grid = weights.unflatten(1, shape)  # (B, l, w, R)
        self.lines[:, span.lines] += on_grid.sum(dim=2)
        self.columns[:, span.columns] += on_grid.sum(dim=1) if shape[0] > 1 else on_grid[:, 0]
        for values, total in self.contents:
            total.baddbmm_(values[:, span.rows].expand(len(weights), -1, -1).mT, weights)

    def scale(self, factor: Float[Tensor, "B 1 R"]) -> None:
        """Multiply all that was added."""
        for total in (self.lines, self.columns, *(total for _, total in self.contents)):
            total.mul_(factor)

    def result(self) -> Float[Tensor, "B R C"]:
        """Return the sums."""
        contents = iter(total for _, total in self.contents)
        mass = self.lines.sum(dim=1)  # (B, R)
        parts: list[Tensor] = []
        for block in self.segment.blocks:
            if isinstance(block, Content):
                parts.append(next(contents).mT)
            elif isinstance(block, Constant):
                parts.append(mass[..., None] * block.vector)
            elif isinstance(block, GridAxes):
                parts.append(self._on_axes(block))
        return torch.cat(parts, dim=-1)

    def _on_axes(self, block: GridAxes) -> Float[Tensor, "B R w"]:
        *leading, last = block.embedded()
        total = self.columns.mT @ last
        grid = self.segment.grid_shape[:-1]
        lines = self.lines.unflatten(1, grid or (1,))  # (B, *grid, R)
        for axis, table in enumerate(leading):
            others = [1 + a for a in range(len(grid)) if a != axis]
            total = total + (lines.sum(dim=others) if others else lines).mT @ table
        return total
