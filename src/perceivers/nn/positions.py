"""Positions: Fourier features as pure functions, and the modules that give each grid cell its features.

Fourier features are built in float64 and cast: the highest frequencies reach phases of tens of
thousands of radians, where float32 is off by up to 1e-2. Models that were trained on such features can have them.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import pi, prod
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from perceivers.config import Variant
from perceivers.nn.init import plain_linear, truncated_normal_
from perceivers.nn.rows import Block, Content, GridAxes, Rows, as_rows

GridShape = tuple[int, ...]
_Key = tuple[GridShape, torch.dtype, torch.device]


def grid_positions(
    grid_shape: GridShape, *, endpoint: bool = True, dtype: torch.dtype = torch.float64
) -> Float[Tensor, "M d"]:
    """Return the coordinates of each cell of a grid, each axis running over [-1, 1].

    Args:
        grid_shape: Cells along each of the `d` axes; `M` is their product (row-major).
        endpoint: Whether the last cell lies at 1. The original's full grids do, but the
            positions it gives to single, chosen cells are `-1 + 2 i / n`, which stop short of 1;
            models trained so need `False` for every query.
        dtype: Of the coordinates, and of all that is computed on the way.
    """
    axes = [
        torch.linspace(-1, 1, n, dtype=dtype) if endpoint else -1 + 2 * torch.arange(n, dtype=dtype) / n
        for n in grid_shape
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, len(grid_shape))


def fourier_features(
    positions: Float[Tensor, "... d"],
    num_bands: int,
    max_resolution: GridShape,
    *,
    concat_positions: bool = True,
    sine_only: bool = False,
) -> Float[Tensor, "... F"]:
    """Return sines and cosines of `positions` at frequencies spread evenly from 1 to half the resolution.

    Args:
        positions: Coordinates in [-1, 1], `d` axes.
        num_bands: Frequencies an axis.
        max_resolution: Resolution along each axis; its half is the highest frequency (Nyquist).
        concat_positions: Put the `d` coordinates themselves before the features.
        sine_only: Leave the cosines out.

    Raises:
        ValueError: `max_resolution` does not have one entry an axis.
    """
    if len(max_resolution) != positions.shape[-1]:
        raise ValueError(f"max_resolution {max_resolution} must have one entry for each of {positions.shape[-1]} axes")
    bands = torch.stack(
        [torch.linspace(1.0, resolution / 2, num_bands, dtype=positions.dtype) for resolution in max_resolution]
    ).to(positions.device)  # (d, bands)
    phases = pi * rearrange(positions[..., None] * bands, "... d k -> ... (d k)")
    features = [positions] if concat_positions else []
    features.append(phases.sin())
    if not sine_only:
        features.append(phases.cos())
    return torch.cat(features, dim=-1)


class Positions(nn.Module, ABC):
    """Features for every cell of a grid. `num_channels` is their width."""

    num_channels: int

    @abstractmethod
    def forward(self, grid_shape: GridShape, like: Tensor) -> Float[Tensor, "M P"]:
        """Return one row a cell, row-major, in the dtype and on the device of `like`."""

    def cells(
        self, grid_shape: GridShape, where: Int[Tensor, "K"] | Int[Tensor, "B K"], like: Tensor
    ) -> Float[Tensor, "... P"]:
        """Return the rows of chosen cells, by their row-major indices."""
        return self.forward(grid_shape, like)[where]

    def block(self, grid_shape: GridShape, like: Tensor) -> Block:
        """Return the rows of all cells as a part of `Rows`."""
        return Content(self.forward(grid_shape, like)[None])

    @abstractmethod
    def at(self, positions: Float[Tensor, "B M d"], like: Tensor) -> Float[Tensor, "B M P"]:
        """Return features for coordinates in [-1, 1] that the caller gives."""


@dataclass(frozen=True, kw_only=True)
class PositionConfig(Variant, ABC):
    """How cells of a grid are told apart."""

    @abstractmethod
    def build(self, grid_shape: GridShape) -> Positions:
        """Make the module for inputs of `grid_shape`."""


@dataclass(frozen=True, kw_only=True)
class LearnedPositionConfig(PositionConfig, kind="learned"):
    """One learned vector a cell.

    Args:
        num_channels: Width of a vector.
        init_scale: Deviation of the truncated normal they start from.
    """

    num_channels: int
    init_scale: float = 0.02

    def build(self, grid_shape: GridShape) -> "LearnedPositions":
        """Make the module for inputs of `grid_shape`."""
        return LearnedPositions(self, grid_shape)


class LearnedPositions(Positions):
    """A table with one row a cell."""

    def __init__(self, config: LearnedPositionConfig, grid_shape: GridShape) -> None:
        super().__init__()
        self.num_channels = config.num_channels
        self.grid_shape = grid_shape
        self.table = nn.Parameter(torch.empty(prod(grid_shape), config.num_channels))
        truncated_normal_(self.table, config.init_scale)

    def forward(self, grid_shape: GridShape, like: Tensor) -> Float[Tensor, "M P"]:
        """Return the table.

        Raises:
            ValueError: The grid is not the one the table was made for.
        """
        if tuple(grid_shape) != tuple(self.grid_shape):
            raise ValueError(
                f"grid {tuple(grid_shape)} does not fit positions learned for {tuple(self.grid_shape)}; bring the "
                f"input to that size, resize the positions (resize_positions) or use Fourier positions"
            )
        return self.table

    def at(self, positions: Float[Tensor, "B M d"], like: Tensor) -> Float[Tensor, "B M P"]:
        """Refuse: a table has no rows between cells.

        Raises:
            ValueError: Always.
        """
        raise ValueError("learned positions cannot be evaluated at given coordinates; use Fourier positions")


def interpolate_table(table: Float[Tensor, "M P"], grid_shape: GridShape, new_shape: GridShape) -> Float[Tensor, "K P"]:
    """Return the table of a grid of another size, by bicubic interpolation between the rows.

    Args:
        table: One row a cell, row-major.
        grid_shape: The height and width that the table has.
        new_shape: The height and width wanted; `K` is their product.

    Raises:
        ValueError: The table does not have two axes, or not the cells of `grid_shape`.
    """
    if len(grid_shape) != 2 or len(new_shape) != 2:
        raise ValueError(f"grids {grid_shape} and {new_shape} must have two axes each, height and width")
    if len(table) != prod(grid_shape):
        raise ValueError(f"a table of {len(table)} rows does not fit the grid {tuple(grid_shape)}")
    if tuple(grid_shape) == tuple(new_shape):
        return table
    cells = rearrange(table, "(h w) p -> 1 p h w", h=grid_shape[0]).to(torch.promote_types(table.dtype, torch.float32))
    resized = functional.interpolate(cells, size=tuple(new_shape), mode="bicubic", align_corners=False)
    return rearrange(resized, "1 p h w -> (h w) p").to(table.dtype)


@dataclass(frozen=True, kw_only=True)
class FourierPositionConfig(PositionConfig, kind="fourier"):
    """Fixed sines and cosines of the coordinates; see `fourier_features`.

    Args:
        num_bands: Frequencies an axis.
        max_resolution: Twice the highest frequency along each axis; `None` takes the grid's own size.
        concat_positions: Put the coordinates before the features.
        sine_only: Leave the cosines out.
        endpoint: Whether the last cell of a grid lies at 1; see `grid_positions`.
        precision: In which the features are built before they are cast. In float32, as in `transformers`, those of the
            highest frequencies of sound are off by a few thousandths; a model that learned with them expects them.
    """

    num_bands: int
    max_resolution: tuple[int, ...] | None = None
    concat_positions: bool = True
    sine_only: bool = False
    endpoint: bool = True
    precision: Literal["float64", "float32"] = "float64"

    def build(self, grid_shape: GridShape) -> "FourierPositions":
        """Make the module for inputs of `grid_shape`."""
        return FourierPositions(self, grid_shape)


class FourierPositions(Positions):
    """Fourier features of a grid of any size, computed once for each size and kept out of checkpoints."""

    def __init__(self, config: FourierPositionConfig, grid_shape: GridShape) -> None:
        super().__init__()
        self.config = config
        self.dtype = {"float64": torch.float64, "float32": torch.float32}[config.precision]
        self.max_resolution = config.max_resolution or tuple(grid_shape)
        num_axes = len(grid_shape)
        if len(self.max_resolution) != num_axes:
            raise ValueError(f"max_resolution {self.max_resolution} must have one entry for each of {num_axes} axes")
        waves = config.num_bands * (1 if config.sine_only else 2)
        self.num_channels = num_axes * (waves + (1 if config.concat_positions else 0))
        self._grids: dict[_Key, Tensor] = {}
        self._axes: dict[_Key, list[tuple[Tensor, ...]]] = {}

    def forward(self, grid_shape: GridShape, like: Tensor) -> Float[Tensor, "M P"]:
        """Return one row a cell, row-major, in the dtype and on the device of `like`."""
        key = (tuple(grid_shape), like.dtype, like.device)
        if key not in self._grids:
            # A tensor made in inference mode could not take part in training later.
            with torch.inference_mode(False):
                everywhere = torch.arange(prod(grid_shape), device=like.device)
                self._grids[key] = self.cells(grid_shape, everywhere, like)
        return self._grids[key]

    def block(self, grid_shape: GridShape, like: Tensor) -> Block:
        """Return the rows of all cells, each axis on its own."""
        axes = self._along_axes(grid_shape, like)
        # Channels go kind by kind, and within a kind axis by axis.
        places: list[list[Tensor]] = [[] for _ in axes]
        start = 0
        for kind in zip(*axes, strict=True):
            for place, part in zip(places, kind, strict=True):
                place.append(torch.arange(start, start + part.shape[-1], device=like.device))
                start += part.shape[-1]
        return GridAxes(
            tuple(torch.cat(parts, dim=-1) for parts in axes),
            tuple(torch.cat(place) for place in places),
            lambda: self.forward(grid_shape, like),
        )

    def cells(
        self, grid_shape: GridShape, where: Int[Tensor, "K"] | Int[Tensor, "B K"], like: Tensor
    ) -> Float[Tensor, "... P"]:
        """Return the rows of chosen cells; the memory does not depend on the size of the grid."""
        indices = torch.unravel_index(where, grid_shape)
        chosen = [
            [part[index] for part in parts]
            for parts, index in zip(self._along_axes(grid_shape, like), indices, strict=True)
        ]
        # Axis by axis the coordinates, then the sines, then the cosines.
        return torch.cat([part for kind in zip(*chosen, strict=True) for part in kind], dim=-1)

    def _along_axes(self, grid_shape: GridShape, like: Tensor) -> list[tuple[Tensor, ...]]:
        """Return for each axis the features of its steps, kind by kind: all that a grid is made of."""
        key = (tuple(grid_shape), like.dtype, like.device)
        if key not in self._axes:
            with torch.inference_mode(False):
                self._axes[key] = [
                    tuple(part.to(device=like.device, dtype=like.dtype) for part in self._along_axis(length, axis))
                    for axis, length in enumerate(grid_shape)
                ]
        return self._axes[key]

    def _along_axis(self, length: int, axis: int) -> tuple[Tensor, ...]:
        config = self.config
        features = fourier_features(
            grid_positions((length,), endpoint=config.endpoint, dtype=self.dtype),
            config.num_bands,
            (self.max_resolution[axis],),
            concat_positions=config.concat_positions,
            sine_only=config.sine_only,
        )
        widths = [1] * config.concat_positions + [config.num_bands] * (1 if config.sine_only else 2)
        return features.split(widths, dim=-1)

    def at(self, positions: Float[Tensor, "B M d"], like: Tensor) -> Float[Tensor, "B M P"]:
        """Return features for coordinates in [-1, 1] that the caller gives."""
        return self._features(positions.to(self.dtype)).to(like.dtype)

    def _features(self, positions: Tensor) -> Tensor:
        return fourier_features(
            positions,
            self.config.num_bands,
            self.max_resolution,
            concat_positions=self.config.concat_positions,
            sine_only=self.config.sine_only,
        )


@dataclass(frozen=True, kw_only=True)
class PositionedConfig:
    """How content and positions become tokens.

    Args:
        positions: The positions.
        project_channels: Project the positions to this width first; `None` leaves them as they are.
        num_extra_layers: Residual linear layers on the positions, with ReLU between them.
        combine: Concatenate positions behind the content, or add them (equal widths).
    """

    positions: PositionConfig
    project_channels: int | None = None
    num_extra_layers: int = 0
    combine: Literal["concat", "add"] = "concat"


class Positioned(nn.Module):
    """Joins content with positions. `num_channels` is the width of the result.

    Args:
        config: How.
        content_channels: Width of the content.
        grid_shape: The grid that inputs have; Fourier positions also accept others.

    Raises:
        ValueError: Positions are to be added but have another width than the content.
    """

    def __init__(self, config: PositionedConfig, content_channels: int, grid_shape: GridShape) -> None:
        super().__init__()
        self.combine = config.combine
        self.positions = config.positions.build(grid_shape)
        channels = self.positions.num_channels
        self.project: nn.Module = nn.Identity()
        if config.project_channels is not None:
            self.project = plain_linear(channels, config.project_channels)
            channels = config.project_channels
        self.extra = nn.ModuleList(plain_linear(channels, channels) for _ in range(config.num_extra_layers))
        if config.combine == "add" and channels != content_channels:
            raise ValueError(f"positions ({channels} channels) must have the content's {content_channels} to be added")
        self.num_channels = content_channels if config.combine == "add" else content_channels + channels

    def forward(
        self,
        content: Float[Tensor, "B M C"] | Block,
        grid_shape: GridShape,
        coordinates: Float[Tensor, "B M d"] | None = None,
    ) -> Float[Tensor, "B M E"] | Rows:
        """Join `content`, row-major cells of `grid_shape`, with their positions.

        Args:
            content: Features of the cells.
            grid_shape: The grid that the cells form.
            coordinates: Where each element lies, in [-1, 1], instead of on the grid.

        Returns:
            The array; as `Rows` where positions stand behind content on the whole grid.
        """
        block = Content(content) if isinstance(content, Tensor) else content
        if coordinates is None and self.combine == "concat" and block.like.shape[1] == prod(grid_shape):
            return as_rows(block.like.shape[0], grid_shape, (block, self.block(grid_shape, block.like)))
        content = block.dense()
        features = self.features(grid_shape, content, coordinates)[..., : content.shape[1], :]
        if self.combine == "add":
            return content + features
        return torch.cat([content, features.expand(content.shape[0], -1, -1)], dim=-1)

    def block(self, grid_shape: GridShape, like: Tensor) -> Block:
        """Return the projected position features as a part of `Rows`."""
        if isinstance(self.project, nn.Identity) and not self.extra:
            return self.positions.block(grid_shape, like)
        return Content(self.features(grid_shape, like)[None])

    def features(
        self, grid_shape: GridShape, like: Tensor, coordinates: Float[Tensor, "B M d"] | None = None
    ) -> Float[Tensor, "... M P"]:
        """Return the projected position features alone."""
        where = self.positions(grid_shape, like) if coordinates is None else self.positions.at(coordinates, like)
        features = self.project(where)
        for i, layer in enumerate(self.extra):
            features = features + layer(features)
            if i < len(self.extra) - 1:
                features = functional.relu(features)
        return features
