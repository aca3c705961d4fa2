"""Video: blocks of pixels over space and time in, and out."""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from perceivers.adapters.base import (
    Batch,
    Grid,
    InputAdapter,
    InputConfig,
    LinearOutput,
    OutputConfig,
    QueryConfig,
    Tokens,
    as_values,
    batch_entry,
    check_statistics,
)
from perceivers.adapters.image import GridQueryConfig
from perceivers.nn.convolution import depth_to_space, space_to_depth
from perceivers.nn.positions import FourierPositionConfig, Positioned, PositionedConfig


@dataclass(frozen=True, kw_only=True)
class VideoInputConfig(InputConfig, kind="video"):
    """A clip as blocks of pixels.

    Args:
        num_frames: Frames of a clip.
        image_size: Height and width of a frame in pixels.
        image_channels: Channels of a frame.
        patch_size: Side of a block in pixels.
        num_block_frames: Frames of a block.
        mean: Subtracted from values in [0, 1], one a channel or one for all.
        std: Divides what is left, likewise.
        positioned: How positions join the features.
    """

    num_frames: int
    image_size: tuple[int, int]
    image_channels: int = 3
    patch_size: int = 4
    num_block_frames: int = 1
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    positioned: PositionedConfig

    def __post_init__(self) -> None:
        check_statistics(self.image_channels, self.mean, self.std)

    def build(self) -> "VideoInput":
        """Make the module."""
        return VideoInput(self)

    @classmethod
    def example(cls) -> "VideoInputConfig":
        """Return a tiny config."""
        positions = PositionedConfig(positions=FourierPositionConfig(num_bands=2))
        return cls(num_frames=2, image_size=(4, 6), patch_size=2, positioned=positions)


class VideoInput(InputAdapter):
    """Reads `video` (B, T, H, W, C), `uint8` or values in [0, 1]; one token a block."""

    entries = ("video",)
    mean: Tensor
    std: Tensor

    def __init__(self, config: VideoInputConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(config.mean), persistent=False)
        self.register_buffer("std", torch.tensor(config.std), persistent=False)
        height, width = (side // config.patch_size for side in config.image_size)
        channels = config.image_channels * config.patch_size**2 * config.num_block_frames
        grid_shape = (config.num_frames // config.num_block_frames, height, width)
        self.grid_shape = grid_shape
        self.positioned = Positioned(config.positioned, channels, grid_shape)
        self.num_channels = self.positioned.num_channels

    def forward(self, batch: Batch) -> Tokens:
        """Normalise, cut into blocks and join positions.

        Raises:
            ValueError: The clip has another form than (B, T, H, W, C), or does not divide into blocks.
        """
        video = batch_entry(batch, "video")
        config = self.config
        if video.dim() != 5 or video.shape[-1] != config.image_channels:
            raise ValueError(
                f"video of shape {tuple(video.shape)} must be (B, T, H, W, {config.image_channels}), channels last"
            )
        blocks = space_to_depth(as_values(video, self.mean, self.std), config.patch_size, config.num_block_frames)
        grid_shape = tuple(blocks.shape[1:4])
        content = rearrange(blocks, "b t h w c -> b (t h w) c")
        return Tokens(self.positioned(content, grid_shape), None, content, grid_shape)

    def example_batch(self, batch_size: int) -> dict[str, Any]:
        """Return random clips."""
        config = self.config
        shape = (batch_size, config.num_frames, *config.image_size, config.image_channels)
        return {"video": torch.rand(shape)}


@dataclass(frozen=True, kw_only=True)
class VideoOutputConfig(OutputConfig, kind="video"):
    """Decoded rows -> blocks of pixels, for queries on the grid of the blocks.

    One query a block is asked where the original asks one a pixel, so that a clip costs as many times fewer queries as
    a block has pixels.

    Args:
        image_channels: Channels of a frame.
        patch_size: Side of a block in pixels.
        num_block_frames: Frames of a block.
    """

    image_channels: int = 3
    patch_size: int = 4
    num_block_frames: int = 1

    def build(self, num_channels: int, inputs: InputAdapter) -> "VideoOutput":
        """Make the module."""
        return VideoOutput(self, num_channels)

    @classmethod
    def example(cls) -> "VideoOutputConfig":
        """Return a tiny config."""
        return cls(patch_size=2)

    @classmethod
    def example_queries(cls) -> QueryConfig:
        """Return queries on a grid of time, height and width."""
        return GridQueryConfig(grid_shape=(2, 2, 3), positions=FourierPositionConfig(num_bands=2))


class VideoOutput(LinearOutput):
    """One block a row, (B, O, z x y c); the clip when all blocks were asked for."""

    def __init__(self, config: VideoOutputConfig, num_channels: int) -> None:
        super().__init__(num_channels, config.image_channels * config.patch_size**2 * config.num_block_frames)
        self.config = config

    def arrange(self, outputs: Any, grid: Grid) -> Any:
        """Return the clip, (B, T, H, W, C)."""
        return depth_to_space(outputs.unflatten(1, grid), self.config.patch_size, self.config.num_block_frames)
