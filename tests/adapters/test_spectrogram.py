"""Spectrograms against a second way to compute them, masks, lengths, and what configs refuse."""

import numpy as np
import pytest
import torch
from scipy import signal

from perceivers.adapters.audio import AudioInputConfig
from perceivers.adapters.spectrogram import SpectrogramInputConfig, mel_filters
from perceivers.config import override
from perceivers.nn import FourierPositionConfig
from perceivers.nn.positions import PositionedConfig

CONFIG = SpectrogramInputConfig(
    num_samples=1600,
    sample_rate=8000,
    window_samples=256,
    hop_samples=80,
    num_mels=20,
    min_frequency=60.0,
    max_frequency=3800.0,
    patch_size=(4, 5),
    num_channels=None,
    mean=-3.0,
    std=2.0,
    positioned=PositionedConfig(positions=FourierPositionConfig(num_bands=2)),
)


def filters_one_by_one(config: SpectrogramInputConfig) -> np.ndarray:
    """Return (mels, frequencies): each triangle written out by its corners."""
    to_mel, to_hertz = (lambda f: 2595 * np.log10(1 + f / 700)), (lambda m: 700 * (10 ** (m / 2595) - 1))
    low, high = to_mel(config.min_frequency), to_mel(config.max_frequency)
    step = (high - low) / (config.num_mels + 1)
    frequencies = np.fft.rfftfreq(config.window_samples, 1 / config.sample_rate)
    rows = []
    for i in range(config.num_mels):
        corners = [to_hertz(low + (i + j) * step) for j in range(3)]
        rows.append(np.interp(frequencies, corners, [0.0, 1.0, 0.0], left=0.0, right=0.0))
    return np.array(rows)


def log_mel_by_scipy(wave: np.ndarray, config: SpectrogramInputConfig) -> np.ndarray:
    window = signal.get_window("hann", config.window_samples)
    filters = filters_one_by_one(config)
    before = (config.window_samples - config.hop_samples) // 2
    frames = []
    for i in range(len(wave) // config.hop_samples):
        places = np.arange(config.window_samples) + i * config.hop_samples - before
        inside = (places >= 0) & (places < len(wave))
        frame = np.where(inside, wave[places.clip(0, len(wave) - 1)], 0)
        frames.append(np.log(filters @ np.abs(np.fft.rfft(frame * window)) ** 2 + 1e-6))
    return (np.array(frames) - config.mean) / config.std


def test_against_scipy() -> None:
    wave = np.random.default_rng(0).uniform(-1, 1, 1600)
    module = CONFIG.build()
    ours = module.log_mel(torch.from_numpy(wave)[None].float())
    expected = torch.from_numpy(log_mel_by_scipy(wave, CONFIG))[None].float()
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    exact = module.log_mel(torch.from_numpy(wave)[None])
    torch.testing.assert_close(exact[0], torch.from_numpy(log_mel_by_scipy(wave, CONFIG)), rtol=1e-9, atol=1e-9)


def test_a_tone_lies_in_its_band_and_time() -> None:
    """A tone in the second half is strong there, in the band around it, and nowhere else."""
    time = np.arange(1600) / 8000
    wave = np.where(time >= 0.1, np.sin(2 * np.pi * 1000 * time), 0.0)
    found = CONFIG.build().log_mel(torch.from_numpy(wave)[None])[0]
    filters = filters_one_by_one(CONFIG)
    band = int(filters[:, 32].argmax())  # 1000 Hz is the 32nd frequency of the transform.
    assert found[12:].mean(dim=0).argmax() == band
    assert found[:8, band].max() < found[12:, band].min() - 3


def test_patches_are_runs_of_frames_and_bands() -> None:
    module = CONFIG.build()
    audio = torch.rand(2, 1600) * 2 - 1
    tokens = module({"audio": audio})
    plane = module.log_mel(audio)
    assert tokens.grid_shape == module.grid_shape == (5, 4)
    token = tokens.content[1].reshape(5, 4, 4, 5)[2, 3]  # (frames, bands)
    assert torch.equal(token, plane[1, 8:12, 15:20])


def test_narrow_bands_are_never_empty() -> None:
    bank = mel_filters(17, 12, 8000, (0.0, 4000.0))
    assert bank.dtype == torch.float64
    assert (bank.max(dim=0).values > 0).all()


def test_without_values_there_is_still_a_shape() -> None:
    """What a model costs is counted on the meta device."""
    module = CONFIG.build().to("meta")
    assert module({"audio": torch.zeros(2, 1600, device="meta")}).values.shape == (2, 20, module.num_channels)


def test_tables_stay_out_of_checkpoints() -> None:
    module = CONFIG.build()
    with torch.inference_mode():
        module({"audio": torch.zeros(1, 1600)})
    assert list(module.state_dict()) == []
    audio = torch.zeros(1, 1600, requires_grad=True)
    # What was made in inference mode can be trained with.
    module.log_mel(audio).sum().backward()
    assert audio.grad is not None


def wave_input() -> AudioInputConfig:
    return AudioInputConfig(num_samples=1600, samples_per_patch=320, positioned=CONFIG.positioned)


@pytest.mark.parametrize("config", [CONFIG, wave_input()], ids=["spectrogram", "audio"])
def test_padding_is_not_attended(config: SpectrogramInputConfig | AudioInputConfig) -> None:
    module = config.build()
    keep_mask = torch.zeros(2, 1600, dtype=torch.bool)
    keep_mask[0, 330:700] = True
    keep_mask[1] = True
    tokens = module({"audio": torch.zeros(2, 1600), "audio_keep_mask": keep_mask})
    assert tokens.keep_mask is not None
    times = torch.tensor([[False, True, True, False, False], [True] * 5])
    assert torch.equal(tokens.keep_mask.reshape(2, 5, -1), times[..., None].expand(2, 5, tokens.values.shape[1] // 5))
    whole = module({"audio": torch.zeros(2, 1600), "audio_keep_mask": torch.ones(2, 1600, dtype=torch.bool)})
    assert whole.keep_mask is None
    with pytest.raises(ValueError, match=r"audio_keep_mask of shape \(2, 5\) must have the shape of audio"):
        module({"audio": torch.zeros(2, 1600), "audio_keep_mask": torch.ones(2, 5)})


def test_other_lengths_are_read() -> None:
    module = CONFIG.build()
    assert module({"audio": torch.zeros(1, 3200)}).grid_shape == (10, 4)
    with pytest.raises(ValueError, match=r"audio of shape \(1, 500\) must be \(B, S\) with S divisible by 320"):
        module({"audio": torch.zeros(1, 500)})
    with pytest.raises(ValueError, match="the batch has no 'audio'"):
        module({"sound": torch.zeros(1, 500)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hop_samples": 0}, r"hop_samples \(0\) must lie between 1 and the window's samples, 256"),
        ({"hop_samples": 257}, "hop_samples"),
        ({"min_frequency": 4000.0}, "must be a range between 0 and half the sample rate, 4000 Hz"),
        ({"max_frequency": 4001.0}, "max_frequency"),
        ({"num_mels": 21}, r"patch_size \(4, 5\) must be positive, and its bands must divide num_mels \(21\)"),
        ({"patch_size": (0, 5)}, "patch_size"),
        ({"num_samples": 1601}, r"num_samples \(1601\) must be a multiple of the 320 of a patch"),
        ({"std": 0.0}, r"std \(0.0\) must be greater than 0"),
    ],
)
def test_what_configs_refuse(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(CONFIG, changes)
