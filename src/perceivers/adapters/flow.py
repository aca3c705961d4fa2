"""Optical flow: two frames in, the tokens themselves as queries, a motion a pixel out."""

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
    take_rows,
)
from perceivers.nn.absorption import Layer
from perceivers.nn.init import plain_linear
from perceivers.nn.positions import FourierPositionConfig, Positioned, PositionedConfig


@dataclass(frozen=True, kw_only=True)
class FlowInputConfig(InputConfig, kind="flow"):
    """A pair of frames: each pixel sees its neighbourhood in both (section 4.2).

    Args:
        image_size: Height and width in pixels that the model is laid out for.
        image_channels: Channels of a frame.
        num_frames: Frames that are looked at together.
        patch_size: Side of the neighbourhood, odd; beyond the border it is black.
        num_channels: Project each neighbourhood to this width; `None` leaves it as it is.
        mean: Subtracted from values in [0, 1]; the default brings them to [-1, 1].
        std: Divides what is left.
        positioned: How positions join the features.
    """

    image_size: tuple[int, int]
    image_channels: int = 3
    num_frames: int = 2
    patch_size: int = 3
    num_channels: int | None = 64
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    positioned: PositionedConfig

    def __post_init__(self) -> None:
        if self.patch_size < 1 or self.patch_size % 2 == 0:
            raise ValueError(f"patch_size ({self.patch_size}) must be odd")
        check_statistics(self.image_channels, self.mean, self.std)

    def build(self) -> "FlowInput":
        """Make the module."""
        return FlowInput(self)

    @classmethod
    def example(cls) -> "FlowInputConfig":
        """Return a tiny config."""
        positions = PositionedConfig(positions=FourierPositionConfig(num_bands=2))
        return cls(image_size=(4, 5), num_channels=6, positioned=positions)


class FlowInput(InputAdapter):
    """Reads `frames` (B, T, H, W, C), `uint8` or values in [0, 1]; one token a pixel."""

    entries = ("frames",)
    mean: Tensor
    std: Tensor

    def __init__(self, config: FlowInputConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(config.mean), persistent=False)
        self.register_buffer("std", torch.tensor(config.std), persistent=False)
        patch_channels = config.num_frames * config.image_channels * config.patch_size**2
        self.linear = (
            nn.Identity() if config.num_channels is None else plain_linear(patch_channels, config.num_channels)
        )
        self.grid_shape = config.image_size
        self.positioned = Positioned(config.positioned, config.num_channels or patch_channels, config.image_size)
        self.num_channels = self.positioned.num_channels

    def forward(self, batch: Batch) -> Tokens:
        """Normalise, gather neighbourhoods, project and join positions.

        Raises:
            ValueError: The frames have another form than (B, T, H, W, C).
        """
        frames = self.normalised(batch)
        patches = neighbourhoods(frames, self.config.patch_size)
        content = self.linear(rearrange(patches, "b t h w c -> b (h w) (t c)"))
        grid_shape = (frames.shape[2], frames.shape[3])
        return Tokens(self.positioned(content, grid_shape), None, content, grid_shape)

    def raw(self, batch: Batch) -> RawTokens:
        """Return the normalised colours of each pixel in all frames, frame by frame, without its neighbours'."""
        frames = self.normalised(batch)
        values = rearrange(frames, "b t h w c -> b (h w) (t c)")
        return RawTokens(values, None, (frames.shape[2], frames.shape[3]))

    def hide(self, batch: Batch, hidden: Bool[Tensor, "B M"]) -> Batch:
        """Return frames in which hidden pixels are the mean, because their neighbours see them."""
        frames = self.normalised(batch)
        pixels = rearrange(hidden, "b (h w) -> b 1 h w 1", w=frames.shape[3])
        return {**batch, "frames": frames.masked_fill(pixels, 0) * self.std + self.mean}

    def normalised(self, batch: Batch) -> Float[Tensor, "B T H W C"]:
        """Return the frames less the mean, divided by the deviation.

        Raises:
            ValueError: They have another form than (B, T, H, W, C).
        """
        frames = batch_entry(batch, "frames")
        expected = (self.config.num_frames, self.config.image_channels)
        if frames.dim() != 5 or (frames.shape[1], frames.shape[-1]) != expected:
            raise ValueError(
                f"frames of shape {tuple(frames.shape)} must be (B, {expected[0]}, H, W, {expected[1]}), channels last"
            )
        return as_values(frames, self.mean, self.std)

    def example_batch(self, batch_size: int) -> dict[str, Any]:
        """Return random frames."""
        config = self.config
        return {"frames": torch.rand(batch_size, config.num_frames, *config.image_size, config.image_channels)}


