"""Random changes of batches of sound while training: where it is cut, speed, loudness, noise, and what is hidden."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Noise is at most so much fainter than the loudest that is allowed.
_NOISE_RANGE_DB = 30.0
_FAINTEST = 1e-8


@dataclass(frozen=True, kw_only=True)
class SoundAugmentConfig:
    """Which random changes; the default is none but where a clip is cut. Each clip draws its own.

    Args:
        crop: Where a clip that is longer than the model reads is cut, and where one that is shorter lies in what the
            model reads: anywhere, or in the middle as in evaluation.
        speed: Played at between `1 - speed` and `1 + speed` of its speed; the pitch changes with it.
        gain_db: Largest change of loudness either way, in dB.
        noise_db: White noise is added, at least so many dB fainter than the sound; `None` adds none.
        time_mask: Largest share of the time that is silenced in one stretch (SpecAugment, arXiv:1904.08779).
        band_mask: Largest share of the mel scale that is taken out in one band, likewise.
    """

    crop: Literal["random", "center"] = "random"
    speed: float = 0.0
    gain_db: float = 0.0
    noise_db: float | None = None
    time_mask: float = 0.0
    band_mask: float = 0.0

    def __post_init__(self) -> None:
        for name in ("speed", "time_mask", "band_mask"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must lie between 0 and 1")
        if self.gain_db < 0:
            raise ValueError(f"gain_db ({self.gain_db}) must not be negative")


class SoundAugmenter:
    """Cuts clips to a length and changes them.

    All randomness comes from torch's global generator, so that a resumed run repeats it.

    Args:
        config: Which changes.
        num_samples: Samples wanted.
        sample_rate: Samples a second.
    """

    def __init__(self, config: SoundAugmentConfig, num_samples: int, sample_rate: int) -> None:
        self.config = config
        self.num_samples = num_samples
        self.sample_rate = sample_rate

    def __call__(
        self, audio: Float[Tensor, "B L"], keep_mask: Bool[Tensor, "B L"]
    ) -> tuple[Float[Tensor, "B S"], Bool[Tensor, "B S"]]:
        """Return changed clips and their masks.

        Args:
            audio: Whole clips, padded at the end.
            keep_mask: `True` = sound.
        """
        config = self.config
        audio, keep_mask = self._cut(audio, keep_mask.sum(dim=1))
        if config.gain_db:
            audio = audio * 10 ** (_between(-config.gain_db, config.gain_db, len(audio)) / 20)
        if config.noise_db is not None:
            audio = audio + self._noise(audio, keep_mask, config.noise_db)
        if config.time_mask:
            places = torch.arange(self.num_samples) / self.num_samples
            audio = audio.masked_fill(_stretch(places, config.time_mask, len(audio)), 0.0)
        if config.band_mask:
            audio = self._without_band(audio)
        return audio, keep_mask

    def _cut(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        config, count = self.config, len(audio)
        speed = _between(1 - config.speed, 1 + config.speed, count) if config.speed else torch.ones(count, 1)
        share = torch.rand(count, 1) if config.crop == "random" else torch.full((count, 1), 0.5)
        # Less than nothing for clips that are shorter: they begin after the window does.
        start = (share * (lengths[:, None] - speed * self.num_samples)).floor()
        places = start + speed * torch.arange(self.num_samples)
        keep_mask = (places >= 0) & (places <= lengths[:, None] - 1)
        left = places.floor().long().clamp(0, audio.shape[1] - 1)
        right = (left + 1).clamp(max=audio.shape[1] - 1)
        cut = torch.lerp(audio.gather(1, left), audio.gather(1, right), (places - left).clamp(0, 1))
        return cut.masked_fill(~keep_mask, 0.0), keep_mask

    def _noise(self, audio: Tensor, keep_mask: Tensor, noise_db: float) -> Tensor:
        power = audio.square().sum(dim=1, keepdim=True) / keep_mask.sum(dim=1, keepdim=True).clamp(min=1)
        below = _between(noise_db, noise_db + _NOISE_RANGE_DB, len(audio))
        return torch.randn_like(audio) * (power.sqrt() * 10 ** (-below / 20)).clamp(min=_FAINTEST)

    def _without_band(self, audio: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(audio)
        frequencies = torch.linspace(0, self.sample_rate / 2, spectrum.shape[1])
        mels = torch.log1p(frequencies / 700)
        hidden = _stretch(mels / mels[-1], self.config.band_mask, len(audio))
        return torch.fft.irfft(spectrum.masked_fill(hidden, 0.0), n=audio.shape[1])


def _between(low: float, high: float, count: int) -> Float[Tensor, "B 1"]:
    return low + (high - low) * torch.rand(count, 1)


def _stretch(places: Float[Tensor, " S"], largest: float, count: int) -> Bool[Tensor, "B S"]:
    """Return which places in [0, 1] lie in a stretch of random length, up to `largest`, for each of the batch."""
    length = largest * torch.rand(count, 1)
    start = (1 - length) * torch.rand(count, 1)
    return (places >= start) & (places < start + length)
