"""Masked auto-encoding of sound: patches of a spectrogram, or runs of samples, come back."""

import math
from typing import ClassVar

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Float32
from PIL import Image
from torch import Tensor

from perceivers.adapters.audio import AudioInputConfig
from perceivers.adapters.spectrogram import SpectrogramInputConfig
from perceivers.processing.sound_pictures import draw_bands, draw_sound
from perceivers.tasks.audio_classification import AudioClassification
from perceivers.tasks.base import Metrics, Step
from perceivers.tasks.drawing import below, captioned
from perceivers.tasks.masked_modalities import MODALITIES, Modality, Restored
from perceivers.tasks.scores import means

_DECIBELS = 10 / math.log(10)  # a natural logarithm of power in dB
_CAPTIONS = ("original", "what was read", "restored")
# Of the power of a silent run, so that its ratio to the error stays finite: 16 bits have about as much noise.
_SILENCE = 1e-10


class SpectrogramModality(Modality[SpectrogramInputConfig]):
    """Patches of a log-mel spectrogram."""

    read_by: ClassVar[str] = "audio-classification"
    mask_share: ClassVar[float] = 0.75
    score: ClassVar[str] = "l1_db"
    higher_is_better: ClassVar[bool] = False

    def metrics(self) -> Metrics:
        """Return the mean absolute error of the hidden bands, in dB."""
        return means(self.score)

    def update(self, metrics: Metrics, step: Step) -> None:
        """Count one batch."""
        errors = (step.outputs - step.targets).abs().mean(dim=-1)
        metrics.update(errors[~errors.isnan()] * (self.inputs.std * _DECIBELS))

    def present(self, values: Tensor, grid_shape: tuple[int, ...]) -> Float32[np.ndarray, "T mels"]:
        """Return the natural logarithm of the power in each band of each frame."""
        frames, mels = self.inputs.patch_size
        patches = values * self.inputs.std + self.inputs.mean
        bands = rearrange(patches, "(t k) (f m) -> (t f) (k m)", k=grid_shape[1], f=frames, m=mels)
        return bands.float().cpu().numpy()

    def draw(self, result: Restored) -> Image.Image:
        """Draw the spectrograms, what was hidden grey."""
        limits = (float(result.original.min()), float(result.original.max()))
        panels = (
            draw_bands(result.original, limits),
            draw_bands(result.shown, limits, result.hidden.repeat(self.inputs.patch_size[0], axis=0)),
            draw_bands(result.restored, limits),
        )
        return below([captioned(panel, name) for name, panel in zip(_CAPTIONS, panels, strict=True)], gap=4)


class WaveModality(Modality[AudioInputConfig]):
    """Runs of samples of the wave itself."""

    read_by: ClassVar[str] = "audio-classification"
    mask_share: ClassVar[float] = 0.75
    score: ClassVar[str] = "snr"

    def metrics(self) -> Metrics:
        """Return the signal-to-noise ratio of what was hidden in dB, mean over inputs; silence scores 0."""
        return means(self.score)

    def update(self, metrics: Metrics, step: Step) -> None:
        """Count one batch."""
        counts = ~step.targets.isnan().any(dim=-1)
        signal = step.targets.double().nan_to_num().square().sum(dim=(1, 2))
        noise = (step.outputs - step.targets).double().nan_to_num().square().sum(dim=(1, 2))
        ratio = 10 * torch.log10((signal + _SILENCE) / (noise + _SILENCE))
        metrics.update(ratio[counts.any(dim=1)])

    def present(self, values: Tensor, grid_shape: tuple[int, ...]) -> Float[np.ndarray, " S"]:
        """Return the samples."""
        return values.flatten().float().cpu().numpy()

    def draw(self, result: Restored) -> Image.Image:
        """Draw wave and spectrogram of each."""
        sounds = (result.original, result.shown, result.restored)
        assert isinstance(self.reader, AudioClassification)
        rate = self.reader.sample_rate
        return below([captioned(draw_sound(sound, rate), name) for name, sound in zip(_CAPTIONS, sounds, strict=True)])


MODALITIES[SpectrogramInputConfig] = SpectrogramModality
MODALITIES[AudioInputConfig] = WaveModality
