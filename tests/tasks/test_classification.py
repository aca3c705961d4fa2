from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from perceivers.config import from_json, override, to_json
from perceivers.model import PerceiverConfig
from perceivers.pretrained.load import seeded_model
from perceivers.pretrained.resize import resize_positions
from perceivers.processing.image import Interpolation, fit_image
from perceivers.processing.text import ByteTokenizer
from perceivers.tasks import TASKS
from perceivers.tasks.classes import class_step, present_classes
from perceivers.tasks.image_classification import ImageClassification
from perceivers.tasks.text_classification import TextClassification
from perceivers.zoo import ZOO
from train_examples import TINY, image_rows, image_task, tiny_config

TEXT_CONFIG = override(
    ZOO["text-classifier-small"].config, {**TINY, "inputs.max_length": 16, "queries.num_channels": 16}
)


def test_label_smoothing_spreads_the_target() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]])
    labels = torch.tensor([0, 2])
    smooth = torch.nn.functional.one_hot(labels, 3) * 0.7 + 0.3 / 3
    expected = -(smooth * logits.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(class_step(logits, labels, 0.3).loss, expected)
    # Mixed targets are smoothed alike, and counted as their larger part.
    mixed = class_step(logits, torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.2, 0.6]]), 0.0)
    assert mixed.targets.tolist() == [0, 2]


@pytest.mark.parametrize("name", ["image-classification", "text-classification"])
def test_smoothing_counts_while_training_only(name: str) -> None:
    base = tiny_config() if name == "image-classification" else TEXT_CONFIG
    row = {"image": image_rows(1)[0]["image"], "text": "hello", "label": 1}
    losses = {}
    for smoothing in (0.0, 0.5):
        task = TASKS[name].fit(base, ("a", "b"), {"label_smoothing": smoothing})
        model = seeded_model(task.config, 0)
        batch = task.collate([task.prepare(row)])
        for training in (True, False):
            losses[smoothing, training] = float(task.step(model.train(training), batch).loss.detach())
    assert losses[0.0, True] == losses[0.0, False] == losses[0.5, False]
    assert losses[0.5, True] != losses[0.0, True]


def test_balanced_classes_count_alike_while_training() -> None:
    rows = [{"text": "hello", "label": label} for label in (0, 0, 0, 1)]
    batch = torch.tensor([0, 1])
    logits = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    task = TASKS["text-classification"].fit(TEXT_CONFIG, ("a", "b", "c"), {"class_weights": "balanced"})
    assert isinstance(task, TextClassification)
    task.study(rows)
    assert task.weights is not None
    # Four examples of two classes: a third class does not occur, and changes nothing.
    assert task.weights[:2].tolist() == pytest.approx([4 / (2 * 3), 4 / (2 * 1)])
    each = -logits.log_softmax(dim=1)[[0, 1], batch]
    expected = (each * task.weights[batch]).sum() / task.weights[batch].sum()
    torch.testing.assert_close(class_step(logits, batch, 0.0, task.weights).loss, expected)
    model = seeded_model(task.config, 0)
    items = task.collate([task.prepare(row) for row in rows])
    plain = TASKS["text-classification"].fit(TEXT_CONFIG, ("a", "b", "c"), {})
    losses = {mode: task.step(model.train(mode), items).loss.detach() for mode in (True, False)}
    torch.testing.assert_close(losses[False], plain.step(model.eval(), items).loss.detach())
    assert not torch.isclose(losses[True], losses[False])


def test_class_weights_by_name() -> None:
    task = TASKS["text-classification"].fit(TEXT_CONFIG, ("ham", "spam"), {"class_weights": {"spam": 3}})
    assert isinstance(task, TextClassification)
    task.study([])
    assert task.weights is not None
    assert task.weights.tolist() == [1, 3]
    with pytest.raises(ValueError, match=r"class_weights name \['eggs'\], which are no labels; choices = \['a', 'b'\]"):
        TASKS["text-classification"].fit(TEXT_CONFIG, ("a", "b"), {"class_weights": {"eggs": 3}})
    with pytest.raises(ValueError, match=r"class_weights \{'a': -1.0\} must be numbers of at least 0"):
        TASKS["text-classification"].fit(TEXT_CONFIG, ("a", "b"), {"class_weights": {"a": -1}})


