"""Object detection: it can learn, answers in pixels of the image given, and says what does not fit."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import perceivers
from box_examples import rectangles
from perceivers.adapters.label import LearnedQueryConfig
from perceivers.config import override
from perceivers.model import PerceiverIO
from perceivers.pretrained.load import seeded_model
from perceivers.processing.image import read_image
from perceivers.tasks import TASKS
from perceivers.tasks.object_detection import ObjectDetection
from perceivers.tasks.pipeline import Pipeline
from perceivers.train import evaluate
from perceivers.zoo import ZOO

LABELS = ("blue", "red")
TINY = {
    "inputs.image_size": [48, 64],
    "inputs.num_channels": 16,
    "encoder.num_latents": 12,
    "encoder.latent_channels": 32,
    "encoder.num_layers_per_block": 1,
    "encoder.qk_channels": 32,
    "encoder.v_channels": 32,
    "queries.num_channels": 32,
    "outputs.hidden_channels": 32,
}


def tiny_task(settings: dict[str, Any] | None = None) -> ObjectDetection:
    return ObjectDetection.fit(override(ZOO["boxes-small"].config, TINY), LABELS, settings or {})


def learn(task: ObjectDetection, rows: list[dict[str, Any]], num_steps: int) -> PerceiverIO:
    model = seeded_model(task.config, 0).train()
    batch = task.collate([task.prepare(row) for row in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(num_steps):
        optimizer.zero_grad()
        task.step(model, batch).loss.backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def learned() -> tuple[ObjectDetection, PerceiverIO, list[dict[str, Any]]]:
    task, rows = tiny_task(), rectangles(8)
    return task, learn(task, rows, 150), rows


def test_a_handful_of_images_is_learned(learned: tuple[ObjectDetection, PerceiverIO, list[dict[str, Any]]]) -> None:
    task, model, rows = learned
    scores = evaluate(task, model, rows)
    assert scores["map50"] > 0.9
    assert set(scores) == {"map", "map50", "map75", "ap_blue", "ap_red"}
    assert evaluate(task, seeded_model(task.config, 0), rows)["map50"] < 0.3


def test_answers_are_in_pixels_of_the_image_given(
    learned: tuple[ObjectDetection, PerceiverIO, list[dict[str, Any]]],
) -> None:
    task, model, rows = learned
    for row in rows[:3]:
        small = Image.fromarray(row["image"])
        (found,) = task.predict(model, [small])
        # Stretched, the model reads nearly the same.
        (large,) = task.predict(model, [small.resize((256, 96))])
        assert len(found) == len(row["objects"]) == len(large)
        assert [entry["score"] for entry in found] == sorted((entry["score"] for entry in found), reverse=True)
        for entry in found:
            nearest = min(row["objects"], key=lambda one: abs(one["box"][0] - entry["box"]["xmin"]))
            assert entry["label"] == nearest["label"]
            assert list(entry["box"].values()) == pytest.approx(nearest["box"], abs=6)
            partner = min(large, key=lambda one: abs(one["box"]["xmin"] - 4 * entry["box"]["xmin"]))
            scaled = [value * factor for value, factor in zip(entry["box"].values(), (4, 2, 4, 2), strict=True)]
            assert list(partner["box"].values()) == pytest.approx(scaled, abs=16)


def test_a_saved_folder_answers_the_same(
    learned: tuple[ObjectDetection, PerceiverIO, list[dict[str, Any]]], tmp_path: Path
) -> None:
    task, model, rows = learned
    Pipeline(task, model).save(tmp_path / "model")
    pipe = perceivers.pipeline(model=tmp_path / "model")
    assert [entry["box"] for entry in pipe(rows[0]["image"])] == [
        entry["box"] for entry in task.predict(model, [rows[0]["image"]])[0]
    ]
    # Settings of prediction can be changed when a model is loaded.
    everything = perceivers.pipeline(model=tmp_path / "model", settings={"threshold": 0.0})(rows[0]["image"])
    assert len(everything) == task.num_queries
    pruned = perceivers.pipeline(model=tmp_path / "model", settings={"threshold": 0.0, "most_overlap": 0.0})
    assert 0 < len(pruned(rows[0]["image"])) < len(everything)


def test_the_picture_shows_the_boxes(learned: tuple[ObjectDetection, PerceiverIO, list[dict[str, Any]]]) -> None:
    task, model, rows = learned
    (found,) = task.predict(model, [rows[0]["image"]])
    picture, bare = task.picture(rows[0]["image"], found), task.picture(rows[0]["image"], [])
    assert picture.size == bare.size
    changed = np.any(np.asarray(picture) != np.asarray(bare), axis=-1)
    # 64 pixels of the image are drawn 640 wide: the frame of the first box is where the box is.
    box = {side: 10 * value for side, value in found[0]["box"].items()}
    middle = (box["ymin"] + box["ymax"]) // 2
    assert changed[middle, box["xmin"]]
    assert changed[middle, min(box["xmax"], 639)]
    assert not changed[middle, (box["xmin"] + box["xmax"]) // 2]


def test_grey_images_and_learned_queries_serve_too() -> None:
    changes = {**TINY, "inputs.image_channels": 1}
    config = override(ZOO["boxes-small"].config, changes)
    config = dataclasses.replace(config, queries=LearnedQueryConfig(num_queries=5, num_channels=32))
    task = ObjectDetection.fit(config, LABELS, {"threshold": 0.0})
    (found,) = task.predict(seeded_model(task.config, 0).eval(), [np.zeros((7, 5), dtype=np.uint8)])
    assert len(found) == 5
    assert all(0 <= entry["box"]["xmin"] <= entry["box"]["xmax"] <= 5 for entry in found)
    too_many = {
        "image": np.zeros((20, 20), np.uint8),
        "objects": [{"label": 0, "box": [i, 0, i + 1, 9]} for i in range(6)],
    }
    with pytest.raises(ValueError, match=r"6 objects, more than .* queries \(5\); raise overrides.queries.num_queries"):
        task.prepare(too_many)


def test_more_objects_than_queries_are_refused_with_the_setting_to_raise() -> None:
    row = {"image": np.zeros((20, 20, 3), np.uint8)}
    objects = [{"label": "red", "box": [i, 0, i + 1, 9]} for i in range(13)]
    with pytest.raises(ValueError, match=r"13 objects, more than .* \(12\); raise overrides.inputs.image_size"):
        tiny_task().prepare({**row, "objects": objects})
    # A crowd is not asked for.
    objects[0]["crowd"] = True
    assert tiny_task().prepare({**row, "objects": objects})["crowd"].sum() == 1


def test_crowds_are_not_learned_from() -> None:
    task, row = tiny_task(), rectangles(1)[0]
    model = seeded_model(task.config, 0).eval()
    crowd = {"label": "red", "box": [0, 0, 64, 48], "crowd": True}
    batches = [
        task.collate([task.prepare({**row, "objects": objects})])
        for objects in (row["objects"], [crowd, *row["objects"]])
    ]
    with torch.no_grad():
        plain, beside = (task.step(model, batch) for batch in batches)
    torch.testing.assert_close(plain.loss, beside.loss)
    assert beside.targets["crowd"].sum() == 1


def test_boxes_are_shares_of_the_image_as_it_is_seen(tmp_path: Path) -> None:
    # A camera that was held upright: 40 x 20 pixels in the file, 20 x 40 to the eye.
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape[:2] == (40, 20)
    item = tiny_task().prepare({"image": tmp_path / "turned.jpg", "objects": [{"label": 1, "box": [5, 10, 15, 40]}]})
    np.testing.assert_allclose(item["boxes"], [[0.5, 0.625, 0.5, 0.75]])


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([{"label": "green", "box": [0, 0, 5, 5]}], r"'green' is not one of the known labels \['blue', 'red'\]"),
        ([{"label": 2, "box": [0, 0, 5, 5]}], "label 2 is not one of the 2 known labels"),
        ([{"label": "red", "box": [0, 0, 25, 5]}], r"\(0, 0, 25, 5\) of object 0 lies outside of its image of 20 x 20"),
        ([{"label": "red", "box": [5, 0, 5, 5]}], "wider and higher than 0"),
    ],
    ids=["name", "id", "outside", "empty"],
)
def test_wrong_objects_are_refused(objects: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_task().prepare({"image": np.zeros((20, 20, 3), np.uint8), "objects": objects})


def test_what_cannot_serve_is_refused() -> None:
    cls = TASKS["object-detection"]
    with pytest.raises(ValueError, match="object-detection needs label names; the data has none"):
        cls.fit(ZOO["boxes-small"].config, (), {})
    with pytest.raises(ValueError, match="object-detection needs a model with 'boxes' outputs, not 'label'"):
        cls.fit(ZOO["image-small"].config, LABELS, {})
    config = dataclasses.replace(ZOO["boxes-small"].config, inputs=ZOO["text-classifier-small"].config.inputs)
    with pytest.raises(ValueError, match="object-detection needs a model with image inputs, not 'text'"):
        cls.fit(config, LABELS, {})
    with pytest.raises(ValueError, match=r"threshold \(1\.5\) must lie between 0 and 1"):
        tiny_task({"threshold": 1.5})
