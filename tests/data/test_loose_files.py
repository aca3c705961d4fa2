"""Files without classes, for tasks that need no labels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perceivers.data import DataConfig, DataError, load_data


def draw(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), shade).save(path)


def test_images_need_no_classes(tmp_path: Path) -> None:
    for i in range(5):
        draw(tmp_path / f"{i}.png", i)
    (tmp_path / ".DS_Store").write_bytes(b"x")
    splits = load_data(DataConfig(source=str(tmp_path)), ("image",))
    assert splits.train.column_names == ["image"]
    assert (len(splits.train), len(splits.eval), splits.labels, splits.held_out) == (4, 1, None, True)
    shades = [int(np.asarray(row["image"])[0, 0]) for part in (splits.train, splits.eval) for row in part]
    assert sorted(shades) == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match="found neither images in class folders"):
        load_data(DataConfig(source=str(tmp_path)), ("image", "label"))


def test_folders_of_splits_are_no_classes(tmp_path: Path) -> None:
    for i in range(3):
        draw(tmp_path / "train" / f"{i}.png", i)
    draw(tmp_path / "test" / "0.png", 200)
    splits = load_data(DataConfig(source=str(tmp_path)), ("image",))
    assert (len(splits.train), len(splits.eval), splits.held_out) == (3, 1, False)
    assert int(np.asarray(splits.eval[0]["image"])[0, 0]) == 200


def test_class_folders_are_read_without_their_labels(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(2):
            draw(tmp_path / "train" / name / f"{i}.png", i)
            draw(tmp_path / "test" / name / f"{i}.png", i)
    splits = load_data(DataConfig(source=str(tmp_path)), ("image",))
    assert splits.train.column_names == ["image"]
    assert (len(splits.train), len(splits.eval)) == (4, 4)


def test_clouds_of_points_need_no_classes(tmp_path: Path) -> None:
    for i in range(4):
        np.save(tmp_path / f"{i}.npy", np.eye(3, dtype=np.float32) + i)
    splits = load_data(DataConfig(source=str(tmp_path), eval_fraction=0.25), ("points",))
    assert (len(splits.train), len(splits.eval)) == (3, 1)
    assert Path(splits.train[0]["points"]).is_file()
