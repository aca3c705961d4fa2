"""Sound: runs of samples in, runs of samples out."""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from perceivers.adapters.base import (
    Batch,
    Grid,
    InputAdapter,
    InputConfig,
    LinearOutput,
    OutputConfig,
    Tokens,
    batch_entry,
    without_full_mask,
)
from perceivers.nn.positions import FourierPositionConfig, Positioned, PositionedConfig


@dataclass(frozen=True, kw_only=True)
class AudioInputConfig(InputConfig, kind="audio"):
    """A wave cut into runs of samples.

    Args:
        num_samples: Samples that the model is laid out for.
        samples_per_patch: Samples a token.
        positioned: How positions join the samples.
    """

    num_samples: int
    samples_per_patch: int = 16
    positioned: PositionedConfig

    def build(self) -> "AudioInput":
        """Make the module."""
        return AudioInput(self)

    @classmethod
    def example(cls) -> "AudioInputConfig":
        """Return a tiny config."""
        positions = PositionedConfig(positions=FourierPositionConfig(num_bands=2))
        return cls(num_samples=24, samples_per_patch=4, positioned=positions)


class AudioInput(InputAdapter):
    """Reads `audio` (B, S), values in [-1, 1], and, when there, `audio_keep_mask` (B, S); one token a run."""

    entries = ("audio",)

    def __init__(self, config: AudioInputConfig) -> None:
        super().__init__()
        self.config = config
        self.grid_shape = (config.num_samples // config.samples_per_patch,)
        self.positioned = Positioned(config.positioned, config.samples_per_patch, self.grid_shape)
        self.num_channels = self.positioned.num_channels

    def forward(self, batch: Batch) -> Tokens:
        """Cut into runs and join positions.

        Raises:
            ValueError: The wave has another form than (B, S), or its length does not divide into runs.
        """
        size = self.config.samples_per_patch
        content = rearrange(wave_of(batch, size), "b (m s) -> b m s", s=size)
        grid_shape = (content.shape[1],)
        return Tokens(self.positioned(content, grid_shape), kept_runs(batch, size), content, grid_shape)

    def example_batch(self, batch_size: int) -> dict[str, Any]:
        """Return noise."""
        return {"audio": torch.rand(batch_size, self.config.num_samples) * 2 - 1}


def wave_of(batch: Batch, size: int) -> Float[Tensor, "B S"]:
    """Return the entry `audio`.

    Raises:
        ValueError: It is absent, or has another form than (B, S) with S divisible by `size`.
    """
    audio = batch_entry(batch, "audio")
    if audio.dim() != 2 or audio.shape[1] % size:
        raise ValueError(f"audio of shape {tuple(audio.shape)} must be (B, S) with S divisible by {size}")
    return audio


def kept_runs(batch: Batch, size: int, times: int = 1) -> Bool[Tensor, "B M"] | None:
    """Return which runs of samples hold sound rather than padding alone; `None` when all do.

    Args:
        batch: May have the entry `audio_keep_mask` (B, S), `True` = sound.
        size: Samples of a run.
        times: Tokens that each run makes.

    Raises:
        ValueError: The mask has another shape than the wave.
    """
    keep_mask = batch.get("audio_keep_mask")
    if keep_mask is None:
        return None
    if keep_mask.shape != batch["audio"].shape:
        wanted = tuple(batch["audio"].shape)
        raise ValueError(f"audio_keep_mask of shape {tuple(keep_mask.shape)} must have the shape of audio, {wanted}")
    runs = rearrange(keep_mask.bool(), "b (m s) -> b m s", s=size).any(dim=-1)
    return without_full_mask(runs.repeat_interleave(times, dim=1))


@dataclass(frozen=True, kw_only=True)
class AudioOutputConfig(OutputConfig, kind="audio"):
    """Decoded rows -> runs of samples.

    Args:
        samples_per_patch: Samples a row.
    """

    samples_per_patch: int = 16

    def build(self, num_channels: int, inputs: InputAdapter) -> "AudioOutput":
        """Make the module."""
        return AudioOutput(num_channels, self.samples_per_patch)

    @classmethod
    def example(cls) -> "AudioOutputConfig":
        """Return a tiny config."""
        return cls(samples_per_patch=4)


class AudioOutput(LinearOutput):
    """One run of samples a row; the wave when all runs were asked for."""

    def arrange(self, outputs: Any, grid: Grid) -> Any:
        """Return the wave, (B, S)."""
        return outputs.flatten(1)
