"""Images: pixels, 1x1 convolution, patches or convolution and pooling in; one query a cell; channels out."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

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
    RawTokens,
    Tokens,
    as_values,
    batch_entry,
    check_statistics,
    check_where,
    grid_size,
)
from perceivers.nn.convolution import ConvDownsample, space_to_depth
from perceivers.nn.init import plain_linear
from perceivers.nn.positions import FourierPositionConfig, PositionConfig, Positioned, PositionedConfig
from perceivers.nn.rows import Block, Projected, as_rows


@dataclass(frozen=True, kw_only=True)
class ImageInputConfig(InputConfig):
    """What every image input has.

    Args:
        image_size: Height and width in pixels that the model is laid out for.
        image_channels: Channels of the image.
        mean: Subtracted from values in [0, 1], one a channel or one for all.
        std: Divides what is left, likewise.
        positioned: How positions join the features.
    """

    image_size: tuple[int, int]
    image_channels: int = 3
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    positioned: PositionedConfig

    def __post_init__(self) -> None:
        check_statistics(self.image_channels, self.mean, self.std)


class ImageInput(InputAdapter):
    """Reads `image` (B, H, W, C), `uint8` or values in [0, 1], and, when there, `coordinates` (B, M, 2).

    The features come from the subclass; normalising and positions are the same for all.
    """

    entries = ("image",)
    mean: Tensor
    std: Tensor

    def __init__(self, config: ImageInputConfig, feature_channels: int, grid_shape: tuple[int, int]) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(config.mean), persistent=False)
        self.register_buffer("std", torch.tensor(config.std), persistent=False)
        self.grid_shape = grid_shape
        self.positioned = Positioned(config.positioned, feature_channels, grid_shape)
        self.num_channels = self.positioned.num_channels

    @abstractmethod
    def features(self, image: Float[Tensor, "B H W C"]) -> Float[Tensor, "B h w c"]:
        """Return the features of each cell."""

    @abstractmethod
    def pixels(self, image: Float[Tensor, "B H W C"]) -> Float[Tensor, "B h w p"]:
        """Return the pixels of each cell, row by row, colour last."""

    def content(self, features: Float[Tensor, "B M c"]) -> Float[Tensor, "B M E"] | Block:
        """Return what stands in a token for its cell."""
        return features

    def forward(self, batch: Batch) -> Tokens:
        """Normalise, extract features and join positions.

        Raises:
            ValueError: The image has the wrong number of axes or channels, or a size that the positions refuse.
        """
        features = self.features(self.normalised(batch))
        content = self.content(rearrange(features, "b h w c -> b (h w) c"))
        grid_shape = (features.shape[1], features.shape[2])
        values = self.positioned(content, grid_shape, batch.get("coordinates"))
        return Tokens(values, None, content, grid_shape)

    def raw(self, batch: Batch) -> RawTokens:
        """Return the normalised pixels of each cell."""
        cells = self.pixels(self.normalised(batch))
        return RawTokens(rearrange(cells, "b h w p -> b (h w) p"), None, (cells.shape[1], cells.shape[2]))

    def normalised(self, batch: Batch) -> Float[Tensor, "B H W C"]:
        """Return the image less the mean, divided by the deviation.

        Raises:
            ValueError: It has the wrong number of axes or channels.
        """
        image = batch_entry(batch, "image")
        if image.dim() != 4 or image.shape[-1] != self.config.image_channels:
            raise ValueError(
                f"image of shape {tuple(image.shape)} must be (B, H, W, {self.config.image_channels}), channels last"
            )
        return as_values(image, self.mean, self.std)

    def example_batch(self, batch_size: int) -> dict[str, Any]:
        """Return random images."""
        return {"image": torch.rand(batch_size, *self.config.image_size, self.config.image_channels)}


def _example_positions() -> PositionedConfig:
    return PositionedConfig(positions=FourierPositionConfig(num_bands=2))


@dataclass(frozen=True, kw_only=True)
class PixelInputConfig(ImageInputConfig, kind="image-pixels"):
    """Raw pixels.

    Args:
        stride: Keep every `stride`-th pixel of each row and column.
    """

    stride: int = 1

    def build(self) -> "PixelInput":
        """Make the module."""
        return PixelInput(self)

    @classmethod
    def example(cls) -> "PixelInputConfig":
        """Return a tiny config."""
        return cls(image_size=(6, 5), positioned=_example_positions())


class PixelInput(ImageInput):
    """One token a pixel."""

    def __init__(self, config: PixelInputConfig) -> None:
        height, width = (-(-side // config.stride) for side in config.image_size)
        super().__init__(config, config.image_channels, (height, width))
        self.stride = config.stride

    def features(self, image: Float[Tensor, "B H W C"]) -> Float[Tensor, "B h w c"]:
        """Return the pixels."""
        return self.pixels(image)

    def pixels(self, image: Float[Tensor, "B H W C"]) -> Float[Tensor, "B h w p"]:
        """Return the pixels that are kept."""
        return image[:, :: self.stride, :: self.stride]


@dataclass(frozen=True, kw_only=True)
class Conv1x1InputConfig(ImageInputConfig, kind="image-conv1x1"):
    """Pixels through a linear layer.

    Args:
        num_channels: Width of the layer's result.
        stride: Keep every `stride`-th pixel of each row and column.
    """

    num_channels: int
    stride: int = 1

    def build(self) -> "Conv1x1Input":
        """Make the module."""
        return Conv1x1Input(self)

    @classmethod
    def example(cls) -> "Conv1x1InputConfig":
        """Return a tiny config."""
        return cls(image_size=(6, 5), num_channels=4, positioned=_example_positions())


class Conv1x1Input(ImageInput):
    """One token a pixel, projected."""

    def __init__(self, config: Conv1x1InputConfig) -> None:
        height, width = (-(-side // config.stride) for side in config.image_size)
        super().__init__(config, config.num_channels, (height, width))
        self.stride = config.stride
        self.linear = plain_linear(config.image_channels, config.num_channels)

    def features(self, image: Float[Tensor, "B H W C"]) -> Float[Tensor, "B h w c"]:
        """Return the pixels."""
        return self.pixels(image)

    def pixels(self, image: Float[Tensor, "B H W C"]) -> Float[Tensor, "B h w p"]:
        """Return the pixels that are kept."""
        return image[:, :: self.stride, :: self.stride]

    def content(self, features: Float[Tensor, "B M c"]) -> Block:
        """Return the pixels, and the layer that they go through."""
        return Projected(features, self.linear.dense_weight(), self.linear.bias)


@dataclass(frozen=True, kw_only=True)
class PatchInputConfig(ImageInputConfig, kind="image-patches"):
    """Square patches.

    Args:
        patch_size: Side of a patch in pixels.
        num_channels: Project each patch to this width; `None` leaves it as it is.
    """

    patch_size: int
    num_channels: int | None = None

    def build(self) -> "PatchInput":
        """Make the module."""
        return PatchInput(self)

    @classmethod
    def example(cls) -> "PatchInputConfig":
        """Return a tiny config."""
        return cls(image_size=(6, 4), patch_size=2, num_channels=7, positioned=_example_positions())


class PatchInput(ImageInput):
    """One token a patch."""

    def __init__(self, config: PatchInputConfig) -> None:
        height, width = (side // config.patch_size for side in config.image_size)
        patch_channels = config.image_channels * config.patch_size**2
        super().__init__(config, config.num_channels or patch_channels, (height, width))
        self.patch_size = config.patch_size
        self.linear = (
            nn.Identity() if config.num_channels is None else plain_linear(patch_channels, config.num_channels)
        )

    def features(self, image: Float[Tensor, "B H W C"]) -> Float[Tensor, "B h w c"]:
        """Return the (projected) patches."""
        return self.linear(self.pixels(image))

    def pixels(self, image: Float[Tensor, "B H W C"]) -> Float[Tensor, "B h w p"]:
        """Return the patches."""
        return space_to_depth(image, self.patch_size)


@dataclass(frozen=True, kw_only=True)
class ConvInputConfig(ImageInputConfig, kind="image-conv"):
    """Convolution and max-pooling; see `ConvDownsample`.

    Args:
        num_channels: Channels of the features.
        num_stages: Stages; each divides the sides by four.
        use_batch_norm: Normalise after each convolution.
        same_padding: Pad as the original does.
    """

    num_channels: int
    num_stages: int = 1
    use_batch_norm: bool = True
    same_padding: bool = True

    def build(self) -> "ConvInput":
        """Make the module."""
        return ConvInput(self)

    @classmethod
    def example(cls) -> "ConvInputConfig":
        """Return a tiny config."""
        return cls(image_size=(16, 13), num_channels=4, positioned=_example_positions())


class ConvInput(ImageInput):
    """One token a cell of the feature map."""

    def __init__(self, config: ConvInputConfig) -> None:
        conv = ConvDownsample(
            config.image_channels,
            config.num_channels,
            num_stages=config.num_stages,
            use_batch_norm=config.use_batch_norm,
            same_padding=config.same_padding,
        )
        height, width = (conv.output_size(side) for side in config.image_size)
        super().__init__(config, config.num_channels, (height, width))
        self.conv = conv
        # Each stage divides by four.
        self.cell_size = 4**config.num_stages

    def features(self, image: Float[Tensor, "B H W C"]) -> Float[Tensor, "B h w c"]:
        """Return the feature map."""
        return self.conv(image)

    def pixels(self, image: Float[Tensor, "B H W C"]) -> Float[Tensor, "B h w p"]:
        """Return the pixels nearest to each cell, which also sees some of its neighbours'; the border repeats."""
        height, width = (self.conv.output_size(side) * self.cell_size for side in image.shape[1:3])
        rows = torch.arange(height, device=image.device).clamp(max=image.shape[1] - 1)
        columns = torch.arange(width, device=image.device).clamp(max=image.shape[2] - 1)
        return space_to_depth(image[:, rows][:, :, columns], self.cell_size)

    def hide(self, batch: Batch, hidden: Bool[Tensor, "B M"]) -> Batch:
        """Return images in which the pixels of hidden cells are the mean."""
        image = self.normalised(batch)
        cells = rearrange(hidden, "b (h w) -> b h w", h=self.conv.output_size(image.shape[1]))
        # Pixels behind the last whole cell go with it.
        rows, columns = (
            (torch.arange(side, device=image.device) // self.cell_size).clamp(max=count - 1)
            for side, count in zip(image.shape[1:3], cells.shape[1:], strict=True)
        )
        pixels = cells[:, rows][:, :, columns, None]
        return {**batch, "image": image.masked_fill(pixels, 0) * self.std + self.mean}


@dataclass(frozen=True, kw_only=True)
class GridQueryConfig(QueryConfig, kind="grid"):
    """One query a cell of a fixed grid: its position.

    Args:
        grid_shape: The grid of outputs, e.g. (height, width).
        positions: What tells the cells apart.
    """

    grid_shape: tuple[int, ...]
    positions: PositionConfig

    def build(self, inputs: InputAdapter) -> "GridQueries":
        """Make the module."""
        return GridQueries(self)

    @classmethod
    def example(cls) -> "GridQueryConfig":
        """Return a tiny config."""
        return cls(grid_shape=(3, 4), positions=FourierPositionConfig(num_bands=2, endpoint=False))


class GridQueries(QueryAdapter):
    """Positions of the cells."""

    def __init__(self, config: GridQueryConfig) -> None:
        super().__init__()
        self.grid_shape = config.grid_shape
        self.positions = config.positions.build(config.grid_shape)
        self.num_channels = self.positions.num_channels

    def forward(self, tokens: Tokens, where: Any = None) -> Queries:
        """Return one query for each cell, or for those in `where`."""
        batch_size = tokens.batch_size
        if where is None:
            return Queries(as_rows(batch_size, self.grid_shape, (self.positions.block(self.grid_shape, tokens.like),)))
        check_where(where, grid_size(self.grid_shape), batch_size)
        rows = self.positions.cells(self.grid_shape, where, tokens.like)
        return Queries(rows.expand(batch_size, -1, -1))

    def output_grid(self, tokens: Tokens) -> tuple[int, ...]:
        """Return the grid."""
        return self.grid_shape


@dataclass(frozen=True, kw_only=True)
class PixelOutputConfig(OutputConfig, kind="image-pixels"):
    """Decoded rows -> channels of a cell.

    Args:
        num_channels: Channels of a cell.
    """

    num_channels: int = 3

    def build(self, num_channels: int, inputs: InputAdapter) -> "PixelOutput":
        """Make the module."""
        return PixelOutput(num_channels, self.num_channels)

    @classmethod
    def example(cls) -> "PixelOutputConfig":
        """Return a tiny config."""
        return cls(num_channels=2)


class PixelOutput(LinearOutput):
    """One row of channels a cell, and the grid when all cells were asked for."""

    def arrange(self, outputs: Any, grid: Grid) -> Any:
        """Return (B, *grid, E)."""
        return outputs.unflatten(1, grid)
