from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import perceivers
from perceivers.config import override
from perceivers.pretrained.load import seeded_model
from perceivers.rollout import attention_rollout, input_attention
from perceivers.tasks import TASKS
from perceivers.tasks.pipeline import Pipeline
from perceivers.zoo import ZOO
from train_examples import TINY

TASK_NAMES = ("fill-mask", "image-classification", "optical-flow", "text-classification", "video-autoencoding")


def example(name: str) -> tuple[Pipeline, list[Any]]:
    task, rows = TASKS[name].example()
    return Pipeline(task, seeded_model(task.config, 0)), [task.input_of(row) for row in rows]


@pytest.mark.parametrize("name", TASK_NAMES)
def test_features_are_the_latents_of_each_piece(name: str) -> None:
    pipe, values = example(name)
    together = list(pipe.encode_stream(values, batch_size=3))
    assert len(together) == len(values)
    for value, features in zip(values, together, strict=True):
        pieces = list(pipe.task.pieces(value))
        assert features.shape == (len(pieces), *pipe.model.encoder.latents.shape)
        assert features.dtype == np.float32
        for piece, latents in zip(pieces, features, strict=True):
            with torch.no_grad():
                expected = pipe.model.encode(pipe.task.collate([piece])).values[0]
            np.testing.assert_allclose(latents, expected.numpy(), rtol=1e-4, atol=1e-5)
    for batch_size in (1, 100):
        for ours, expected in zip(pipe.encode_stream(values, batch_size=batch_size), together, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_features_of_one_input_or_several() -> None:
    pipe, values = example("image-classification")
    single, several = pipe.encode(values[0]), pipe.encode(values[:2])
    assert single.shape == (1, *pipe.model.encoder.latents.shape)
    assert isinstance(several, list)
    np.testing.assert_allclose(several[0], single, rtol=1e-4, atol=1e-5)


def test_features_come_while_inputs_do() -> None:
    pipe, values = example("text-classification")
    taken: list[str] = []

    def inputs() -> Any:
        for value in values:
            taken.append(value)
            yield value

    stream = pipe.encode_stream(inputs(), batch_size=1)
    next(stream)
    assert len(taken) == 1


def test_answers_come_while_inputs_do() -> None:
    pipe, values = example("text-classification")
    answers = pipe.stream(iter(values), top_k=1)
    assert next(answers) == pipe(values[0], top_k=1)
    assert [len(answer) for answer in answers] == [1, 1]


@pytest.mark.parametrize("name", TASK_NAMES)
@pytest.mark.parametrize("gaze", ["rollout", "read"])
def test_attention_is_drawn_on_each_piece(name: str, gaze: str) -> None:
    pipe, values = example(name)
    pictures = pipe.attention(values[0], gaze=gaze)
    assert len(pictures) == len(list(pipe.task.pieces(values[0])))
    assert all(isinstance(picture, Image.Image) for picture in pictures)


def test_attention_is_what_the_rollout_says(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, values = example("image-classification")
    drawn: list[dict[str, np.ndarray]] = []

    def keep(self: Any, item: Any, weights: dict[str, np.ndarray]) -> Image.Image:
        drawn.append(weights)
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr(type(pipe.task), "draw_weights", keep)
    pipe.attention(values[0])
    pipe.attention(values[0], gaze="read")
    batch = pipe.task.collate(list(pipe.task.pieces(values[0])))
    for weights, follow in zip(drawn, (attention_rollout, input_attention), strict=True):
        expected = follow(pipe.model, batch).on_grid()[0, 0].numpy()
        np.testing.assert_allclose(weights["image"], expected)
    with pytest.raises(ValueError, match=r"gaze \('glance'\) must be one of \['rollout', 'read'\]"):
        pipe.attention(values[0], gaze="glance")


def test_outputs_to_follow_can_be_chosen() -> None:
    pipe, values = example("video-autoencoding")
    label, everything = (
        np.asarray(pipe.attention(values[0], where=where)[0]) for where in ({"label": torch.tensor([0])}, None)
    )
    assert not np.array_equal(label, everything)


def test_settings_are_changed_by_name(tmp_path: Path) -> None:
    pipe, _ = example("optical-flow")
    pipe.save(tmp_path)
    even = perceivers.pipeline(model=tmp_path, settings={"even_tiles": True})
    assert (even.task.settings.even_tiles, even.task.settings.min_overlap) == (True, 4)
    assert even.origin == f"{tmp_path} (folder)"
    with pytest.raises(ValueError, match="'tiles': no field 'tiles'"):
        perceivers.pipeline(model=tmp_path, settings={"tiles": 3})


@pytest.mark.parametrize("task", ["fill-mask", "image-classification", "optical-flow", "video-autoencoding"])
def test_a_task_alone_stands_for_its_released_model(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def refuse(source: Any, **_: Any) -> None:
        asked.append(source)
        raise ValueError("no network")

    monkeypatch.setattr("perceivers.tasks.pipeline.open_source", refuse)
    with pytest.raises(ValueError, match="no network"):
        perceivers.pipeline(task)
    assert asked == [TASKS[task].released_model]


def test_learned_positions_are_interpolated_and_it_is_said(tmp_path: Path) -> None:
    config = override(
        ZOO["image-learned"].config,
        {
            **TINY,
            "inputs.image_size": [8, 8],
            "inputs.num_channels": 8,
            "inputs.positioned.positions.num_channels": 8,
            "inputs.positioned.project_channels": 8,
            "queries.num_channels": 16,
            "outputs.num_classes": 2,
        },
    )
    task = TASKS["image-classification"].fit(config, ("a", "b"), {})
    Pipeline(task, seeded_model(task.config, 0)).save(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    larger = perceivers.pipeline(model=tmp_path, settings={"image_size": [12, 16]})
    assert larger.origin.endswith(
        "learned positions interpolated from (8, 8) to (12, 16): its answers are not those of the trained model"
    )
    assert larger.encode(image).shape[1] == 4
    by_hand = perceivers.resize_positions(perceivers.load(tmp_path), (12, 16))
    assert torch.equal(
        larger.model.get_parameter("inputs.positioned.positions.table"),
        by_hand.get_parameter("inputs.positioned.positions.table"),
    )
    same = perceivers.pipeline(model=tmp_path, settings={"image_size": [8, 8]})
    assert same.origin == f"{tmp_path} (folder)"
    assert same(image) == perceivers.pipeline(model=tmp_path)(image)
