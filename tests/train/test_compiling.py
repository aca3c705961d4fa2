"""Compiled layers: the same learning, nothing of them in what is saved, and a clear word where there is no compiler."""

import copy
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from perceivers.nn.layers import LayerConfig, SelfAttention
from perceivers.train import TrainConfig
from perceivers.train.compiling import check_compiler, compiled_layers
from train_examples import tiny_trainer

HERE = Path(__file__).parent
CONFIG = TrainConfig(max_steps=2, batch_size=8, tracker=None, eval_every=1, compile=True)


@pytest.mark.slow
def test_compiled_runs(tmp_path: Path) -> None:
    """Four steps with PyTorch's own compiler, against those without it."""
    paths = [str(HERE.parent), str(HERE.parents[1] / "src")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "compile_runs.py"), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    for ours, expected in zip(report["compiled"], report["plain"], strict=True):
        assert ours == pytest.approx(expected, rel=1e-3, abs=1e-4)
    # All four layers share one compilation; scores are those of the saved model when it is served.
    assert (report["graphs"], report["breaks"]) == (1, {})
    assert report["metrics"] == report["served"]
    assert report["parts"][-3:] == report["whole"][-3:]
    assert report["changed"] == []
    assert report["refusal"].startswith("train.compile needs a compiler that works here")
    assert "\n" not in report["refusal"]


def stand_in(module: nn.Module, calls: list[bool]) -> Callable[..., None]:
    """Return a `compile` that notes each call of the layer, and whether it trains, and runs it as it is."""

    def compile_(*, dynamic: bool) -> None:
        assert not dynamic

        def run(*args: Any) -> Any:
            calls.append(module.training)
            return module._call_impl(*args)

        module._compiled_call_impl = run

    return compile_


def test_compiled_layers_are_those_of_the_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perceivers.train.loop.check_compiler", lambda device: None)
    trainer = tiny_trainer(tmp_path, CONFIG)
    keys = list(trainer.bare.state_dict())
    (layer,) = (module for module in trainer.bare.modules() if isinstance(module, SelfAttention))
    calls: list[bool] = []
    monkeypatch.setattr(layer, "compile", stand_in(layer, calls))
    step = trainer.task.step

    def spy(*args: Any) -> Any:
        assert list(trainer.bare.state_dict()) == keys
        assert next(m for m in copy.deepcopy(trainer.bare).modules() if isinstance(m, SelfAttention)) is not layer
        return step(*args)

    monkeypatch.setattr(trainer.task, "step", spy)
    trainer.run()
    assert calls.count(True) == 2
    assert layer._compiled_call_impl is None


def test_layers_are_put_back_when_a_run_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = SelfAttention(LayerConfig(num_heads=2), channels=16)
    monkeypatch.setattr(SelfAttention, "compile", lambda self, dynamic: stand_in(self, [])(dynamic=dynamic))

    def fail() -> None:
        with compiled_layers(nn.Sequential(layer)):
            assert layer._compiled_call_impl is not None
            assert copy.deepcopy(layer)._compiled_call_impl is None
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert layer._compiled_call_impl is None
    with compiled_layers(nn.Sequential(layer), wanted=False):
        assert layer._compiled_call_impl is None


def test_without_a_compiler_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: Any) -> Any:
        def run(*_: Any) -> None:
            raise RuntimeError("no working C++ compiler in ('g++',)\n\nSet VERBOSE=1 for more")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    message = r"set compile to false: no working C\+\+ compiler in \('g\+\+',\)$"
    with pytest.raises(ValueError, match=message):
        check_compiler(torch.device("cpu"))
    with pytest.raises(ValueError, match=message):
        tiny_trainer(tmp_path, CONFIG)
    tiny_trainer(tmp_path, dataclasses.replace(CONFIG, compile=False))
