"""A tiny masked auto-encoder of each modality, with a few rows of data: what its tests share."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from perceivers.adapters import InputConfig
from perceivers.adapters.image import Conv1x1InputConfig, ConvInputConfig
from perceivers.adapters.video import VideoInputConfig
from perceivers.config import override
from perceivers.model import PerceiverConfig
from perceivers.nn.positions import FourierPositionConfig, PositionedConfig
from perceivers.tasks.masked_autoencoding import MaskedAutoencoding
from perceivers.zoo import ZOO
from train_examples import TINY

Rows = list[dict[str, Any]]
_BANDS = PositionedConfig(positions=FourierPositionConfig(num_bands=2))
_NOISE = np.random.default_rng(0)


def _images(shape: tuple[int, ...]) -> Rows:
    return [{"image": _NOISE.integers(0, 256, shape, dtype=np.uint8)} for _ in range(5)]


def _sounds() -> Rows:
    # One is shorter than what is read, the others are longer.
    waves = [np.sin(np.arange(900 + 200 * i) * 0.2 * (1 + i % 3)).astype(np.float32) for i in range(5)]
    return [{"audio": {"array": wave, "sampling_rate": 8000}} for wave in waves]


def _clips() -> Rows:
    clips = [_NOISE.integers(0, 256, (4, 8, 12, 3), dtype=np.uint8) for _ in range(3)]
    return [{"video": {"video": clip, "frame_rate": 25.0}} for clip in clips]


def _pairs() -> Rows:
    frames = [_NOISE.integers(0, 256, size, dtype=np.uint8) for size in ((12, 16, 3), (14, 20, 3), (9, 11, 3))]
    return [{"frame1": frame, "frame2": np.roll(frame, 1, axis=1)} for frame in frames]


def _clouds() -> Rows:
    return [{"points": _NOISE.normal(size=(12 + i, 3)).astype(np.float32)} for i in range(5)]


def _texts() -> Rows:
    # Cut into windows, of which the last is short.
    return [{"text": "It was the best of times, it was the worst of times. " * 3 + "été"}, {"text": "à la mer"}]


def _of_zoo(name: str, changes: Mapping[str, Any]) -> PerceiverConfig:
    return override(ZOO[name].config, {**TINY, **changes})


def _around(inputs: InputConfig) -> PerceiverConfig:
    base = _of_zoo("digits-small", {"encoder.qk_channels": 16, "encoder.v_channels": 16, "encoder.num_cross_heads": 1})
    return PerceiverConfig(
        inputs=inputs, encoder=base.encoder, queries=base.queries, decoder=base.decoder, outputs=base.outputs
    )


_SOUND = {"inputs.num_samples": 1280}
MODELS: dict[str, tuple[PerceiverConfig, Callable[[], Rows], dict[str, Any]]] = {
    "patches": (_of_zoo("image-small", {"inputs.image_size": [16, 12]}), lambda: _images((16, 12, 3)), {}),
    "conv1x1": (
        _around(Conv1x1InputConfig(image_size=(6, 8), num_channels=4, stride=2, positioned=_BANDS)),
        lambda: _images((6, 8, 3)),
        {},
    ),
    "conv": (
        _around(ConvInputConfig(image_size=(30, 34), num_channels=4, mean=(0.5,), std=(0.25,), positioned=_BANDS)),
        lambda: _images((30, 34, 3)),
        {},
    ),
    "spectrogram": (_of_zoo("audio-spectrogram-small", _SOUND), _sounds, {}),
    "wave": (_of_zoo("audio-wave-small", _SOUND), _sounds, {"reading": {"sample_rate": 8000}}),
    "points": (_of_zoo("points-small", {}), _clouds, {"reading": {"num_points": 14}}),
    "text": (_of_zoo("language-small", {"encoder.qk_channels": 16, "encoder.v_channels": 16}), _texts, {}),
    "video": (
        _around(VideoInputConfig(num_frames=4, image_size=(8, 12), num_block_frames=2, positioned=_BANDS)),
        _clips,
        {},
    ),
    "flow": (
        _of_zoo("optical-flow-small", {"inputs.image_size": [12, 16], "inputs.positioned.positions.num_bands": 2}),
        _pairs,
        {"reading": {"min_overlap": 4}},
    ),
}


def masked(name: str, settings: Mapping[str, Any] | None = None) -> tuple[MaskedAutoencoding, Rows]:
    """Return the task around a tiny model of a modality, and rows of its data."""
    config, rows, own = MODELS[name]
    return MaskedAutoencoding.fit(config, None, {**own, **(settings or {})}), rows()
