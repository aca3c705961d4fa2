"""Classifiers of sound."""

from perceivers.adapters import InputConfig
from perceivers.adapters.audio import AudioInputConfig
from perceivers.adapters.label import LabelOutputConfig, LearnedQueryConfig
from perceivers.adapters.spectrogram import SpectrogramInputConfig
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import EncoderConfig, PerceiverConfig
from perceivers.nn.positions import FourierPositionConfig, PositionedConfig
from perceivers.zoo.citations import PERCEIVER, PERCEIVER_BIBTEX
from perceivers.zoo.spec import ZOO, Spec, add_mini

_SECOND = 8000


def _positioned(grid_shape: tuple[int, ...], num_bands: int) -> PositionedConfig:
    return PositionedConfig(positions=FourierPositionConfig(num_bands=num_bands, max_resolution=grid_shape))


def _classifier(inputs: InputConfig) -> PerceiverConfig:
    return PerceiverConfig(
        inputs=inputs,
        encoder=EncoderConfig(
            num_latents=32,
            latent_channels=96,
            num_blocks=2,
            num_layers_per_block=3,
            num_cross_heads=1,
            num_self_heads=4,
            self_widening_factor=2,
        ),
        queries=LearnedQueryConfig(num_channels=96),
        decoder=CrossAttentionDecoderConfig(num_heads=4, query_residual=True),
        outputs=LabelOutputConfig(num_classes=10),
    )


ZOO.add(
    "audio-wave-small",
    Spec(
        name="audio-wave-small",
        task="audio-classification",
        summary="Classifier for a second of sound at 8 kHz from the wave itself, in runs of 10 ms, sized for a CPU",
        citation=PERCEIVER,
        bibtex=PERCEIVER_BIBTEX,
        # Few bands: a run of samples at ordinary loudness is faint beside many channels of positions, and is then
        # learned from slowly.
        config=_classifier(
            AudioInputConfig(num_samples=_SECOND, samples_per_patch=80, positioned=_positioned((100,), 8))
        ),
    ),
)

ZOO.add(
    "audio-spectrogram-small",
    Spec(
        name="audio-spectrogram-small",
        task="audio-classification",
        summary="Classifier for a second of sound at 8 kHz from 40 mel bands every 10 ms, sized for a CPU",
        citation=PERCEIVER,
        bibtex=PERCEIVER_BIBTEX,
        # A patch is 20 ms of all bands: fewer tokens, and what is heard at one time stays together.
        config=_classifier(
            SpectrogramInputConfig(
                num_samples=_SECOND,
                sample_rate=_SECOND,
                window_samples=256,
                hop_samples=80,
                num_mels=40,
                patch_size=(2, 40),
                num_channels=64,
                mean=-2.5,
                std=4.0,
                positioned=_positioned((50, 1), 8),
            )
        ),
    ),
)

add_mini(
    "audio-mini",
    "audio-spectrogram-small",
    "Spoken English digits in a second of sound at 8 kHz",
    licence="CC BY-SA 4.0",
)
