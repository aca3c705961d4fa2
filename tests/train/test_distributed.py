"""Several processes on this machine, which talk by gloo."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from distributed_run import CONFIG
from perceivers.pretrained.folder import load_folder, own_tensors
from perceivers.train import Trainer
from perceivers.train.checkpoint import latest_checkpoint
from train_examples import box_trainer, image_task, tiny_trainer

pytestmark = pytest.mark.slow
STEPS = {"max_steps": 8}


def launch(
    folder: Path, changes: Mapping[str, Any], *words: object, options: Sequence[str] = ("--standalone",)
) -> subprocess.CompletedProcess[str]:
    """Train in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", *options, "--nproc_per_node=2"]
    here = Path(__file__).parents[1]
    command += [str(here / "distributed_run.py"), str(folder), json.dumps(changes), *map(str, words)]
    paths = os.pathsep.join([str(here), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    # Else a restarted worker may find the addresses of dead ones in the launcher's own table.
    environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def losses(folder: Path) -> list[float]:
    entries = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in entries if "loss" in entry]


def assert_same_run(ours: Path, expected: Path) -> None:
    assert losses(ours) == losses(expected)
    weights, wanted = (own_tensors(load_folder(folder)[0]) for folder in (ours, expected))
    assert all(torch.equal(weights[name], tensor) for name, tensor in wanted.items())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fsdp": True},
        {"fsdp": True, "accumulation": 2, "select": "best", "activation_checkpointing": True},
    ],
    ids=["ddp", "fsdp", "fsdp-in-parts"],
)
def test_two_processes_have_the_losses_of_one(tmp_path: Path, changes: dict[str, Any]) -> None:
    one = tiny_trainer(tmp_path / "one", replace(CONFIG, **STEPS | changes | {"fsdp": False}))
    assert_two_are_one(one, tmp_path, STEPS | changes)


def test_what_counts_more_counts_so_in_every_process(tmp_path: Path) -> None:
    # Each process has other classes in its part of a batch, so that its mean is over another weight.
    settings = {"class_weights": {"dark": 1.0, "grey": 5.0, "bright": 2.0}}
    one = tiny_trainer(tmp_path / "one", replace(CONFIG, **STEPS), image_task(settings))
    assert_two_are_one(one, tmp_path, STEPS | {"settings": settings})


def test_parts_of_a_loss_count_apart_in_every_process(tmp_path: Path) -> None:
    # Images have one to three objects: each process has another number of boxes, and of answers that find nothing.
    one = box_trainer(tmp_path / "one", replace(CONFIG, **STEPS))
    # A sum over boxes is rounded otherwise in two parts, and Adam makes as much of a small gradient as of a large one.
    assert_two_are_one(one, tmp_path, STEPS | {"boxes": True}, atol=1e-5)


def assert_two_are_one(one: Trainer, tmp_path: Path, changes: Mapping[str, Any], atol: float = 1e-6) -> None:
    """Run in one process, into `one`, and in two, and compare losses, scores and weights."""
    result = one.run()
    found = launch(tmp_path / "two", changes)
    assert found.returncode == 0, found.stderr[-4000:]
    assert len(losses(tmp_path / "one")) == STEPS["max_steps"]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    scores = json.loads((tmp_path / "two/metrics.json").read_text())
    assert {name: scores[name] for name in result.metrics} == pytest.approx(result.metrics, rel=1e-5)
    weights, wanted = (own_tensors(load_folder(tmp_path / name)[0]) for name in ("two", "one"))
    # A key's bias has no gradient but rounding, whose sign Adam follows.
    kept = [name for name in wanted if not name.endswith("key.bias")]
    assert all(torch.allclose(weights[name], wanted[name], atol=atol) for name in kept)


@pytest.mark.parametrize("fsdp", [False, True], ids=["ddp", "fsdp"])
def test_a_killed_process_costs_no_more_than_a_checkpoints_interval(tmp_path: Path, fsdp: bool) -> None:
    changes = STEPS | {"fsdp": fsdp}
    assert launch(tmp_path / "whole/run", changes).returncode == 0
    killed = tmp_path / "killed/run"
    assert launch(killed, changes, 6).returncode != 0
    newest = latest_checkpoint(killed / "checkpoints")
    assert newest is not None
    assert newest.name == "step-00000004"
    # The same command again goes on from the checkpoint at step 4, to the same bits.
    assert launch(killed, changes, 6).returncode == 0
    assert_same_run(killed, tmp_path / "whole/run")


def test_the_launcher_itself_restarts_a_killed_job(tmp_path: Path) -> None:
    assert launch(tmp_path / "whole/run", STEPS).returncode == 0
    options = ("--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0", "--max_restarts=2")
    found = launch(tmp_path / "killed/run", STEPS, 6, options=options)
    assert found.returncode == 0, found.stderr[-4000:]
    assert (tmp_path / "killed/died").exists()
    assert_same_run(tmp_path / "killed/run", tmp_path / "whole/run")
