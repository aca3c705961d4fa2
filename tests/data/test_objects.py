"""Objects in images: the ways of writing them down, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Sequence, Value
from datasets import Image as ImageFeature
from PIL import Image

from box_examples import write_rectangles
from perceivers.data import DataConfig, DataError, Splits, load_data
from perceivers.data.objects import parse_objects

ROLES = ("image", "objects")


def load(source: Path, **fields: Any) -> Splits:
    return load_data(DataConfig(source=str(source), **fields), ROLES)


def write_image(path: Path, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(path)


def write_rows(folder: Path, *rows: Any) -> Path:
    write_image(folder / "a.png")
    path = folder / "all.jsonl"
    path.write_text("\n".join(json.dumps({"file": "a.png", "objects": row}) for row in rows), encoding="utf-8")
    return path


def test_lines_with_objects_are_read(tmp_path: Path) -> None:
    write_rectangles(tmp_path, "train", 6)
    write_rectangles(tmp_path, "test", 3, seed=1)
    splits = load(tmp_path)
    assert (len(splits.train), len(splits.eval), splits.labels) == (6, 3, ("blue", "red"))
    row, written = splits.train[0], json.loads((tmp_path / "train.jsonl").read_text().splitlines()[0])
    assert [splits.labels[one["label"]] for one in row["objects"]] == [one["label"] for one in written["objects"]]
    assert [one["box"] for one in row["objects"]] == [one["box"] for one in written["objects"]]


def test_the_forms_say_the_same() -> None:
    corners = parse_objects([{"label": "a", "box": [1, 2, 4, 8]}, {"label": "b", "box": [0, 0, 1, 1], "iscrowd": 1}])
    sized = parse_objects(
        [{"category": "a", "bbox": [1, 2, 3, 6]}, {"category": "b", "bbox": [0, 0, 1, 1], "crowd": True}]
    )
    columns = parse_objects({"label": ["a", "b"], "box": [[1, 2, 4, 8], [0, 0, 1, 1]], "crowd": [False, True]})
    for other in (sized, columns):
        assert other.labels == corners.labels == ("a", "b")
        assert np.array_equal(other.corners, corners.corners)
        assert other.crowd.tolist() == corners.crowd.tolist() == [False, True]
    assert parse_objects([]).corners.shape == (0, 4)
    assert parse_objects({"label": [], "box": []}).labels == ()


@pytest.mark.parametrize(
    ("objects", "parts"),
    [
        ([{"label": "a", "box": [1, 2, 42.5, 8]}], ["object 0", "outside", "40 x 30"]),
        ([{"label": "a", "box": [-2, 2, 4, 8]}], ["(-2, 2, 4, 8)", "outside"]),
        ([{"label": "a", "box": [4, 2, 4, 8]}], ["[4, 2, 4, 8]", "wider"]),
        ([{"label": "a", "box": [4, 8, 6, 2]}], ["wider and higher"]),
        ([{"label": "a", "bbox": [4, 8, 0, 2]}], ["bbox", "wider"]),
        ([{"label": "a", "box": [float("nan"), 2, 4, 8]}], ["four finite numbers"]),
        ([{"label": "a", "box": [1, 2, 4]}], ["four finite numbers", "[1, 2, 4]"]),
        ([{"label": "a", "box": None}], ["neither 'box'", "'bbox'"]),
        ([{"label": "", "box": [1, 2, 4, 8]}], ["object 0 has no label"]),
        ([{"box": [1, 2, 4, 8]}], ["object 0 has no label"]),
        ("none", ["must be a list", "'none'"]),
        (None, ["must be a list", "None"]),
    ],
)
def test_faults_are_named(tmp_path: Path, objects: Any, parts: list[str]) -> None:
    good = [] if isinstance(objects, list) else objects
    with pytest.raises(DataError) as error:
        load(write_rows(tmp_path, good, objects))
    line = "line 2" if isinstance(objects, list) else "line 1"
    assert [part for part in (line, *parts) if part not in str(error.value)] == [], str(error.value)


def test_rounded_boxes_may_touch_the_outside(tmp_path: Path) -> None:
    splits = load(write_rows(tmp_path, *[[{"label": "a", "box": [-0.5, 0, 40.8, 30]}]] * 2))
    assert splits.labels == ("a",)


def test_images_without_objects_are_examples_and_data_without_objects_is_none(tmp_path: Path) -> None:
    one = [{"label": "a", "box": [1, 2, 4, 8]}]
    splits = load(write_rows(tmp_path, one, [], one, []))
    assert sorted(len(row["objects"]) for part in (splits.train, splits.eval) for row in part) == [0, 0, 1, 1]
    with pytest.raises(DataError, match="detection needs at least 1 labels, found"):
        load(write_rows(tmp_path, [], []))


def test_labels_that_were_not_trained_are_refused(tmp_path: Path) -> None:
    write_rectangles(tmp_path, "train", 4)
    write_rectangles(tmp_path, "test", 1)
    text = (tmp_path / "test.jsonl").read_text().replace('"red"', '"green"').replace('"blue"', '"green"')
    (tmp_path / "test.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"test.jsonl, line 1, object 0: label 'green' is not one of the known labels"):
        load(tmp_path)


def coco_document(folder: Path, name: str = "a.png") -> dict[str, Any]:
    write_image(folder / name)
    return {
        "images": [{"id": 7, "file_name": name, "width": 40, "height": 30}, {"id": 8, "file_name": name}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 20], "iscrowd": 0, "area": 200},
            {"id": 2, "image_id": 7, "category_id": 9, "bbox": [5.5, 2, 10, 20.25], "iscrowd": 1},
        ],
        "categories": [{"id": 3, "name": "dog"}, {"id": 9, "name": "cat"}],
    }


@pytest.mark.parametrize(
    ("folder", "file", "images"),
    [
        ("plain", "train.json", "."),
        ("plain", "train.json", "images"),
        ("coco", "annotations/instances_train2017.json", "train2017"),
        ("roboflow", "train/_annotations.coco.json", "train"),
    ],
)
def test_coco_is_read_from_its_usual_places(tmp_path: Path, folder: str, file: str, images: str) -> None:
    root = tmp_path / folder
    document = coco_document(root / images)
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(document), encoding="utf-8")
    splits = load(root, eval_fraction=0.5)
    assert splits.labels == ("cat", "dog")
    rows = [row for part in (splits.train, splits.eval) for row in part]
    full = next(row for row in rows if row["objects"])
    assert full["image"].size == (40, 30)
    assert full["objects"] == [
        {"label": 1, "box": [1, 2, 11, 22], "crowd": False},
        {"label": 0, "box": [5.5, 2, 15.5, 22.25], "crowd": True},
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"][0].update(image_id=5), "annotation 0: there is no image 5"),
        (
            lambda d: d["annotations"][1].update(category_id=4),
            r"annotation 1: there is no category 4; choices = \[3, 9\]",
        ),
        (lambda d: d["annotations"][1].pop("bbox"), "annotation 1: lacks 'bbox'"),
        (lambda d: d["images"][1].pop("file_name"), "image 1: lacks 'file_name'"),
        (lambda d: d["images"][1].update(file_name="b.png"), "b.png"),
        (lambda d: d["annotations"][0].update(bbox=[30, 2, 20, 5]), "image a.png: the box .* lies outside"),
    ],
)
def test_faults_in_coco_are_named(tmp_path: Path, change: Any, message: str) -> None:
    document = coco_document(tmp_path)
    change(document)
    (tmp_path / "train.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_data_of_the_hub_has_its_labels_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ClassLabel(names=["zebra", "ant"])
    features = Features(
        {
            "image": ImageFeature(),
            "objects": Sequence({"bbox": Sequence(Value("float32"), length=4), "category": kinds}),
        }
    )
    image = Image.fromarray(np.zeros((30, 40, 3), np.uint8))
    objects = [{"bbox": [[1, 2, 3, 4], [5, 6, 7, 8]], "category": [1, 0]}, {"bbox": [], "category": []}]
    part = Dataset.from_dict({"image": [image, image], "objects": objects}, features=features)
    monkeypatch.setattr("perceivers.data.opening.from_hub", lambda config: DatasetDict({"train": part, "test": part}))
    splits = load_data(DataConfig(source="someone/boxes"), ROLES)
    assert splits.labels == ("zebra", "ant")
    assert splits.train[0]["objects"] == [
        {"label": 1, "box": [1, 2, 4, 6], "crowd": False},
        {"label": 0, "box": [5, 6, 12, 14], "crowd": False},
    ]
    assert splits.train[1]["objects"] == []


@pytest.mark.shared
def test_the_blood_cells_are_read() -> None:
    folder = Path(__file__).parents[3] / "shared" / "data" / "object_detection" / "bccd"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    splits = load(folder)
    assert (len(splits.train), len(splits.eval), splits.labels) == (205, 72, ("Platelets", "RBC", "WBC"))
