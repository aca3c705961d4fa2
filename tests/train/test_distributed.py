"""Several processes on this machine, which talk by gloo."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distributed_run import CONFIG
from perceivers.pretrained.folder import load_folder, own_tensors
from perceivers.train.checkpoint import latest_checkpoint
from train_examples import tiny_trainer

pytestmark = pytest.mark.slow
STEPS = 8


def launch(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Train in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    here = Path(__file__).parents[1]
    command += [str(here / "distributed_run.py"), str(folder), *map(str, words)]
    paths = os.pathsep.join([str(here), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def losses(folder: Path) -> list[float]:
    entries = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in entries if "loss" in entry]


def test_two_processes_have_the_losses_of_one(tmp_path: Path) -> None:
    one = tiny_trainer(tmp_path / "one", replace(CONFIG, max_steps=STEPS))
    result = one.run()
    found = launch(tmp_path / "two", STEPS)
    assert found.returncode == 0, found.stderr[-4000:]
    assert len(losses(tmp_path / "one")) == STEPS
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    scores = json.loads((tmp_path / "two/metrics.json").read_text())
    assert {name: scores[name] for name in result.metrics} == pytest.approx(result.metrics, rel=1e-5)


def test_a_killed_process_costs_no_more_than_a_checkpoints_interval(tmp_path: Path) -> None:
    assert launch(tmp_path / "whole/run", STEPS).returncode == 0
    killed = tmp_path / "killed/run"
    assert launch(killed, STEPS, 6).returncode != 0
    newest = latest_checkpoint(killed / "checkpoints")
    assert newest is not None
    assert newest.name == "step-00000004"
    # The same command again goes on from the checkpoint at step 4, to the same bits.
    assert launch(killed, STEPS, 6).returncode == 0
    assert losses(killed) == losses(tmp_path / "whole/run")
    ours, theirs = (own_tensors(load_folder(tmp_path / name / "run")[0]) for name in ("whole", "killed"))
    assert all(torch.equal(theirs[name], tensor) for name, tensor in ours.items())
