"""A program that trains with compiled layers and without; see `test_compiling.py`.

Usage: compile_runs.py FOLDER. Prints JSON. Apart from the tests, which check the shapes of all calls: what checks them
cannot be compiled.
"""

import dataclasses
import json
import sys
from pathlib import Path

import torch
from torch._dynamo.utils import counters
from torch._inductor import config as inductor

from perceivers.pretrained.folder import load_folder, own_tensors
from perceivers.train import ScheduleConfig, TrainConfig, Trainer, evaluate
from perceivers.train.compiling import check_compiler
from train_examples import image_rows, image_task, tiny_trainer

CHANGES = {"encoder.num_layers_per_block": 2, "encoder.num_blocks": 2}
CONFIG = TrainConfig(
    max_steps=4,
    batch_size=8,
    tracker=None,
    eval_every=2,
    checkpoint_every=2,
    ema_decay=0.5,
    activation_checkpointing=True,
    schedule=ScheduleConfig(name="constant", warmup_fraction=0.0),
    compile=True,
)


def trainer(folder: Path, *, dropout: float = 0.0, steps: int = 4, compiled: bool = True) -> Trainer:
    """Return a trainer of four layers in two blocks."""
    config = dataclasses.replace(CONFIG, max_steps=steps, compile=compiled)
    return tiny_trainer(folder, config, image_task(changes={**CHANGES, "encoder.dropout": dropout}))


def refusal(folder: Path) -> str:
    """Return what a machine without a C++ compiler says."""
    torch.compiler.reset()
    with inductor.patch({"cpp.cxx": (None, "no-such-compiler"), "force_disable_caches": True}):
        try:
            trainer(folder)
        except ValueError as error:
            return str(error)
    return ""


def main() -> None:
    """Train four times, and once more in two sittings."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    check_compiler(torch.device("cpu"))
    counters.clear()
    first = trainer(folder / "compiled")
    result = first.run()
    graphs, breaks = counters["stats"]["unique_graphs"], dict(counters["graph_break"])
    plain = trainer(folder / "plain", compiled=False).run()
    saved, _ = load_folder(folder / "compiled")
    whole = trainer(folder / "whole", dropout=0.1)
    expected = whole.run()
    trainer(folder / "parts", dropout=0.1, steps=2).run()
    resumed = trainer(folder / "parts", dropout=0.1)
    history = resumed.run(resume=True).history
    ours, theirs = own_tensors(resumed.bare), own_tensors(whole.bare)
    report = {
        "compiled": result.history,
        "plain": plain.history,
        "served": evaluate(first.task, saved, image_rows(9, seed=1)),
        "metrics": result.metrics,
        "graphs": graphs,
        "breaks": breaks,
        "whole": expected.history,
        "parts": history,
        "changed": [name for name in theirs if not torch.equal(ours[name], theirs[name])],
        "refusal": refusal(folder / "refused"),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
