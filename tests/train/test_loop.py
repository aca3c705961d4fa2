import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from perceivers.config import override
from perceivers.model import PerceiverIO
from perceivers.pretrained.folder import load_folder, own_tensors
from perceivers.pretrained.load import seeded_model
from perceivers.tasks import TASKS, Step, Task
from perceivers.tasks.image_classification import ImageClassification
from perceivers.tasks.pipeline import pipeline
from perceivers.train import OptimizerConfig, ScheduleConfig, TrainConfig, Trainer, evaluate
from perceivers.train.checkpoint import checkpoints
from perceivers.train.optim import schedule_factor
from perceivers.train.progress import RunProgress
from perceivers.zoo import ZOO
from train_examples import TINY, image_rows, image_task, tiny_trainer

QUIET = TrainConfig(max_steps=4, batch_size=8, tracker=None, eval_every=100)


def changed(**changes: Any) -> TrainConfig:
    return dataclasses.replace(QUIET, **changes)


def weights(model: PerceiverIO) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in own_tensors(model).items()}


def assert_same_weights(ours: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert list(ours) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(ours[name], tensor), name


class InterruptedRunError(Exception):
    pass


def interrupt(monkeypatch: pytest.MonkeyPatch, task: Task[Any], calls: int) -> None:
    """Let the task's step fail at call number `calls` while training."""
    step, count = task.step, 0

    def counted(model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        nonlocal count
        count += model.training
        if count == calls:
            raise InterruptedRunError
        return step(model, batch)

    monkeypatch.setattr(task, "step", counted)


def test_a_run_learns_and_leaves_a_served_model(tmp_path: Path) -> None:
    config = TrainConfig(
        max_steps=60, batch_size=12, optimizer=OptimizerConfig(learning_rate=1e-2), eval_every=20, checkpoint_every=30
    )
    result = tiny_trainer(tmp_path, config).run()
    assert result.steps == 60
    assert not result.stopped_early
    assert result.metrics["accuracy"] > 0.9
    losses = [entry["loss"] for entry in result.history if "loss" in entry]
    assert len(losses) == 60
    assert losses[-1] < losses[0]
    rates = [entry["learning_rate"] for entry in result.history if "learning_rate" in entry]
    assert rates == pytest.approx([1e-2 * schedule_factor(config.schedule, step, 60) for step in range(60)])
    assert [entry["step"] for entry in result.history if "eval_accuracy" in entry] == [20, 40, 60]
    document = json.loads((tmp_path / "metrics.json").read_text())
    assert document == {**result.metrics, "steps": 60, "seconds": document["seconds"]}
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == result.history
    assert list((tmp_path / "curves").glob("events.out.tfevents.*"))
    served = pipeline(model=tmp_path)
    rows = image_rows(9, seed=1)
    assert evaluate(served.task, served.model, rows) == pytest.approx(result.metrics)
    assert served(rows[0]["image"])[0]["label"] == "dark"


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    task = image_task({"augment": {"mixup": 0.2, "flip": True}}, {"encoder.dropout": 0.1})
    runs = [tiny_trainer(tmp_path / str(i), changed(seed=i % 2), task) for i in range(3)]
    for trainer in runs:
        trainer.run()
    assert_same_weights(weights(runs[2].averaged), weights(runs[0].averaged))
    assert not torch.equal(runs[1].averaged.encoder.latents, runs[0].averaged.encoder.latents)


def test_evaluating_and_checkpointing_do_not_change_the_run(tmp_path: Path) -> None:
    task = image_task({}, {"encoder.dropout": 0.1})
    seldom = tiny_trainer(tmp_path / "a", changed(max_steps=6), task)
    often = tiny_trainer(tmp_path / "b", changed(max_steps=6, eval_every=1, checkpoint_every=2), task)
    seldom.run()
    often.run()
    assert_same_weights(weights(often.averaged), weights(seldom.averaged))


def test_accumulation_equals_one_large_batch(tmp_path: Path) -> None:
    # A large epsilon, because Adam blows up rounding errors where the gradient is zero (the keys' biases).
    same = {"max_steps": 6, "optimizer": OptimizerConfig(learning_rate=1e-2, eps=1e-3)}
    whole = tiny_trainer(tmp_path / "a", changed(**same))
    parts = tiny_trainer(tmp_path / "b", changed(**same, accumulation=2))
    expected, found = whole.run(), parts.run()
    for name, tensor in own_tensors(whole.averaged).items():
        torch.testing.assert_close(own_tensors(parts.averaged)[name], tensor, rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(found.history, expected.history, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_gradients_are_clipped(tmp_path: Path) -> None:
    norms: dict[float | None, float] = {}
    for limit in (None, 1e-3):
        trainer = tiny_trainer(tmp_path / str(limit), changed(max_steps=1, max_grad_norm=limit))
        before = trainer.optimizer.step

        def spy(limit: float | None = limit, trainer: Trainer = trainer, before: Any = before) -> None:
            gradients = [p.grad for p in trainer.bare.parameters() if p.grad is not None]
            norms[limit] = float(torch.stack([g.norm() for g in gradients]).norm())
            before()

        trainer.optimizer.step = spy
        trainer.run()
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-2)
    assert norms[None] > 1e-2


def test_the_moving_average_equals_its_definition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = tiny_trainer(tmp_path, changed(ema_decay=0.75))
    assert trainer.ema is not None
    seen: list[dict[str, Tensor]] = []
    update = trainer.ema.update_parameters

    def spy(model: PerceiverIO) -> None:
        seen.append(weights(model))
        update(model)

    monkeypatch.setattr(trainer.ema, "update_parameters", spy)
    trainer.run()
    assert len(seen) == 4
    counts = [0.75**ago for ago in (3, 2, 1, 0)]
    summed = {name: sum(count * each[name] for count, each in zip(counts, seen, strict=True)) for name in seen[0]}
    expected = {name: tensor / sum(counts) for name, tensor in summed.items()}
    saved, _ = load_folder(tmp_path)
    for name, tensor in own_tensors(saved).items():
        torch.testing.assert_close(tensor, expected[name], msg=name)
    assert not torch.equal(own_tensors(trainer.bare)["encoder.latents"], expected["encoder.latents"])


def test_the_average_of_batch_norm_keeps_its_count(tmp_path: Path) -> None:
    config = {
        "image_size": [8, 8],
        "mean": [0.5],
        "std": [0.5],
        "num_channels": 4,
        "positioned.positions.max_resolution": None,
        "positioned.positions.num_bands": 2,
    }
    queries = {"queries.num_channels": 16, "encoder.num_self_heads": 2}
    changes = {**TINY, **queries, **{f"inputs.{name}": value for name, value in config.items()}}
    model_config = override(ZOO["image-conv"].config, changes)
    task = ImageClassification.fit(model_config, ("dark", "grey", "bright"), {})
    rows = image_rows(16)
    saved = {}
    for decay in (0.5, None):
        folder = tmp_path / str(decay)
        model = seeded_model(task.config, 0)
        Trainer(task, model, rows, rows, changed(ema_decay=decay), folder, show_progress=False).run()
        saved[decay] = own_tensors(load_folder(folder)[0])
    assert int(saved[0.5]["inputs.conv.norms.0.count"]) == int(saved[None]["inputs.conv.norms.0.count"]) == 4
    assert not torch.equal(saved[0.5]["inputs.conv.norms.0.mean"], saved[None]["inputs.conv.norms.0.mean"])


def test_bf16_trains_and_saves_full_precision(tmp_path: Path) -> None:
    exact = tiny_trainer(tmp_path / "a", QUIET)
    exact.run()
    for decay in (None, 0.5):
        trainer = tiny_trainer(tmp_path / f"b{decay}", changed(mixed_precision="bf16", ema_decay=decay))
        result = trainer.run()
        # Served without autocast, so scored without it.
        saved, _ = load_folder(trainer.folder)
        assert result.metrics == evaluate(trainer.task, saved, image_rows(9, seed=1))
        assert {tensor.dtype for tensor in own_tensors(saved).values()} == {torch.float32}
        batch = trainer.task.collate([trainer.task.prepare(row) for row in image_rows(2)])
        assert torch.equal(trainer.averaged.eval()(batch), saved(batch))
    moved = own_tensors(tiny_trainer(tmp_path / "c", QUIET).averaged)["encoder.latents"]
    exact_move = own_tensors(exact.averaged)["encoder.latents"] - moved
    bf16_move = own_tensors(load_folder(tmp_path / "bNone")[0])["encoder.latents"] - moved
    assert not torch.equal(bf16_move, exact_move)
    assert float((bf16_move - exact_move).norm() / exact_move.norm()) < 0.5


def scripted(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Let evaluations give these scores, one after the other, then the last one for ever."""
    remaining = iter(scores)

    def evaluate(self: Trainer, model: PerceiverIO) -> dict[str, float]:
        return {self.task.score: next(remaining, scores[-1])}

    monkeypatch.setattr(Trainer, "_evaluate", evaluate)


def test_patience_stops_a_run_and_resuming_it_does_not_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = changed(max_steps=20, eval_every=2, patience=2)
    scripted(monkeypatch, [0.1, 0.5, 0.4, 0.5, 0.9])
    result = tiny_trainer(tmp_path, config).run()
    # Better at step 4, then twice no better.
    assert (result.steps, result.stopped_early) == (8, True)
    assert checkpoints(tmp_path / "checkpoints")[-1].name == "step-00000008"
    again = tiny_trainer(tmp_path, config).run(resume=True)
    assert (again.steps, again.stopped_early) == (8, True)


def test_lower_is_better_for_some_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageClassification, "higher_is_better", False)
    scripted(monkeypatch, [0.5, 0.4, 0.45, 0.3])
    trainer = tiny_trainer(tmp_path, changed(max_steps=4, eval_every=1))
    trainer.run()
    assert trainer.progress.best == 0.3
    assert trainer.progress.waited == 0


@pytest.mark.parametrize(("select", "ema_decay"), [("best", None), ("last", None), ("best", 0.9), ("last", 0.9)])
def test_which_weights_are_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, select: str, ema_decay: float | None
) -> None:
    scripted(monkeypatch, [0.1, 0.8, 0.7, 0.6])
    trainer = tiny_trainer(tmp_path, changed(max_steps=4, eval_every=1, select=select, ema_decay=ema_decay))
    seen: list[dict[str, Tensor]] = []
    score = trainer._score

    def spy(bar: RunProgress) -> None:
        seen.append(weights(trainer.averaged))
        score(bar)

    monkeypatch.setattr(trainer, "_score", spy)
    trainer.run()
    saved, _ = load_folder(tmp_path)
    assert_same_weights(own_tensors(saved), seen[1 if select == "best" else 3])
    assert_same_weights(own_tensors(trainer.averaged), own_tensors(saved))
    assert_same_weights(own_tensors(trainer.bare), own_tensors(saved))


def test_trackers_that_cannot_be_had_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"tracker 'paper' not found; choices = .*'tensorboard'"):
        tiny_trainer(tmp_path, changed(tracker="paper"))
    monkeypatch.setattr("perceivers.train.trackers.get_available_trackers", list)
    with pytest.raises(ValueError, match="tracker 'tensorboard' is not installed"):
        tiny_trainer(tmp_path, changed(tracker="tensorboard"))


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    trainer = tiny_trainer(tmp_path, changed(max_steps=9, checkpoint_every=2))
    step, count = trainer.task.step, 0

    def spoilt(model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        nonlocal count
        count += 1
        result = step(model, batch)
        if count < 6:
            return result
        # The square root of zero has a finite value and an infinite slope.
        extra = torch.sqrt(result.loss * 0) if broken == "gradient" else result.loss * float("nan")
        return dataclasses.replace(result, loss=result.loss + extra)

    monkeypatch.setattr(trainer.task, "step", spoilt)
    before = weights(trainer.bare)
    # The third batch of the second pass: each pass over 24 examples has three batches of eight.
    examples = trainer.order.epoch(1)[16:24].tolist()
    message = rf"the .*{broken} is nan at step 6, on examples {re.escape(str(examples))} of the training split; .*lower"
    with pytest.raises(ValueError, match=message):
        trainer.run()
    assert all(tensor.isfinite().all() for tensor in own_tensors(trainer.bare).values())
    assert not torch.equal(trainer.bare.encoder.latents, before["encoder.latents"])
    resumed = tiny_trainer(tmp_path, changed(max_steps=9, checkpoint_every=2))
    assert resumed._resume()
    assert resumed.progress.step == 4
    assert all(tensor.isfinite().all() for tensor in own_tensors(resumed.bare).values())


@pytest.mark.parametrize(
    ("task_name", "model", "optimizer"),
    [
        ("fill-mask", "language-small", "lamb"),
        ("fill-mask", "language-small", "muon"),
        ("text-classification", "text-classifier-small", "adamw"),
    ],
)
def test_text_runs_resume_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task_name: str, model: str, optimizer: str
) -> None:
    widths = {"inputs.max_length": 32} | ({"queries.max_length": 32} if task_name == "fill-mask" else {})
    changes = {**TINY, **widths, "encoder.dropout": 0.1}
    if task_name == "text-classification":
        changes["queries.num_channels"] = 16
    settings = {"masking": "bytes", "replace_random": 0.2} if task_name == "fill-mask" else {"byte_dropout": 0.1}
    config = changed(
        max_steps=5,
        batch_size=4,
        accumulation=2,
        checkpoint_every=2,
        ema_decay=0.5,
        optimizer=OptimizerConfig(name=optimizer),
        schedule=ScheduleConfig(name="linear"),
    )
    rows = [{"text": f"line {i} of a short text, {i * i} characters or so", "label": i % 2} for i in range(12)]

    def trainer(name: str) -> Trainer:
        base = override(ZOO[model].config, changes)
        task = TASKS[task_name].fit(base, ("even", "odd") if task_name == "text-classification" else None, settings)
        fresh = seeded_model(task.config, 0)
        return Trainer(task, fresh, rows, rows[:3], config, tmp_path / name, show_progress=False)

    whole = trainer("whole")
    expected = whole.run()
    with monkeypatch.context() as patch:
        first = trainer("parts")
        interrupt(patch, first.task, 8)
        with pytest.raises(InterruptedRunError):
            first.run()
    second = trainer("parts")
    found = second.run(resume=True)
    assert found.history == expected.history
    assert found.metrics == expected.metrics
    assert_same_weights(weights(second.averaged), weights(whole.averaged))
    assert_same_weights(weights(second.bare), weights(whole.bare))


def test_a_fresh_run_drops_the_old_checkpoints(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, changed(max_steps=6, checkpoint_every=2, eval_every=2, select="best")).run()
    result = tiny_trainer(tmp_path, changed(max_steps=3, checkpoint_every=1)).run()
    assert result.steps == 3
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step-00000002", "step-00000003"]
    assert not (tmp_path / "best").exists()


def test_a_run_can_be_lengthened_but_not_reordered(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, changed(max_steps=2)).run()
    assert tiny_trainer(tmp_path, changed(max_steps=4)).run(resume=True).steps == 4
    with pytest.raises(ValueError, match=r"step-00000004 was made with .*'batch_size': 8.*; this run has .*: 4"):
        tiny_trainer(tmp_path, changed(max_steps=6, batch_size=4)).run(resume=True)


def test_resuming_without_a_checkpoint_starts_anew(tmp_path: Path) -> None:
    first = tiny_trainer(tmp_path / "a", QUIET)
    second = tiny_trainer(tmp_path / "b", QUIET)
    first.run()
    second.run(resume=True)
    assert_same_weights(weights(second.averaged), weights(first.averaged))


def test_preparing_in_other_processes_changes_nothing(tmp_path: Path) -> None:
    here = tiny_trainer(tmp_path / "a", changed(max_steps=3))
    there = tiny_trainer(tmp_path / "b", changed(max_steps=3, num_workers=1))
    here.run()
    there.run()
    assert_same_weights(weights(there.averaged), weights(here.averaged))


@pytest.mark.parametrize("count", [1, 3, None])
def test_threads_are_set_for_the_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int | None) -> None:
    trainer = tiny_trainer(tmp_path, changed(num_threads=count))
    seen: list[int] = []
    step = trainer.task.step
    monkeypatch.setattr(trainer.task, "step", lambda *args: (seen.append(torch.get_num_threads()), step(*args))[1])
    before = torch.get_num_threads()
    trainer.run()
    assert set(seen) == {count or before}
    assert torch.get_num_threads() == before


def test_epochs_are_counted_in_steps(tmp_path: Path) -> None:
    # 24 examples in batches of 8: three steps a pass.
    config = TrainConfig(epochs=1.5, batch_size=8, tracker=None)
    trainer = tiny_trainer(tmp_path, config)
    assert (trainer.num_steps, trainer.eval_every, trainer.checkpoint_every) == (5, 3, 3)
    result = trainer.run()
    assert [entry["step"] for entry in result.history if "eval_accuracy" in entry] == [3, 5]
