"""The solids that come with the package, and folders of meshes."""

from pathlib import Path

import numpy as np
import pytest

from perceivers.data import DataConfig, DataError, load_data
from perceivers.data.shapes import SOLIDS, draw_cloud


@pytest.mark.parametrize("name", SOLIDS)
def test_clouds_are_the_same_for_a_seed_and_lie_about_zero(name: str) -> None:
    cloud = draw_cloud(name, np.random.default_rng(3))
    assert cloud.shape == (256, 3)
    assert cloud.dtype == np.float32
    np.testing.assert_array_equal(cloud, draw_cloud(name, np.random.default_rng(3)))
    assert (cloud != draw_cloud(name, np.random.default_rng(4))).any()
    assert np.abs(cloud.mean(axis=0)).max() < 0.05
    assert 0.8 < np.linalg.norm(cloud, axis=1).max() < 1.3


def test_points_lie_on_the_solids() -> None:
    found = {name: draw(np.random.default_rng(0), 4000) for name, draw in SOLIDS.items()}
    radius = {name: np.hypot(points[:, 0], points[:, 1]) for name, points in found.items()}
    height = {name: points[:, 2] for name, points in found.items()}
    np.testing.assert_allclose(np.linalg.norm(found["ellipsoid"], axis=1), 1)
    np.testing.assert_allclose(np.abs(found["box"]).max(axis=1), 1)
    np.testing.assert_allclose(np.hypot(radius["torus"] - 1, height["torus"]), 0.35)
    assert height["bowl"].max() <= 0
    on_side = np.isclose(height["cone"], 1 - 2 * radius["cone"])
    assert (on_side | np.isclose(height["cone"], -1)).all()
    assert on_side.mean() == pytest.approx(np.sqrt(5) / (1 + np.sqrt(5)), abs=0.03)
    lids = np.isclose(np.abs(height["cylinder"]), 1)
    assert np.isclose(radius["cylinder"][~lids], 1).all()
    assert lids.mean() == pytest.approx(1 / 3, abs=0.03)
    ends = np.abs(height["capsule"]) > 1
    np.testing.assert_allclose(radius["capsule"][~ends], 1, atol=1e-6)
    np.testing.assert_allclose(np.hypot(radius["capsule"], np.abs(height["capsule"]) - 1)[ends], 1)


def test_the_data_set() -> None:
    splits = load_data(DataConfig(source="shapes", limit=40), ("points", "label"))
    assert splits.labels == tuple(sorted(SOLIDS))
    assert np.array(splits.train[0]["points"]).shape == (256, 3)
    assert not splits.held_out


def test_folders_as_modelnet_has_them(tmp_path: Path) -> None:
    mesh = "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
    for name in ("chair", "desk"):
        for split, count in (("train", 3), ("test", 2)):
            folder = tmp_path / name / split
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{name}_{i:04}.off").write_text(mesh)
    splits = load_data(DataConfig(source=str(tmp_path)), ("points", "label"))
    assert (len(splits.train), len(splits.eval), splits.labels) == (6, 4, ("chair", "desk"))
    assert splits.train[0]["points"] == str(tmp_path / "chair" / "train" / "chair_0000.off")
    (tmp_path / "desk" / "test" / "desk_0001.off").write_text("OFF\n3 1 0\n0 0")
    with pytest.raises(DataError, match=r"desk_0001.off: point file .* ends within its 3 vertices"):
        load_data(DataConfig(source=str(tmp_path)), ("points", "label"))