def test_the_likeliest_labels_come_first() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0]])
    (result,) = present_classes(logits, ("a", "b", "c"), 2)
    assert [entry["label"] for entry in result] == ["b", "c"]
    assert [entry["score"] for entry in result] == pytest.approx(logits.softmax(dim=1)[0, [1, 2]].tolist(), rel=1e-6)
    (everything,) = present_classes(logits, ("a", "b", "c"), 9)
    assert sum(entry["score"] for entry in everything) == pytest.approx(1)


def test_metrics_are_accuracy_and_f1() -> None:
    task = image_task()
    metrics = task.metrics()
    logits = torch.eye(3)[[0, 0, 1, 2]]
    task.update(metrics, class_step(logits, torch.tensor([0, 1, 1, 2]), 0.0))
    scores = {name: float(value) for name, value in metrics.compute().items()}
    assert scores == pytest.approx({"accuracy": 3 / 4, "f1": (2 / 3 + 2 / 3 + 1) / 3})


def test_images_of_any_form_are_read(tmp_path: Path) -> None:
    task = image_task()
    model = seeded_model(task.config, 0).eval()
    array = image_rows(1)[0]["image"]
    path = tmp_path / "image.png"
    Image.fromarray(array[..., 0]).save(path)
    wide = np.repeat(np.repeat(array, 4, axis=0), 6, axis=1)
    results = task.predict(model, [array, str(path), path, Image.fromarray(array[..., 0]), array / 255, wide])
    assert [len(result) for result in results] == [3] * 6
    for result in results[:5]:
        assert [entry["label"] for entry in result] == [entry["label"] for entry in results[0]]
        assert [entry["score"] for entry in result] == pytest.approx([entry["score"] for entry in results[0]], rel=1e-5)
    with pytest.raises(ValueError, match="does not exist"):
        task.predict(model, [tmp_path / "absent.png"])


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_how_an_image_is_fitted_is_a_setting(fit: str) -> None:
    wide = np.zeros((8, 16, 1), dtype=np.uint8)
    wide[:, 4:12] = 200
    image = image_task({"fit": fit}).prepare({"image": wide})["image"]
    assert image.shape == (8, 8, 1)
    assert image.dtype == np.uint8
    # Cropping sees the bright middle alone, stretching black at the sides, padding black above and below.
    assert {"crop": image.min() > 150, "stretch": image[4, 0] < 50, "pad": image[0].max() < 50}[fit]


@pytest.mark.parametrize("interpolation", ["pillow", "opencv"])
def test_an_image_can_be_read_as_the_original_reads_it(interpolation: Interpolation) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (40, 61, 3), dtype=np.uint8)
    task = image_task({"fit": "center", "interpolation": interpolation})
    image = task.prepare({"image": photo})["image"]
    np.testing.assert_array_equal(image, fit_image(photo, (8, 8), 1, "center", interpolation))
    assert (image != fit_image(photo, (8, 8), 1, "crop", interpolation)).any()


@pytest.mark.parametrize("name", ["image-pixels", "image-patches", "image-conv"])
def test_images_can_be_read_at_another_size(name: str) -> None:
    positioned = {"positions": {"kind": "fourier", "num_bands": 2}}
    own = {"image-pixels": {}, "image-patches": {"patch_size": 4}, "image-conv": {"num_channels": 4}}[name]
    data = {**to_json(tiny_config()), "inputs": {"kind": name, "image_size": [8, 8], "positioned": positioned, **own}}
    config = from_json(PerceiverConfig, data)
    photo = np.random.default_rng(0).integers(0, 256, (40, 61, 3), dtype=np.uint8)
    scores = []
    for size in (None, (16, 28)):
        task = ImageClassification.fit(config, ("a", "b"), {"image_size": size})
        height, width = size or (8, 8)
        assert task.prepare({"image": photo})["image"].shape == (height, width, 3)
        (result,) = task.predict(seeded_model(task.config, 0).eval(), [photo])
        scores.append(result[0]["score"])
    assert scores[0] != scores[1]


def test_learned_positions_hold_one_size_until_they_are_resized() -> None:
    learned = {"inputs.positioned.positions": {"kind": "learned", "num_channels": 4}}
    config = override(tiny_config(), learned)
    with pytest.raises(ValueError, match=r"image_size \(12, 10\).*\(8, 8\).*resize_positions\(model, \(12, 10\)\)"):
        ImageClassification.fit(config, ("a", "b"), {"image_size": [12, 10]})
    assert ImageClassification.fit(config, ("a", "b"), {"image_size": [8, 8]}).image_size == (8, 8)
    model = resize_positions(seeded_model(ImageClassification.fit(config, ("a", "b"), {}).config, 0), (12, 10))
    task = ImageClassification.fit(model.config, ("a", "b"), {"image_size": [12, 10]})
    assert len(task.predict(model.eval(), [image_rows(1)[0]["image"]])[0]) == 2


