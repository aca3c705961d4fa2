"""Training on rows that are never all held."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from perceivers.config import override
from perceivers.data import DataConfig, load_data
from perceivers.data.stream import Stream
from perceivers.model import PerceiverIO
from perceivers.pretrained.folder import own_tensors
from perceivers.pretrained.load import seeded_model
from perceivers.tasks import TASKS, Step, Task
from perceivers.train import TrainConfig, Trainer
from perceivers.train.streamed import References, StreamOrder
from perceivers.zoo import ZOO
from train_examples import TINY

LABELS = ("bad", "good")
QUIET = TrainConfig(max_steps=6, batch_size=4, tracker=None, checkpoint_every=2)


def text_task(settings: Mapping[str, Any] | None = None) -> Task[Any]:
    config = override(ZOO["text-classifier-small"].config, TINY)
    return TASKS["text-classification"].fit(config, LABELS, settings or {})


def texts(folder: Path, num_rows: int = 14) -> tuple[Stream, Any]:
    """Return a stream of two files, and an evaluation split."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in (0, 1):
        rows = [{"text": f"{LABELS[i % 2]} {shard} {i}", "label": LABELS[i % 2]} for i in range(num_rows // 2)]
        (folder / f"train-{shard}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "test.jsonl").write_text('{"text": "bad", "label": "bad"}\n{"text": "good", "label": "good"}\n')
    splits = load_data(DataConfig(source=str(folder), streaming=True, labels=LABELS), ("text", "label"))
    assert isinstance(splits.train, Stream)
    return splits.train, splits.eval


def trainer(folder: Path, config: TrainConfig = QUIET, task: Task[Any] | None = None) -> Trainer:
    task = task or text_task()
    stream, evaluation = texts(folder / "data")
    model = seeded_model(task.config, config.seed)
    return Trainer(task, model, stream, evaluation, config, folder / "run", show_progress=False)


def batches(order: StreamOrder, start: int, count: int) -> list[list[str]]:
    """Return the input ids of the examples, as texts, batch by batch."""
    examples = References(order.task)
    return [
        [str(examples[reference]["input_ids"].tolist()) for reference in batch] for batch in order.batches(start, count)
    ]


def order_of(folder: Path, **place: int) -> StreamOrder:
    return StreamOrder(texts(folder)[0], text_task(), 4, 0, **place)


def test_batches_go_through_all_rows_pass_after_pass(tmp_path: Path) -> None:
    order = order_of(tmp_path)
    seen = [example for batch in batches(order, 0, 7) for example in batch]
    assert len(seen) == 28
    assert len(set(seen[:14])) == len(set(seen[14:])) == 14
    assert seen[:14] != seen[14:]


def test_starting_later_equals_skipping(tmp_path: Path) -> None:
    whole = batches(order_of(tmp_path), 0, 7)
    for start in (1, 3, 6):
        assert batches(order_of(tmp_path), start, 7 - start) == whole[start:]
    assert len(order_of(tmp_path).batches(2, 5)) == 5


def test_processes_share_each_batch(tmp_path: Path) -> None:
    ours, theirs = (batches(order_of(tmp_path, rank=rank, world_size=2), 0, 3) for rank in (0, 1))
    assert [len(batch) for batch in ours] == [len(batch) for batch in theirs] == [2, 2, 2]
    assert not {example for batch in ours for example in batch} & {example for batch in theirs for example in batch}
    with pytest.raises(ValueError, match=r"4 examples.*3 processes"):
        order_of(tmp_path, world_size=3)


def test_a_process_without_rows_says_so(tmp_path: Path) -> None:
    stream, _ = texts(tmp_path)
    empty = dataclasses.replace(stream, rows=stream.rows.take(1))
    with pytest.raises(ValueError, match="no rows for process 1"):
        list(StreamOrder(empty, text_task(), 2, 0, rank=1, world_size=2).batches(0, 1))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_interrupted_run_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    """Whether other processes prepare the examples changes nothing either."""
    whole = trainer(tmp_path / "whole")
    expected = whole.run()
    config = dataclasses.replace(QUIET, num_workers=num_workers)
    task = text_task()
    step, count = task.step, 0

    def failing(model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        nonlocal count
        count += model.training
        if count == 6:
            raise KeyboardInterrupt
        return step(model, batch)

    with monkeypatch.context() as patch:
        patch.setattr(task, "step", failing)
        with pytest.raises(KeyboardInterrupt):
            trainer(tmp_path / "cut", config, task).run()
    again = trainer(tmp_path / "cut", config)
    found = again.run(resume=True)
    assert [entry.get("loss") for entry in found.history] == [entry.get("loss") for entry in expected.history]
    ours, theirs = own_tensors(again.bare), own_tensors(whole.bare)
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_a_loss_that_is_not_finite_names_its_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = text_task()
    step = task.step

    def broken(model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        found = step(model, batch)
        return dataclasses.replace(found, loss=found.loss * float("nan")) if model.training else found

    monkeypatch.setattr(task, "step", broken)
    with pytest.raises(ValueError, match=r"nan at step 1, on examples \['\d+ of block 0 in pass 1'"):
        trainer(tmp_path, task=task).run()


def test_what_a_stream_cannot_tell_must_be_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--max-steps"):
        trainer(tmp_path, dataclasses.replace(QUIET, max_steps=None))
    with pytest.raises(ValueError, match="'balanced'"):
        trainer(tmp_path, task=text_task({"class_weights": "balanced"}))
    assert trainer(tmp_path, task=text_task({"class_weights": {"bad": 2.0}})).eval_every == 6