def neighbourhoods(frames: Float[Tensor, "B T H W C"], size: int) -> Float[Tensor, "B T H W P"]:
    """Return the `size` x `size` pixels around each pixel, row by row, colour last; black beyond the border."""
    padded = nn.functional.pad(frames, (0, 0, size // 2, size // 2, size // 2, size // 2))
    windows = padded.unfold(2, size, 1).unfold(3, size, 1)  # (B, T, H, W, C, y, x)
    return rearrange(windows, "b t h w c y x -> b t h w (y x c)")


@dataclass(frozen=True, kw_only=True)
class TokenQueryConfig(QueryConfig, kind="tokens"):
    """The input tokens, positions included, are the queries: one output an input element."""

    def build(self, inputs: InputAdapter) -> "TokenQueries":
        """Make the module."""
        return TokenQueries(inputs.num_channels)

    @classmethod
    def example(cls) -> "TokenQueryConfig":
        """Return the config."""
        return cls()


class TokenQueries(QueryAdapter):
    """What was read, asked again."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.num_channels = num_channels

    def forward(self, tokens: Tokens, where: Any = None) -> Queries:
        """Return one query for each token, or for those in `where`."""
        batch_size = tokens.batch_size
        if where is None:
            return Queries(tokens.array, tokens.keep_mask)
        keep_mask = tokens.keep_mask
        if keep_mask is not None:
            keep_mask = keep_mask.gather(1, where.expand(batch_size, -1))
        return Queries(take_rows(tokens.values, where, batch_size), keep_mask)

    def output_grid(self, tokens: Tokens) -> tuple[int, ...]:
        """Return the grid of the tokens."""
        return tokens.grid_shape


@dataclass(frozen=True, kw_only=True)
class FlowOutputConfig(OutputConfig, kind="flow"):
    """Decoded rows -> a motion (u to the right, v down) in pixels.

    Args:
        scale: Pixels a unit of the linear layer. The original trains on motions divided by 20 and divides what
            the layer says by 100.
        zero_init: Start at no motion, as the original does.
    """

    scale: float = 0.2
    zero_init: bool = True

    def build(self, num_channels: int, inputs: InputAdapter) -> "FlowOutput":
        """Make the module."""
        return FlowOutput(self, num_channels)

    @classmethod
    def example(cls) -> "FlowOutputConfig":
        """Return a tiny config."""
        return cls(zero_init=False)


class FlowOutput(LinearOutput):
    """The motion of each pixel."""

    def __init__(self, config: FlowOutputConfig, num_channels: int) -> None:
        super().__init__(num_channels, 2, zero_init=config.zero_init)
        self.scale = config.scale

    def forward(self, decoded: Float[Tensor, "B O F"], queries: Queries) -> Float[Tensor, "B O 2"]:
        """Return the motion of each pixel."""
        return super().forward(decoded, queries) * self.scale

    def last_layer(self) -> Layer:
        """Return the layer, scaled."""
        layer = super().last_layer()
        return Layer(layer.weight * self.scale, layer.bias * self.scale)

    def arrange(self, outputs: Any, grid: Grid) -> Any:
        """Return (B, H, W, 2)."""
        return outputs.unflatten(1, grid)
