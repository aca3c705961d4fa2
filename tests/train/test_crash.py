"""A run that is killed again and again ends in the same bits as one that is not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

HERE = Path(__file__).parent


def read_state(folder: Path) -> dict[str, Any]:
    """Everything that a run leaves, but the time it took."""
    checkpoint = max((folder / "checkpoints").glob("step-*"))
    metrics = json.loads((folder / "metrics.json").read_text())
    progress = torch.load(checkpoint / "custom_checkpoint_1.pkl", weights_only=True)
    return {
        "saved": (folder / "model.safetensors").read_bytes(),
        "best": (folder / "best" / "model.safetensors").read_bytes(),
        "history": (folder / "history.jsonl").read_text(),
        "metrics": {name: value for name, value in metrics.items() if name != "seconds"},
        "checkpoint": checkpoint.name,
        "weights": load_file(checkpoint / "model.safetensors"),
        "optimizer": torch.load(checkpoint / "optimizer.bin", weights_only=True),
        "schedule": torch.load(checkpoint / "custom_checkpoint_0.pkl", weights_only=True),
        "progress": {name: value for name, value in progress.items() if name != "seconds"},
        "average": torch.load(checkpoint / "custom_checkpoint_2.pkl", weights_only=True),
    }


def assert_identical(ours: Any, expected: Any, path: str = "") -> None:
    """Compare nested values bit by bit."""
    assert type(ours) is type(expected), path
    if isinstance(expected, torch.Tensor):
        assert torch.equal(ours, expected), path
    elif isinstance(expected, dict):
        assert list(ours) == list(expected), path
        for name in expected:
            assert_identical(ours[name], expected[name], f"{path}/{name}")
    elif isinstance(expected, list | tuple):
        assert len(ours) == len(expected), path
        for i, (a, b) in enumerate(zip(ours, expected, strict=True)):
            assert_identical(a, b, f"{path}/{i}")
    else:
        assert ours == expected, path


def test_a_killed_run_ends_like_a_whole_one(tmp_path: Path) -> None:
    paths = [str(HERE.parent), str(HERE.parents[1] / "src")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "crash_runs.py"), str(tmp_path), "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    # The first and the last sitting came to the end; most others were killed by signal 9, not by an error.
    assert report["ends"][0] == report["ends"][-1] == 0, (report, done.stderr)
    assert set(report["ends"]) == {0, 9}, (report, done.stderr)
    assert report["ends"].count(9) >= 6, report
    assert len({step for step in report["reached"] if 0 < step < 26}) >= 3, report
    whole, killed = read_state(tmp_path / "whole"), read_state(tmp_path / "killed")
    assert whole["checkpoint"] == "step-00000026"
    assert_identical(killed, whole)
    leftover = [path.name for path in (tmp_path / "killed" / "checkpoints").iterdir() if path.name.startswith(".")]
    assert leftover == []
