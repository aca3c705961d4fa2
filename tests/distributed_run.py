"""A tiny run for `torchrun`: python -m torch.distributed.run ... distributed_run.py FOLDER CHANGES [DIES_AT].

CHANGES are fields of the config as JSON, `settings` those of the task; with `boxes`, these are found, not
classes. With DIES_AT the last process kills itself at that step, the first time that it comes there.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from perceivers.model import PerceiverIO
from perceivers.tasks import Step
from perceivers.train import TrainConfig
from train_examples import box_trainer, image_task, tiny_trainer

CONFIG = TrainConfig(batch_size=8, tracker=None, eval_every=4, checkpoint_every=2, num_threads=1, ema_decay=0.9)


def main(folder: Path, changes: Mapping[str, Any], dies_at: int | None = None) -> None:
    """Train, or go on."""
    fields = {name: value for name, value in changes.items() if name not in ("settings", "boxes")}
    config = replace(CONFIG, **fields)
    if changes.get("boxes"):
        box_trainer(folder, config).run(resume=True)
        return
    task = image_task(changes.get("settings"))
    died = folder.parent / "died"
    if dies_at is not None and int(os.environ["RANK"]) == 1 and not died.exists():
        step, count = task.step, 0

        def fatal(model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
            nonlocal count
            count += model.training
            if count == dies_at:
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return step(model, batch)

        task.step = fatal
    tiny_trainer(folder, config, task).run(resume=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), *map(int, sys.argv[3:]))
