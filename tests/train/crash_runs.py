"""A program that trains in sittings, each of which is killed, and one that is not; see `test_crash.py`.

Usage: crash_runs.py FOLDER SEED. Each sitting is a forked process that is killed by SIGKILL, either
by itself just before its n-th interesting call (an optimiser step, a file saved, renamed, flushed or
deleted) or from outside after some time. Prints JSON: the calls of a whole run, and how each sitting ended.
"""

import functools
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate.checkpointing
import accelerate.utils.other
import kornia.augmentation.auto  # noqa: F401 - imported here once, not in each sitting
import safetensors.torch
import torch
import torch.utils.tensorboard

import perceivers.pretrained.files
from perceivers.train import TrainConfig
from perceivers.train.checkpoint import latest_checkpoint
from perceivers.train.progress import RunProgress
from train_examples import image_task, tiny_trainer

SETTINGS = {
    "augment": {"rotate_degrees": 20.0, "shift": 0.1, "zoom": 0.1, "randaugment_ops": 2, "mixup": 0.2, "cutmix": 1.0},
    "label_smoothing": 0.1,
}
DROPOUT = {"encoder.dropout": 0.2, "encoder.attention_dropout": 0.2, "decoder.dropout": 0.2}
CONFIG = TrainConfig(
    max_steps=26, batch_size=6, accumulation=2, eval_every=5, checkpoint_every=3, ema_decay=0.8, select="best"
)
WATCHED: tuple[tuple[Any, str], ...] = (
    (RunProgress, "step"),
    (torch, "save"),
    (safetensors.torch, "save_file"),
    (accelerate.utils.other, "safe_save_file"),
    (perceivers.pretrained.files, "save_file"),
    (os, "rename"),
    (os, "replace"),
    (os, "fsync"),
    (os, "unlink"),
    (os, "rmdir"),
    (shutil, "rmtree"),
)


class Calls:
    """Counts the watched calls, and kills this process before call number `last`."""

    def __init__(self, last: int | None) -> None:
        self.last = last
        self.count = 0

    def watch(self, owner: Any, name: str) -> None:
        """Put a counter before `owner.name`."""
        function: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self.last:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        setattr(owner, name, counted)


def train(folder: Path, *, last_call: int | None = None) -> int:
    """Train to the end, or to the kill; return the number of watched calls."""
    calls = Calls(last_call)
    for owner, name in WATCHED:
        calls.watch(owner, name)
    tiny_trainer(folder, CONFIG, image_task(SETTINGS, DROPOUT), train_rows=20).run(resume=True)
    return calls.count


def sitting(folder: Path, *, last_call: int | None = None, seconds: float | None = None) -> int:
    """Train in a forked process; return 0 when it came to the end, and the number of its signal otherwise."""
    process = os.fork()
    if process == 0:
        try:
            count = train(folder, last_call=last_call)
            (folder / "calls.txt").write_text(str(count))
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
    return -os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def main() -> None:
    """Run a whole run, then one in sittings."""
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    choice = random.Random(seed)
    torch.set_num_threads(1)
    began = time.perf_counter()
    whole, killed = folder / "whole", folder / "killed"
    ends = [sitting(whole)]
    length = time.perf_counter() - began
    calls = int((whole / "calls.txt").read_text())
    reached: list[int] = []
    for i in range(8):
        if i % 4 == 3:
            ends.append(sitting(killed, seconds=choice.uniform(0.2, 0.4) * length))
        else:
            ends.append(sitting(killed, last_call=choice.randint(calls // 20, calls // 4)))
        newest = latest_checkpoint(killed / "checkpoints")
        reached.append(0 if newest is None else int(newest.name.removeprefix("step-")))
    ends.append(sitting(killed))
    print(json.dumps({"calls": calls, "seconds": length, "ends": ends, "reached": reached}))


if __name__ == "__main__":
    main()
