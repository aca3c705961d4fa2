"""What every task must do; a new task is tested by being registered."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from model_examples import is_tested
from perceivers.config import override
from perceivers.model import PerceiverIO
from perceivers.pretrained.load import seeded_model
from perceivers.rollout import attention_rollout
from perceivers.tasks import TASKS, Task, task_from_json
from perceivers.train import evaluate
from perceivers.zoo import ZOO
from train_examples import TINY

# What holds the text of an answer where there are no labels.
TEXTS = {"fill-mask": "token_str", "token-classification": "word", "question-answering": "answer"}
# Tasks whose answers are all that was found, be it nothing or much, instead of candidates.
FOUND = ("object-detection", "token-classification")
NAMES = [name for name in TASKS if is_tested(TASKS[name])]


@pytest.fixture(params=NAMES)
def example(request: pytest.FixtureRequest) -> tuple[Task[Any], Any]:
    return TASKS[request.param].example()


def first_batch(task: Task[Any], rows: Any, *, training: bool) -> dict[str, torch.Tensor]:
    loader = DataLoader(task.dataset(rows, training=training), batch_size=4, collate_fn=task.collate)
    return task.augment(next(iter(loader)), training=training)


def test_every_parameter_gets_a_gradient(example: tuple[Task[Any], Any]) -> None:
    task, rows = example
    model = seeded_model(task.config, 0).train()
    torch.manual_seed(0)
    batch = first_batch(task, rows, training=True)
    step = task.step(model, batch)
    assert step.loss.shape == ()
    assert step.loss.isfinite()
    step.loss.backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    zero = [name for name, p in model.named_parameters() if p.grad is not None and not p.grad.any()]
    assert without == []
    # Rows of a position table that no example reaches have no gradient, but no whole parameter is left out. A key's
    # bias adds the same to all scores of a query: its gradient is zero.
    assert [name for name in zero if not name.endswith("attention.key.bias")] == []


def test_training_calls_the_model_alone(example: tuple[Task[Any], Any]) -> None:
    """Several processes train a wrapper around the model, which has none of its methods and none of its parts."""
    task, rows = example
    model = seeded_model(task.config, 0).train()

    class Wrapped(PerceiverIO):
        """Looks like a model to the type checker only."""

        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            self.module = model

        def forward(self, *inputs: Any, **options: Any) -> Any:
            return self.module(*inputs, **options)

        def encode(self, *inputs: Any, **options: Any) -> Any:
            raise AssertionError

        read = process = decode = encode

    torch.manual_seed(0)
    batch = first_batch(task, rows, training=True)
    losses = []
    for called in (model, Wrapped()):
        torch.manual_seed(0)
        losses.append(task.step(called, batch).loss.item())
    assert losses[0] == losses[1]


def test_metrics_hold_the_score(example: tuple[Task[Any], Any]) -> None:
    task, rows = example
    model = seeded_model(task.config, 0)
    scores = evaluate(task, model, rows, batch_size=2)
    assert task.score in scores
    assert all(math.isfinite(value) for value in scores.values())
    # Neither the size of the batches nor the number of processes changes them.
    assert evaluate(task, model, rows, batch_size=5) == pytest.approx(scores, rel=1e-5)
    json.dumps(scores)


def test_evaluating_draws_nothing_and_leaves_the_mode(example: tuple[Task[Any], Any]) -> None:
    task, rows = example
    model = seeded_model(task.config, 0).train()
    state = torch.get_rng_state()
    evaluate(task, model, rows)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    model.eval()
    evaluate(task, model, rows)
    assert not model.training


def inputs_of(task: Task[Any], rows: Any) -> list[Any]:
    values = [task.input_of(row) for row in rows][:3]
    return ["The [MASK:3] sat on the mat.", "x[MASK]z"] if task.name == "fill-mask" else values


def test_predictions_have_the_form_of_the_pipelines(example: tuple[Task[Any], Any]) -> None:
    task, rows = example
    model = seeded_model(task.config, 0).eval()
    inputs = inputs_of(task, rows)
    results = task.predict(model, inputs, top_k=2)
    assert len(results) == len(inputs)
    for value, result in zip(inputs, results, strict=True):
        summary = task.summary(result)
        assert isinstance(summary, list)
        json.dumps(summary)
        # Those that the pipelines have are lists of candidates, and nothing is lost in the summary.
        if isinstance(result, list):
            assert summary == result
            assert task.name in FOUND or 1 <= len(result) <= 2
            scores = [entry["score"] for entry in result]
            assert all(0 <= score <= 1 for score in scores)
            if task.name == "token-classification":
                assert [entry["start"] for entry in result] == sorted(entry["start"] for entry in result)
            else:
                assert scores == sorted(scores, reverse=True)
            for entry in result:
                assert isinstance(entry[TEXTS.get(task.name, "label")], str)
        picture = task.picture(value, result)
        assert isinstance(picture, Image.Image)
        assert min(picture.size) > 0
    assert task.predict(model, [], top_k=2) == []


def test_results_are_saved(example: tuple[Task[Any], Any], tmp_path: Path) -> None:
    task, rows = example
    value = inputs_of(task, rows)[0]
    (result,) = task.predict(seeded_model(task.config, 0).eval(), [value], top_k=2)
    files = task.save(value, result, tmp_path, "answer")
    assert sorted(files) == sorted(tmp_path.iterdir())
    assert all(path.name.startswith("answer.") and path.stat().st_size for path in files)
    assert json.loads((tmp_path / "answer.json").read_text(encoding="utf-8")) in (
        task.summary(result),
        *task.summary(result),
    )


def test_one_call_takes_one_input_or_several(example: tuple[Task[Any], Any]) -> None:
    task, rows = example
    first, second, *_ = inputs_of(task, rows)
    # Two frames are one input of optical flow.
    arguments = first if isinstance(first, tuple) else (first,)
    values, several = task.gather(arguments)
    assert (len(values), several) == (1, False)
    values, several = task.gather([[first, second]])
    assert (len(values), several) == (2, True)
    with pytest.raises(ValueError, match=f"{task.name} takes .*, not 3 arguments"):
        task.gather([first, second, first])


def test_pieces_are_what_the_model_reads(example: tuple[Task[Any], Any]) -> None:
    task, rows = example
    model = seeded_model(task.config, 0).eval()
    for value in inputs_of(task, rows):
        pieces = list(task.pieces(value))
        assert pieces
        for piece in pieces:
            latents = model.encode(task.collate([piece]))
            rollout = attention_rollout(model, task.collate([piece])).on_grid()
            weights = rollout if isinstance(rollout, dict) else {task.input_role: rollout}
            picture = task.draw_weights(piece, {name: part[0, 0].numpy() for name, part in weights.items()})
            assert picture.mode == "RGB"
            assert latents.values.shape[0] == 1


def test_settings_survive_json(example: tuple[Task[Any], Any]) -> None:
    task, _ = example
    data = json.loads(json.dumps(task.to_json()))
    restored = task_from_json(data, task.config)
    assert type(restored) is type(task)
    assert restored.settings == task.settings
    assert restored.labels == task.labels
    with pytest.raises(ValueError, match=f"{task.name} settings has unknown fields \\['colour'\\]"):
        task_from_json({**data, "colour": 1}, task.config)


def test_what_a_task_declares_is_there(example: tuple[Task[Any], Any]) -> None:
    task, rows = example
    assert set(task.roles) <= set(rows[0]) <= {*task.roles, *task.optional_roles}
    assert task.default_model in ZOO
    assert task.released_model is None or ZOO[task.released_model].hub_id is not None
    # What prediction is given is prepared as a row of data is, less its targets.
    prepared, row = task.prepare({task.input_role: task.input_of(rows[0])}), task.prepare(rows[0])
    for name in set(prepared) - {"label"}:
        assert np.array_equal(prepared[name], row[name])
    assert TASKS[task.name] is type(task)


def test_unknown_tasks_are_refused() -> None:
    config = ZOO["digits-small"].config
    with pytest.raises(ValueError, match=r"task 'telepathy' not found; choices = .*'fill-mask'"):
        task_from_json({"name": "telepathy"}, config)
    with pytest.raises(ValueError, match=r"lack 'name'; tasks = .*'fill-mask'"):
        task_from_json({}, config)


OTHER_INPUTS = {
    "image-classification": "text-classifier-small",
    "text-classification": "digits-small",
    "audio-classification": "digits-small",
    "point-cloud-classification": "digits-small",
}


@pytest.mark.parametrize("name", OTHER_INPUTS)
def test_classification_fits_the_head_to_the_labels(name: str) -> None:
    cls = TASKS[name]
    base = override(ZOO[cls.default_model].config, TINY)
    task = cls.fit(base, ("a", "b", "c", "d"), {})
    assert task.labels == ("a", "b", "c", "d")
    with torch.device("meta"):
        model = PerceiverIO(task.config)
    assert model.outputs.linear.out_features == 4
    for labels in (None, (), ("a",)):
        with pytest.raises(ValueError, match=f"{name} needs at least two label names"):
            cls.fit(base, labels, {})
    with pytest.raises(ValueError, match=f"{name} needs a model with 'label' outputs, not 'text'"):
        cls.fit(ZOO["language-small"].config, ("a", "b"), {})
    with pytest.raises(ValueError, match=f"{name} needs a model with .* inputs, not "):
        cls.fit(ZOO[OTHER_INPUTS[name]].config, ("a", "b"), {})
