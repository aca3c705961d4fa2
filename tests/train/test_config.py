from typing import Any

import pytest

from perceivers.config import from_json, to_json
from perceivers.train.config import OptimizerConfig, ScheduleConfig, TrainConfig


def test_round_trip() -> None:
    config = TrainConfig(max_steps=3, optimizer=OptimizerConfig(name="lamb"), schedule=ScheduleConfig(name="linear"))
    assert from_json(TrainConfig, to_json(config)) == config


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", 0),
        ("accumulation", 0),
        ("keep_checkpoints", 0),
        ("max_steps", 0),
        ("eval_every", 0),
        ("checkpoint_every", -1),
        ("patience", 0),
        ("epochs", 0.0),
        ("num_workers", -1),
        ("num_threads", 0),
        ("ema_decay", 1.0),
        ("max_grad_norm", 0.0),
    ],
)
def test_impossible_values_are_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{field} \({value}\) must"):
        TrainConfig(**{field: value})


def test_micro_batches_divide_a_batch() -> None:
    with pytest.raises(ValueError, match=r"batch_size \(10\) must be divisible by accumulation \(4\)"):
        TrainConfig(batch_size=10, accumulation=4)


@pytest.mark.parametrize("field", ["warmup_fraction", "constant_fraction", "final_factor"])
def test_shares_lie_between_0_and_1(field: str) -> None:
    with pytest.raises(ValueError, match=rf"{field} \(1.5\) must lie between 0 and 1"):
        ScheduleConfig(**{field: 1.5})