def test_a_size_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"image_size \(0, 4\) must be at least 1 x 1"):
        image_task({"image_size": [0, 4]})


def test_images_beyond_a_batch_are_all_answered() -> None:
    task = image_task()
    model = seeded_model(task.config, 0).eval()
    images = [row["image"] for row in image_rows(35)]
    results = task.predict(model, images, top_k=1)
    assert len(results) == 35
    assert results[34][0]["label"] == task.predict(model, images[34:], top_k=1)[0][0]["label"]


def test_randaugment_needs_grey_or_colour() -> None:
    config = override(tiny_config(), {"inputs.image_channels": 2})
    with pytest.raises(ValueError, match="randaugment_ops needs images of 1 or 3 channels, not 2"):
        ImageClassification.fit(config, ("a", "b"), {"augment": {"randaugment_ops": 1}})


def test_mixed_targets_train_and_plain_ones_are_evaluated() -> None:
    task = image_task({"augment": {"mixup": 1.0}})
    batch = task.collate([task.prepare(row) for row in image_rows(6)])
    torch.manual_seed(0)
    assert task.augment(batch, training=True)["label"].shape == (6, 3)
    assert task.augment(batch, training=False) is batch


def test_long_texts_are_cut_at_the_end() -> None:
    task = TextClassification.fit(TEXT_CONFIG, ("a", "b"), {})
    assert ByteTokenizer().decode(task.prepare({"text": "x" * 10 + "y" * 10})["input_ids"]) == "x" * 10 + "y" * 6
    batch = task.collate([task.prepare({"text": text, "label": 1}) for text in ("abc", "abcdef")])
    assert batch["input_ids"].shape == (2, 6)
    assert batch["keep_mask"].sum(dim=1).tolist() == [3, 6]
    assert batch["label"].tolist() == [1, 1]
    with pytest.raises(ValueError, match="text 1 is empty"):
        task.predict(seeded_model(task.config, 0).eval(), ["a", ""])


def test_byte_dropout_hides_bytes_while_training() -> None:
    torch.manual_seed(0)
    task = TextClassification.fit(TEXT_CONFIG, ("a", "b"), {"byte_dropout": 0.25})
    batch = task.collate([task.prepare({"text": "abcdefgh" * (1 + i % 2), "label": 0}) for i in range(400)])
    assert task.augment(batch, training=False) is batch
    changed = task.augment(batch, training=True)
    hidden = changed["input_ids"] == ByteTokenizer.mask_id
    assert not hidden[~batch["keep_mask"]].any()
    assert float(hidden[batch["keep_mask"]].float().mean()) == pytest.approx(0.25, abs=0.02)
    assert torch.equal(changed["input_ids"][~hidden], batch["input_ids"][~hidden])


def test_padding_does_not_change_an_answer() -> None:
    task = TextClassification.fit(TEXT_CONFIG, ("a", "b"), {})
    model = seeded_model(task.config, 0).eval()
    alone = task.predict(model, ["short"])[0]
    beside = task.predict(model, ["short", "something longer"])[0]
    assert [entry["score"] for entry in beside] == pytest.approx([entry["score"] for entry in alone], rel=1e-5)


def test_pictures_of_strips_are_not_endless() -> None:
    task, _ = ImageClassification.example()
    result = [{"label": "a", "score": 1.0}]
    bars = task.picture(np.zeros((1, 1), np.uint8), result).width - 160
    for height, width, expected in ((1, 4000, 640), (4000, 1, 1), (300, 450, 240)):
        assert task.picture(np.zeros((height, width), np.uint8), result).width - bars == expected


def test_a_folder_is_all_images_in_it(tmp_path: Path) -> None:
    task, _ = ImageClassification.example()
    with pytest.raises(ValueError, match="the folder has no images"):
        task.gather([tmp_path])
    for name in ("b.png", "a.jpg"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    assert task.gather([tmp_path]) == ([str(tmp_path / "a.jpg"), str(tmp_path / "b.png")], True)
    assert task.gather([str(tmp_path / "a.jpg")]) == ([str(tmp_path / "a.jpg")], False)
