"""Point cloud classification: what is read, random changes, and answers that do not depend on order or place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perceivers.config import override
from perceivers.pretrained.load import seeded_model
from perceivers.tasks.pipeline import Pipeline, pipeline
from perceivers.tasks.point_augment import PointAugmentConfig, any_turns, augment_points, vertical_turns
from perceivers.tasks.point_cloud_classification import PointCloudClassification
from perceivers.zoo import ZOO
from train_examples import TINY

SMALL = {**TINY, "queries.num_channels": 16}


def task_of(settings: dict[str, Any] | None = None, changes: dict[str, Any] | None = None) -> PointCloudClassification:
    config = override(ZOO["points-small"].config, {**SMALL, **(changes or {})})
    return PointCloudClassification.fit(config, ("a", "b", "c"), settings or {})


def cloud(count: int = 20, columns: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(3.0, 2.0, (count, columns)).astype(np.float32)


def test_clouds_are_brought_into_the_unit_ball() -> None:
    points = task_of().prepare({"points": cloud()})["points"]
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-6)
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1)
    np.testing.assert_array_equal(task_of({"place": "keep"}).prepare({"points": cloud()})["points"], cloud())
    # One point has no size.
    assert task_of().prepare({"points": [[5.0, 5.0, 5.0]]})["points"].tolist() == [[0, 0, 0]]


def test_an_aligned_cloud_is_read_the_same_however_it_was_turned() -> None:
    task = task_of({"align": True, "num_points": 50})
    points = (np.random.default_rng(0).exponential(1, (50, 3)) * [3, 1, 2]).astype(np.float32)
    turned = points[:, [2, 0, 1]] * np.array([1, -1, -1], np.float32)
    expected = task.prepare({"points": points})["points"]
    np.testing.assert_allclose(task.prepare({"points": turned})["points"], expected, atol=1e-4)
    assert np.linalg.norm(expected, axis=1).max() == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match=r"align turns coordinates only, and the model reads 4 further values"):
        task_of({"align": True}, {"inputs.feature_channels": 4})


def test_clouds_of_different_size_are_padded_and_masked() -> None:
    task = task_of({"num_points": 16})
    items = [task.prepare({"points": cloud(count), "label": 1}) for count in (4, 30)]
    batch = task.collate(items)
    assert batch["points"].shape == (2, 16, 3)
    assert batch["points_keep_mask"].sum(dim=1).tolist() == [4, 16]
    assert batch["label"].tolist() == [1, 1]
    model = seeded_model(task.config, 0).eval()
    alone, beside = task.predict(model, [cloud(4)])[0], task.predict(model, [cloud(4), cloud(30)])[0]
    assert [entry["score"] for entry in beside] == pytest.approx([entry["score"] for entry in alone], rel=1e-5)


def test_order_place_and_size_do_not_change_an_answer(tmp_path: Path) -> None:
    task = task_of()
    pipe = Pipeline(task, seeded_model(task.config, 0))
    np.save(tmp_path / "cloud.npy", 5 * cloud()[::-1] + 100)
    answers = pipe(
        [cloud(), cloud().tolist(), tmp_path / "cloud.npy", {"points": str(tmp_path / "cloud.npy")}], top_k=3
    )
    pipe.save(tmp_path / "model")
    answers.append(pipeline(model=tmp_path / "model")(str(tmp_path / "cloud.npy"), top_k=3))
    for answer in answers[1:]:
        assert [entry["label"] for entry in answer] == [entry["label"] for entry in answers[0]]
        scores = [entry["score"] for entry in answers[0]]
        assert [entry["score"] for entry in answer] == pytest.approx(scores, rel=1e-3)


def test_features_of_points_are_read_by_models_that_have_them() -> None:
    task = task_of(changes={"inputs.feature_channels": 2})
    item = task.prepare({"points": cloud(columns=5)})
    np.testing.assert_array_equal(item["point_features"], cloud(columns=5)[:, 3:])
    assert task.collate([item])["point_features"].shape == (1, 20, 2)
    assert len(task.predict(seeded_model(task.config, 0).eval(), [cloud(columns=5)])) == 1
    with pytest.raises(ValueError, match="points have 0 values besides their coordinates; the model reads 2"):
        task.prepare({"points": cloud()})
    # A model without features leaves them out.
    assert "point_features" not in task_of().prepare({"points": cloud(columns=5)})


@pytest.mark.parametrize(("turns", "keeps_up"), [(vertical_turns, True), (any_turns, False)])
def test_turns_are_turns(turns: Any, keeps_up: bool) -> None:
    torch.manual_seed(0)
    found = turns(2000)
    torch.testing.assert_close(found @ found.mT, torch.eye(3).expand(2000, 3, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.linalg.det(found), torch.ones(2000), rtol=0, atol=1e-5)
    assert torch.equal(found[:, 2, 2] == 1, torch.full((2000,), keeps_up))
    # No direction is preferred.
    assert float(found[:, :2].mean(dim=0).abs().max()) < 0.06


def test_random_changes_stay_within_bounds() -> None:
    torch.manual_seed(0)
    points, keep_mask = torch.ones(200, 30, 3), torch.ones(200, 30, dtype=torch.bool)
    keep_mask[:, 25:] = False
    assert augment_points(points, keep_mask, PointAugmentConfig()) == (points, keep_mask)
    stretched = augment_points(points, keep_mask, PointAugmentConfig(scale=0.2))[0]
    assert 0.8 <= float(stretched.min()) < 0.82
    assert 1.18 < float(stretched.max()) <= 1.2
    assert float(augment_points(points, keep_mask, PointAugmentConfig(jitter=0.1))[0].std()) == pytest.approx(
        0.1, rel=0.05
    )
    kept = augment_points(points, keep_mask, PointAugmentConfig(dropout=0.8))[1]
    assert not kept[:, 25:].any()
    assert float(kept[:, :25].float().mean()) == pytest.approx(0.6, abs=0.05)
    lonely = torch.arange(30)[None].expand(200, -1) == 7
    assert torch.equal(augment_points(points, lonely, PointAugmentConfig(dropout=0.9))[1], lonely)


def test_only_training_changes_clouds() -> None:
    task = task_of({"augment": {"rotate": "vertical", "jitter": 0.01}})
    batch = task.collate([task.prepare({"points": cloud(), "label": 0})])
    assert task.augment(batch, training=False) is batch
    assert not torch.equal(task.augment(batch, training=True)["points"], batch["points"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_points": 0}, r"num_points \(0\) must be at least 1"),
        ({"augment": {"scale": 1.0}}, r"scale \(1.0\) must lie between 0 and 1"),
        ({"augment": {"dropout": -0.5}}, "dropout"),
        ({"augment": {"jitter": -1.0}}, r"jitter \(-1.0\) must not be negative"),
    ],
)
def test_what_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task_of(settings)
