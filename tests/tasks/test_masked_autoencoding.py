"""Masked auto-encoding of each modality: what is hidden is not seen, comes back, and pre-trains."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from masked_examples import MODELS, masked
from perceivers.config import override
from perceivers.data import DataConfig, Splits
from perceivers.pretrained.load import seeded_model
from perceivers.tasks.masked_autoencoding import MaskedAutoencoding
from perceivers.tasks.masking import left_out
from perceivers.tasks.pipeline import Pipeline, pipeline
from perceivers.train import Recipe, TrainConfig, evaluate, prepare_run
from perceivers.zoo import ZOO

every_modality = pytest.mark.parametrize("name", MODELS)
# The entry of a batch that holds the input.
ENTRIES = {
    **dict.fromkeys(("patches", "conv1x1", "conv"), "image"),
    **dict.fromkeys(("spectrogram", "wave"), "audio"),
    **{"points": "points", "text": "input_ids", "video": "video", "flow": "frames"},
}


def batch_of(task: MaskedAutoencoding, rows: Any, *, training: bool = False) -> dict[str, torch.Tensor]:
    loader = DataLoader(task.dataset(rows, training=training), batch_size=3, collate_fn=task.collate)
    return task.augment(next(iter(loader)), training=training)


@every_modality
def test_a_model_learns_to_restore(name: str) -> None:
    task, rows = masked(name)
    torch.manual_seed(0)
    model = seeded_model(task.config, 0).train()
    batch = batch_of(task, rows, training=True)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    losses = []
    for _ in range(8):
        step = task.step(model, batch)
        step.loss.backward()
        without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
        assert without == []
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(step.loss.detach()))
    assert losses[-1] < losses[0]


@every_modality
def test_what_is_hidden_is_not_seen(name: str) -> None:
    task, rows = masked(name)
    model = seeded_model(task.config, 0).eval()
    batch = batch_of(task, rows)
    hidden = task._ask(model, batch, anew=False).hidden
    key = ENTRIES[name]
    if name == "text":
        changed = batch[key].masked_fill(hidden, 100)
    else:
        # What hidden tokens alone are made of, by the gradient.
        source = batch[key].to(torch.float32).requires_grad_()
        given = {**batch, key: source}
        raw = model.inputs(given).content if name in ("wave", "points", "video") else model.inputs.raw(given).values
        (made_of,) = torch.autograd.grad(raw[hidden].square().sum(), source, retain_graph=True)
        (seen,) = torch.autograd.grad(raw[~hidden].square().sum(), source)
        own = (made_of != 0) & (seen == 0)
        largest = 255 if batch[key].dtype == torch.uint8 else 1
        changed = torch.where(own, 0.9 * largest, source.detach()).to(batch[key].dtype)
    assert not torch.equal(changed, batch[key])

    def latents(values: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), left_out(model.inputs, hidden):
            return model.encode(model.inputs.hide({**batch, key: values}, hidden)).values

    torch.testing.assert_close(latents(changed), latents(batch[key]))
    with torch.no_grad():
        everything = [model.encode({**batch, key: values}).values for values in (changed, batch[key])]
    assert not torch.allclose(*everything)


@every_modality
def test_scores_do_not_depend_on_the_batch(name: str) -> None:
    task, rows = masked(name)
    model = seeded_model(task.config, 0)
    scores = evaluate(task, model, rows, batch_size=2)
    assert task.score in scores
    assert evaluate(task, model, rows, batch_size=5) == pytest.approx(scores, rel=1e-5)


@every_modality
def test_what_was_not_hidden_stays(name: str, tmp_path: Path) -> None:
    task, rows = masked(name)
    model = seeded_model(task.config, 0).eval()
    inputs = [task.input_of(row) for row in rows][:2]
    results = task.predict(model, inputs)
    for value, result in zip(inputs, results, strict=True):
        assert 0 < result.hidden.sum() < result.hidden.size
        assert task.score in result.scores
        if isinstance(result.original, str):
            assert len(result.shown) >= result.shown.count("_") > 0
        else:
            same = np.isclose(result.restored, result.original)
            assert same.any()
            assert not same.all()
        picture = task.picture(value, result)
        assert min(picture.size) >= 60
        files = task.save(value, result, tmp_path, "answer")
        summary = json.loads(files[0].read_text(encoding="utf-8"))
        assert summary == task.summary(result)
        assert summary[0]["hidden"] == result.hidden.sum()
    # The same is hidden again, alone as beside others.
    (alone,) = task.predict(model, inputs[1:2])
    np.testing.assert_array_equal(alone.hidden, results[1].hidden)


def test_images_come_back_pixel_by_pixel() -> None:
    task, rows = masked("patches", {"mask_share": 0.5, "block_size": 2})
    (result,) = task.predict(seeded_model(task.config, 0).eval(), [rows[0]["image"]])
    np.testing.assert_array_equal(result.original[0], rows[0]["image"])
    assert result.hidden.shape == (4, 3)
    pixels = result.hidden.repeat(4, axis=0).repeat(4, axis=1)
    np.testing.assert_array_equal(result.restored[0][~pixels], rows[0]["image"][~pixels])
    assert (np.abs(result.shown[0][pixels].astype(int) - 127) <= 1).all()
    # Blocks of two by two, the last ones cut by the border.
    assert result.hidden[:2, :2].all() or not result.hidden[:2, :2].any() or result.hidden.sum() == 6


def test_points_are_asked_for_by_their_cell() -> None:
    task, _ = masked("points")
    points = torch.tensor([[[-1.0, -1.0, -1.0], [0.99, 0.99, 0.99], [0.1, -0.3, 0.6]]])
    raw = task.modality.example
    own = type(raw)(points, None, (3,))
    where, targets = task.modality.ask(own, torch.tensor([[0, 1, 2]]))
    assert where.tolist() == [[0, 511, (4 * 8 + 2) * 8 + 6]]
    assert targets.abs().max() <= 1
    filled = task.modality.fill(torch.zeros(3, 3), torch.tensor([0, 1, 2]), targets[0], where[0])
    torch.testing.assert_close(filled, points[0])


def test_the_model_says_what_is_read() -> None:
    roles = {name: MaskedAutoencoding.roles_for(config) for name, (config, _, _) in MODELS.items()}
    assert roles["conv"] == ("image",)
    assert roles["wave"] == roles["spectrogram"] == ("audio",)
    assert roles["points"] == ("points",)
    assert roles["text"] == ("text",)
    assert roles["video"] == ("video",)
    assert roles["flow"] == ("frame1", "frame2")
    assert masked("wave")[0].score == "snr"
    task, _ = masked("spectrogram")
    assert (task.score, task.higher_is_better, task.input_role) == ("l1_db", False, "audio")


# A task that reads the modality, and its settings.
FINE_TUNED: dict[str, tuple[str, dict[str, Any]]] = {
    "patches": ("image-classification", {}),
    "spectrogram": ("audio-classification", {}),
    "wave": ("audio-classification", {"sample_rate": 8000}),
    "points": ("point-cloud-classification", {"num_points": 14}),
    "text": ("text-classification", {}),
}


@pytest.mark.parametrize("name", FINE_TUNED)
def test_a_new_head_goes_on_from_what_was_learned(name: str, tmp_path: Path) -> None:
    task, rows = masked(name)
    trained = seeded_model(task.config, 5)
    Pipeline(task, trained).save(tmp_path)
    task_name, settings = FINE_TUNED[name]
    data = Dataset.from_list([{"label": 0}, {"label": 1}])
    recipe = Recipe(task=task_name, model=str(tmp_path), data=DataConfig(source="none"), settings=settings)
    run = prepare_run(recipe, Splits(data, data, ("a", "b"), "two rows"))
    assert {weight.partition(".")[0] for weight in run.fresh} == {"queries", "decoder", "outputs"}
    new, old = run.model.state_dict(), trained.state_dict()
    taken = [key for key in new if key.startswith(("inputs.", "encoder."))]
    assert taken
    assert all(torch.equal(new[key], old[key]) for key in taken)
    labelled = [{**row, "label": i % 2} for i, row in enumerate(rows)]
    assert evaluate(run.task, run.model, labelled)["accuracy"] >= 0
    # And back: pre-training goes on with its own head.
    again = prepare_run(
        Recipe(task=task.name, model=str(tmp_path), data=DataConfig(source="none"), train=TrainConfig(seed=3)),
        Splits(data, data, None, "two rows"),
    )
    assert again.fresh == ()
    assert again.task.settings == task.settings


def test_a_saved_model_answers(tmp_path: Path) -> None:
    task, rows = masked("patches", {"mask_share": 0.4})
    Pipeline(task, seeded_model(task.config, 0)).save(tmp_path)
    pipe = pipeline(model=tmp_path)
    result = pipe(rows[0]["image"])
    assert result.hidden.sum() == round(0.4 * 12)
    assert pipe.encode(rows[0]["image"]).shape == (1, 4, 16)
    assert pipe.picture(rows[0]["image"]).width > pipe.picture(rows[0]["image"]).height


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_share": 1.0}, r"mask_share \(1.0\) must lie between 0 and 1"),
        ({"block_size": 0}, r"block_size \(0\) must be at least 1"),
        ({"reading": {"fit": "bend"}}, r"reading \(image-classification settings\).fit = 'bend' is not one of"),
        ({"reading": {"image_size": [8, 8]}}, r"reading.image_size \(8, 8\) must be the model's own, \(16, 12\)"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        masked("patches", settings)


def test_what_cannot_be_masked_says_so() -> None:
    with pytest.raises(ValueError, match=r"'multimodal' inputs; choices = .*'image-patches'.*video-autoencoding"):
        MaskedAutoencoding.fit(ZOO["video-autoencoding-small"].config, None, {})
    with pytest.raises(ValueError, match=r"block_size \(2\) must be 1: points have no order"):
        masked("points", {"block_size": 2})
    with pytest.raises(ValueError, match="this model has 'learned' queries and 'label' outputs for something else"):
        MaskedAutoencoding(MaskedAutoencoding.Settings(), ZOO["image-small"].config)
    task, _ = masked("text")
    with pytest.raises(ValueError, match="the text is empty"):
        task.predict(seeded_model(task.config, 0), [""])


def test_the_default_model_shares_its_encoder_with_the_classifier() -> None:
    ours, classifier = ZOO["image-masked-small"].config, ZOO["image-small"].config
    assert (ours.inputs, ours.encoder) == (classifier.inputs, classifier.encoder)
    assert MaskedAutoencoding.fit(ours, None, {}).config == ours
    changed = override(ours, {"inputs.image_size": [32, 32]})
    assert MaskedAutoencoding.fit(changed, None, {}).config.queries != ours.queries


def test_a_run_reads_files_without_classes(tmp_path: Path) -> None:
    for i, row in enumerate(masked("points")[1]):
        np.save(tmp_path / f"{i}.npy", row["points"])
    data = DataConfig(source=str(tmp_path))
    recipe = Recipe(task="masked-autoencoding", model="points-small", data=data, settings={"reading.num_points": 8})
    run = prepare_run(recipe)
    assert run.splits.train.column_names == ["points"]
    assert run.task.score == "distance"
    assert batch_of(run.task, run.splits.train, training=True)["points"].shape == (3, 8, 3)
