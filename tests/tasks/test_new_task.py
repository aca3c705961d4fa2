"""A new modality and a new task, written in one file, are trained, saved and served like any other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchmetrics import MeanSquaredError, MetricCollection

from perceivers.adapters import Batch, InputAdapter, InputConfig, Tokens
from perceivers.adapters.label import LabelOutputConfig, LearnedQueryConfig
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import EncoderConfig, PerceiverConfig, PerceiverIO
from perceivers.pretrained.load import seeded_model
from perceivers.tasks import TASKS, Result, Rows, Step, Task
from perceivers.tasks.base import stack, to_device
from perceivers.tasks.pipeline import pipeline
from perceivers.train import OptimizerConfig, TrainConfig, Trainer


@dataclass(frozen=True, kw_only=True)
class SensorInputConfig(InputConfig, kind="toy-sensors"):
    """A fixed number of sensors, one number each."""

    num_sensors: int
    num_channels: int

    def build(self) -> "SensorInput":
        return SensorInput(self)

    @classmethod
    def example(cls) -> "SensorInputConfig":
        return cls(num_sensors=4, num_channels=8)


class SensorInput(InputAdapter):
    """Each sensor's own vector, moved by its reading."""

    def __init__(self, config: SensorInputConfig) -> None:
        super().__init__()
        self.num_channels = config.num_channels
        self.table = nn.Parameter(torch.randn(config.num_sensors, config.num_channels))
        self.direction = nn.Parameter(torch.randn(config.num_channels))

    def forward(self, batch: Batch) -> Tokens:
        content = self.table + batch["reading"][..., None] * self.direction
        return Tokens(content, None, content, (len(self.table),))

    def example_batch(self, batch_size: int) -> dict[str, Any]:
        return {"reading": torch.rand(batch_size, len(self.table))}


@dataclass(frozen=True, kw_only=True)
class SumSettings:
    """Settings of the toy task."""

    scale: float = 1.0


@TASKS.register("toy-sum")
class Sum(Task[SumSettings]):
    """Adds up the readings."""

    Settings = SumSettings
    roles: ClassVar[tuple[str, ...]] = ("reading", "total")
    input_role = "reading"
    default_model = "digits-small"
    score = "error"
    higher_is_better = False

    @classmethod
    def example(cls) -> "tuple[Sum, Rows]":
        config = PerceiverConfig(
            inputs=SensorInputConfig.example(),
            encoder=EncoderConfig(
                num_latents=4,
                latent_channels=16,
                num_blocks=1,
                num_layers_per_block=1,
                num_cross_heads=1,
                num_self_heads=2,
            ),
            queries=LearnedQueryConfig(num_channels=16),
            decoder=CrossAttentionDecoderConfig(num_heads=1),
            outputs=LabelOutputConfig(num_classes=1),
        )
        readings = np.random.default_rng(0).random((40, 4), dtype=np.float32)
        return cls.fit(config, None, {}), [{"reading": row, "total": float(row.sum())} for row in readings]

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        known = {"total": np.float32(row["total"])} if "total" in row else {}
        return {"reading": np.asarray(row["reading"], dtype=np.float32), **known}

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        return {key: stack(items, key) for key in items[0]}

    def step(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        answer = model(batch)[:, 0] * self.settings.scale
        return Step(nn.functional.mse_loss(answer, batch["total"]), answer, batch["total"])

    def metrics(self) -> MetricCollection:
        return MetricCollection({"error": MeanSquaredError()})

    def update(self, metrics: MetricCollection, step: Step) -> None:
        metrics.update(step.outputs, step.targets)

    @torch.inference_mode()
    def predict(self, model: PerceiverIO, inputs: Sequence[Any], *, top_k: int = 5) -> list[Result]:
        batch = to_device(self.collate([self.prepare({"reading": value}) for value in inputs]), model)
        return [[{"total": total}] for total in (model(batch)[:, 0] * self.settings.scale).tolist()]

    def picture(self, value: Any, result: Result) -> Image.Image:
        return Image.new("L", (len(value), 1))


def test_a_toy_task_is_trained_saved_and_served(tmp_path: Path) -> None:
    task, rows = Sum.example()
    model = seeded_model(task.config, 0)
    config = TrainConfig(
        max_steps=80, batch_size=20, eval_every=40, tracker=None, optimizer=OptimizerConfig(learning_rate=1e-2)
    )
    result = Trainer(task, model, rows, rows, config, tmp_path, show_progress=False).run()
    assert result.history[0]["loss"] > 4 * result.metrics["error"]
    assert result.metrics["error"] < 0.1
    served = pipeline("toy-sum", tmp_path)
    reading = rows[0]["reading"]
    (answer,) = served(reading)
    assert abs(answer["total"] - rows[0]["total"]) < 1
    assert served.picture(reading).size == (4, 1)
