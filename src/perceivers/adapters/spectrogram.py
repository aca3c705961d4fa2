"""Sound as a log-mel spectrogram, made of the wave inside the model; patches of the (time, mel) plane in.

A saved model takes waves, so that it cannot be given a spectrogram of another window, scale or floor than it learned.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from perceivers.adapters.audio import kept_runs, wave_of
from perceivers.adapters.base import Batch, InputAdapter, InputConfig, RawTokens, Tokens
from perceivers.nn.init import plain_linear
from perceivers.nn.positions import FourierPositionConfig, Positioned, PositionedConfig

# Added to the power before its logarithm is taken: about the noise of 16 bits in a window of a few hundred samples.
_FLOOR = 1e-6


@dataclass(frozen=True, kw_only=True)
class SpectrogramInputConfig(InputConfig, kind="spectrogram"):
    """A wave to patches of its log-mel spectrogram.

    Args:
        num_samples: Samples that the model is laid out for; a multiple of `hop_samples` times the patch's frames.
        sample_rate: Samples a second.
        window_samples: Samples of the Hann window over each frame; also the size of the Fourier transform.
        hop_samples: Samples from one frame to the next; each frame lies in the middle of its window.
        num_mels: Bands, spread evenly over the mel scale.
        min_frequency: Where the lowest band begins, in Hz.
        max_frequency: Where the highest band ends, in Hz; `None` takes half the sample rate.
        patch_size: Frames and bands of a patch; they divide the number of frames and `num_mels`.
        num_channels: Width that a patch is projected to; `None` leaves its values as they are.
        mean: Subtracted from the natural logarithm of the power in each band.
        std: Divides what is left.
        positioned: How positions join the patches.
    """

    num_samples: int
    sample_rate: int
    window_samples: int
    hop_samples: int
    num_mels: int
    min_frequency: float = 0.0
    max_frequency: float | None = None
    patch_size: tuple[int, int]
    num_channels: int | None = None
    mean: float = 0.0
    std: float = 1.0
    positioned: PositionedConfig

    def __post_init__(self) -> None:
        if not 0 < self.hop_samples <= self.window_samples:
            raise ValueError(
                f"hop_samples ({self.hop_samples}) must lie between 1 and the window's samples, {self.window_samples}"
            )
        half = self.sample_rate / 2
        if not 0 <= self.min_frequency < self.top_frequency <= half:
            raise ValueError(
                f"min_frequency ({self.min_frequency}) and max_frequency ({self.max_frequency}) must be a range "
                f"between 0 and half the sample rate, {half:g} Hz"
            )
        frames, mels = self.patch_size
        if min(self.patch_size) < 1 or self.num_mels < 1 or self.num_mels % mels:
            raise ValueError(
                f"patch_size {self.patch_size} must be positive, and its bands must divide num_mels ({self.num_mels})"
            )
        if self.num_samples < 1 or self.num_samples % (frames * self.hop_samples):
            raise ValueError(
                f"num_samples ({self.num_samples}) must be a multiple of the {frames * self.hop_samples} of a patch"
            )
        if self.std <= 0:
            raise ValueError(f"std ({self.std}) must be greater than 0")

    @property
    def top_frequency(self) -> float:
        """Where the highest band ends, in Hz."""
        return self.sample_rate / 2 if self.max_frequency is None else self.max_frequency

    def build(self) -> "SpectrogramInput":
        """Make the module."""
        return SpectrogramInput(self)

    @classmethod
    def example(cls) -> "SpectrogramInputConfig":
        """Return a tiny config."""
        return cls(
            num_samples=96,
            sample_rate=1000,
            window_samples=32,
            hop_samples=8,
            num_mels=4,
            min_frequency=20.0,
            max_frequency=450.0,
            patch_size=(4, 2),
            num_channels=6,
            positioned=PositionedConfig(positions=FourierPositionConfig(num_bands=2)),
        )


class SpectrogramInput(InputAdapter):
    """Reads `audio` (B, S), values in [-1, 1], and, when there, `audio_keep_mask` (B, S); one token a patch."""

    entries = ("audio",)

    def __init__(self, config: SpectrogramInputConfig) -> None:
        super().__init__()
        self.config = config
        frames, mels = config.patch_size
        self.patch_samples, self.mel_patches = frames * config.hop_samples, config.num_mels // mels
        self.grid_shape = (config.num_samples // self.patch_samples, self.mel_patches)
        width = config.num_channels or frames * mels
        self.linear = nn.Identity() if config.num_channels is None else plain_linear(frames * mels, width)
        self.positioned = Positioned(config.positioned, width, self.grid_shape)
        self.num_channels = self.positioned.num_channels
        # Made when they are first needed, for each number format and device, and kept out of checkpoints.
        self._tables: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    def forward(self, batch: Batch) -> Tokens:
        """Make the spectrogram, cut it into patches and join positions.

        Raises:
            ValueError: The wave has another form than (B, S), or its length does not divide into patches.
        """
        raw = self.raw(batch)
        content = self.linear(raw.values)
        return Tokens(self.positioned(content, raw.grid_shape), raw.keep_mask, content, raw.grid_shape)

    def raw(self, batch: Batch) -> RawTokens:
        """Return the log-mel values of each patch, frame by frame.

        Windows overlap: frames at the border of a patch are made of some of the samples of the next one.
        """
        audio = wave_of(batch, self.patch_samples)
        frames, mels = self.config.patch_size
        patches = rearrange(self.log_mel(audio), "b (t f) (k m) -> b (t k) (f m)", f=frames, m=mels)
        grid_shape = (audio.shape[1] // self.patch_samples, self.mel_patches)
        return RawTokens(patches, kept_runs(batch, self.patch_samples, grid_shape[1]), grid_shape)

    def log_mel(self, audio: Float[Tensor, "B S"]) -> Float[Tensor, "B T mels"]:
        """Return the normalised log-mel spectrogram, one frame for each `hop_samples`."""
        config = self.config
        window, bank = self._tables_for(audio)
        around = config.window_samples - config.hop_samples
        padded = functional.pad(audio, (around // 2, around - around // 2))
        # Half precision has no Fourier transform on most devices; where costs are counted there is no autocast.
        with nullcontext() if audio.is_meta else torch.autocast(audio.device.type, enabled=False):
            spectrum = torch.stft(
                padded,
                config.window_samples,
                hop_length=config.hop_samples,
                window=window,
                center=False,
                return_complex=True,
            )
            power = torch.view_as_real(spectrum).square().sum(dim=-1)  # (B, frequencies, T)
            mel = rearrange(power, "b f t -> b t f") @ bank
        return ((mel + _FLOOR).log() - config.mean) / config.std

    def example_batch(self, batch_size: int) -> dict[str, Any]:
        """Return noise."""
        return {"audio": torch.rand(batch_size, self.config.num_samples) * 2 - 1}

    def _tables_for(self, like: Tensor) -> tuple[Float[Tensor, " window"], Float[Tensor, "frequencies mels"]]:
        """Return the window and the filters, in the number format and on the device of the wave."""
        key = (like.dtype, like.device)
        if key not in self._tables:
            config = self.config
            # A tensor made in inference mode could not take part in training later.
            with torch.inference_mode(False):
                window = torch.hann_window(config.window_samples, dtype=torch.float64)
                bank = mel_filters(
                    config.window_samples // 2 + 1,
                    config.num_mels,
                    config.sample_rate,
                    (config.min_frequency, config.top_frequency),
                )
                self._tables[key] = (
                    window.to(device=like.device, dtype=like.dtype),
                    bank.to(device=like.device, dtype=like.dtype),
                )
        return self._tables[key]


def mel_filters(
    num_frequencies: int, num_mels: int, sample_rate: int, limits: tuple[float, float]
) -> Float[Tensor, "frequencies mels"]:
    """Return triangles of height 1 whose corners are spread evenly over the mel scale, in float64.

    The scale is `2595 log10(1 + f / 700)` (O'Shaughnessy 1987), as in HTK. A band so narrow that no frequency of the
    transform falls into it takes the one next to its middle, so that no band is always empty.

    Args:
        num_frequencies: Frequencies of the transform, from 0 to half the sample rate.
        num_mels: Bands.
        sample_rate: Samples a second.
        limits: Where the first band begins and the last one ends, in Hz.
    """
    low, high = (2595 * torch.log10(1 + torch.tensor(limit, dtype=torch.float64) / 700) for limit in limits)
    mels = torch.linspace(float(low), float(high), num_mels + 2, dtype=torch.float64)
    corners = 700 * (10 ** (mels / 2595) - 1)
    frequencies = torch.linspace(0, sample_rate / 2, num_frequencies, dtype=torch.float64)[:, None]
    start, middle, end = corners[:-2], corners[1:-1], corners[2:]
    bank = torch.minimum((frequencies - start) / (middle - start), (end - frequencies) / (end - middle)).clamp(min=0)
    empty = ~(bank > 0).any(dim=0)
    nearest = (frequencies - middle).abs().argmin(dim=0)
    bank[nearest[empty], empty.nonzero()[:, 0]] = 1.0
    return bank
