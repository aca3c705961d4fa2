"""A modality written in one place, here, works in the whole model: nothing else knows of it."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn

from perceivers.adapters import Batch, InputAdapter, InputConfig, OutputAdapter, OutputConfig, Queries, Tokens
from perceivers.adapters.image import GridQueryConfig
from perceivers.config import from_json, to_json
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import EncoderConfig, PerceiverConfig, PerceiverIO
from perceivers.nn import FourierPositionConfig
from perceivers.tasks import TASKS


@dataclass(frozen=True, kw_only=True)
class WeatherInputConfig(InputConfig, kind="toy-weather"):
    """Readings of weather stations.

    Args:
        num_readings: Readings a station.
    """

    num_readings: int

    def build(self) -> "WeatherInput":
        return WeatherInput(self)

    @classmethod
    def example(cls) -> "WeatherInputConfig":
        return cls(num_readings=3)


class WeatherInput(InputAdapter):
    """One token a station: readings, and where it stands."""

    def __init__(self, config: WeatherInputConfig) -> None:
        super().__init__()
        self.num_readings = config.num_readings
        self.positions = FourierPositionConfig(num_bands=2).build((8, 8))
        self.num_channels = config.num_readings + self.positions.num_channels

    def forward(self, batch: Batch) -> Tokens:
        readings = batch["readings"]
        values = torch.cat([readings, self.positions.at(batch["places"], readings)], dim=-1)
        return Tokens(values, batch["reporting"], readings, (readings.shape[1],))

    def example_batch(self, batch_size: int) -> dict[str, Any]:
        return {
            "readings": torch.randn(batch_size, 6, self.num_readings),
            "places": torch.rand(batch_size, 6, 2) * 2 - 1,
            "reporting": torch.tensor([True] * 5 + [False]).expand(batch_size, -1),
        }


@dataclass(frozen=True, kw_only=True)
class ForecastOutputConfig(OutputConfig, kind="toy-forecast"):
    """Mean and deviation of the temperature at each cell of a map."""

    def build(self, num_channels: int, inputs: InputAdapter) -> "ForecastOutput":
        return ForecastOutput(num_channels)

    @classmethod
    def example(cls) -> "ForecastOutputConfig":
        return cls()


class ForecastOutput(OutputAdapter):
    """Two linear layers; the result is a dictionary."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.mean = nn.Linear(num_channels, 1)
        self.deviation = nn.Linear(num_channels, 1)

    def forward(self, decoded: Float[Tensor, "B O F"], queries: Queries) -> dict[str, Tensor]:
        return {"mean": self.mean(decoded)[..., 0], "deviation": self.deviation(decoded)[..., 0].exp()}

    def join(self, pieces: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {key: torch.cat([piece[key] for piece in pieces], dim=1) for key in pieces[0]}

    def arrange(self, outputs: dict[str, Tensor], grid: tuple[int, ...]) -> dict[str, Tensor]:
        return {key: value.unflatten(1, grid) for key, value in outputs.items()}


CONFIG = PerceiverConfig(
    inputs=WeatherInputConfig.example(),
    encoder=EncoderConfig(
        num_latents=4, latent_channels=8, num_blocks=1, num_layers_per_block=1, num_cross_heads=1, num_self_heads=2
    ),
    queries=GridQueryConfig(grid_shape=(4, 5), positions=FourierPositionConfig(num_bands=2)),
    decoder=CrossAttentionDecoderConfig(num_heads=1),
    outputs=ForecastOutputConfig(),
)


def test_the_new_modality_is_saved_and_restored() -> None:
    assert from_json(PerceiverConfig, json.loads(json.dumps(to_json(CONFIG)))) == CONFIG


def test_the_new_modality_answers_whole_in_part_and_in_chunks() -> None:
    torch.manual_seed(0)
    model = PerceiverIO(CONFIG).eval()
    latents = model.encode(model.inputs.example_batch(2))
    whole = model.decode(latents)
    chunks = model.decode(latents, chunk_size=7)
    part = model.decode(latents, where=torch.tensor([9, 0]))
    assert whole["mean"].shape == whole["deviation"].shape == (2, 4, 5)
    for key in whole:
        torch.testing.assert_close(chunks[key], whole[key], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(part[key], whole[key].flatten(1)[:, [9, 0]], rtol=1e-5, atol=1e-5)


def test_the_new_modality_trains() -> None:
    torch.manual_seed(0)
    model = PerceiverIO(CONFIG)
    batch = model.inputs.example_batch(2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        forecast = model(batch)
        loss = (forecast["mean"] - 1).square().mean() + forecast["deviation"].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_the_new_modality_can_be_masked() -> None:
    inputs = CONFIG.inputs.build()
    batch = inputs.example_batch(2)
    raw = inputs.raw(batch)
    assert torch.equal(raw.values, batch["readings"])
    assert torch.equal(raw.keep_mask, batch["reporting"])
    # A station sees none of the others.
    assert inputs.hide(batch, ~batch["reporting"]) is batch
    with pytest.raises(ValueError, match=r"does not know how to mask 'toy-weather' inputs; .* enters its own"):
        TASKS["masked-autoencoding"].roles_for(CONFIG)
