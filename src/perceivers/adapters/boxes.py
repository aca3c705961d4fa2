"""Boxes: queries that know a place in the image; a class and a box out of each."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from perceivers.adapters.base import (
    Grid,
    InputAdapter,
    InputConfig,
    OutputAdapter,
    OutputConfig,
    Queries,
    QueryAdapter,
    QueryConfig,
    Tokens,
    grid_size,
    take_rows,
)
from perceivers.adapters.image import PixelInputConfig
from perceivers.nn.init import plain_linear

# How many channels at the beginning of a query say where it looks: (x, y), each as a logit.
PLACE_CHANNELS = 2
_BOX_CHANNELS = 4


@dataclass(frozen=True, kw_only=True)
class AnchorQueryConfig(QueryConfig, kind="anchors"):
    """One query a cell of the input's grid: its place, and what was read there.

    Queries with places of their own learn to detect many times faster than those that have to find theirs (Anchor
    DETR, arXiv:2109.07107); that a query is made from the input at its place follows Perceiver IO's optical flow.

    Args:
        num_channels: Width of a query, the two channels of the place among it.
    """

    num_channels: int

    def build(self, inputs: InputAdapter) -> "AnchorQueries":
        """Make the module.

        Raises:
            ValueError: The width leaves nothing beside the place.
        """
        if self.num_channels <= PLACE_CHANNELS:
            raise ValueError(f"num_channels ({self.num_channels}) must be greater than {PLACE_CHANNELS}, the place's")
        return AnchorQueries(self, inputs.num_channels)

    @classmethod
    def example(cls) -> "AnchorQueryConfig":
        """Return a tiny config."""
        return cls(num_channels=8)

    @classmethod
    def example_input(cls) -> InputConfig:
        """Return an image, whose tokens form a grid of two axes."""
        return PixelInputConfig.example()


class AnchorQueries(QueryAdapter):
    """The tokens, projected, behind the places of their cells."""

    def __init__(self, config: AnchorQueryConfig, token_channels: int) -> None:
        super().__init__()
        self.num_channels = config.num_channels
        self.linear = plain_linear(token_channels, config.num_channels - PLACE_CHANNELS)

    def forward(self, tokens: Tokens, where: Any = None) -> Queries:
        """Return one query a token, or those in `where`.

        Raises:
            ValueError: The tokens form no grid of two axes.
        """
        batch_size = tokens.batch_size
        if len(tokens.grid_shape) != 2:
            raise ValueError(f"'anchors' queries need tokens on a grid of two axes, not {tokens.grid_shape}")
        place = grid_places(tokens.grid_shape, tokens.like).expand(batch_size, -1, -1)
        rows = torch.cat([place, self.linear(tokens.values)], dim=-1)
        return Queries(rows if where is None else take_rows(rows, where, batch_size))

    def output_grid(self, tokens: Tokens) -> tuple[int, ...]:
        """Return the number of tokens."""
        return (grid_size(tokens.grid_shape),)


def grid_places(grid: tuple[int, ...], like: Tensor) -> Float[Tensor, "O 2"]:
    """Return the middles of the cells of a (height, width) grid, row-major, as logits of (x, y) in (0, 1)."""
    height, width = ((torch.arange(side, device=like.device) + 0.5).to(like.dtype) / side for side in grid)
    rows, columns = torch.meshgrid(height, width, indexing="ij")
    return torch.stack([columns, rows], dim=-1).flatten(0, 1).logit()


@dataclass(frozen=True, kw_only=True)
class BoxOutputConfig(OutputConfig, kind="boxes"):
    """Decoded rows -> scores of classes, the last of them "no object", and a box (DETR, arXiv:2005.12872).

    The middle of a box is told relative to where its query looks: the query's first two channels are logits of a place
    (x, y), fixed for `anchors`, learned with the rest for `learned` queries.

    Args:
        num_classes: Number of classes, without "no object".
        hidden_channels: Width of the two hidden layers of the MLP that tells the box.
    """

    num_classes: int
    hidden_channels: int

    def build(self, num_channels: int, inputs: InputAdapter) -> "BoxOutput":
        """Make the module."""
        return BoxOutput(self, num_channels)

    @classmethod
    def example(cls) -> "BoxOutputConfig":
        """Return a tiny config."""
        return cls(num_classes=3, hidden_channels=6)


class BoxOutput(OutputAdapter):
    """A row a query: logits of the classes and of "no object", then (centre x, centre y, width, height) in (0, 1)."""

    def __init__(self, config: BoxOutputConfig, num_channels: int) -> None:
        super().__init__()
        self.scores = plain_linear(num_channels, config.num_classes + 1)
        self.boxes = nn.Sequential(
            plain_linear(num_channels, config.hidden_channels),
            nn.GELU(),
            plain_linear(config.hidden_channels, config.hidden_channels),
            nn.GELU(),
            plain_linear(config.hidden_channels, _BOX_CHANNELS),
        )

    def forward(self, decoded: Float[Tensor, "B O F"], queries: Queries) -> Float[Tensor, "B O E"]:
        """Return class scores and a box for each row.

        Raises:
            ValueError: The queries are too narrow to hold a place.
        """
        asked = queries.values
        if asked.shape[-1] < PLACE_CHANNELS:
            raise ValueError(f"'boxes' outputs need queries of at least 2 channels, a place, not {asked.shape[-1]}")
        place, size = self.boxes(decoded).split(_BOX_CHANNELS // 2, dim=-1)
        boxes = torch.cat([place + asked[..., :PLACE_CHANNELS], size], dim=-1).sigmoid()
        return torch.cat([self.scores(decoded), boxes], dim=-1)

    def arrange(self, outputs: Any, grid: Grid) -> Any:
        """Return `scores` (B, O, E) and `boxes` (B, O, 4) by name."""
        return {"scores": outputs[..., :-_BOX_CHANNELS], "boxes": outputs[..., -_BOX_CHANNELS:]}
