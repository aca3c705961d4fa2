"""Faults in data are found before training, and named: file, row, value and what was expected."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perceivers.data import DataConfig, DataError, load_data

TEXT_LABEL = ("text", "label")
IMAGE_LABEL = ("image", "label")


def refused(source: Path, roles: tuple[str, ...], *parts: str, **fields: object) -> None:
    """Expect an error whose message holds all `parts`."""
    with pytest.raises(DataError) as error:
        load_data(DataConfig(source=str(source), **fields), roles)
    missing = [part for part in parts if part not in str(error.value)]
    assert not missing, str(error.value)


def write_images(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for i in range(3):
            pixels = generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.jpg")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("text,label\na,x\n,y\n", ["line 3", "text", "''"]),
        ("text,label\na,x\n  ,y\n", ["line 3", "'  '"]),
        ("text,label\na,x\nb,\n", ["line 3", "label", "missing"]),
        ("text,label\na,x\nb\n", ["line 3", "1 cells", "label"]),
        ("text,label\na,x\nb,y,z\n", ["line 3", "3 cells"]),
        ('text,label\na,x\n"b,y\n', ["line 3"]),
        ("text,label\n", ["no rows"]),
        ("", ["empty"]),
        ("\n\n", ["no rows"]),
        ("body,label\na,x\nb,y\n", ["'text'", "body", "--column text="]),
        ("text,label\na,x\nb,x\n", ["2 labels", "'x'"]),
    ],
)
def test_faults_in_csv(tmp_path: Path, text: str, parts: list[str]) -> None:
    path = tmp_path / "all.csv"
    path.write_text(text)
    refused(path, TEXT_LABEL, "all.csv", *parts)


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ({"text": "b", "label": None}, ["missing"]),
        ({"text": "b"}, ["missing"]),
        ({"text": None, "label": "y"}, ["text", "None"]),
        ({"text": 5, "label": "y"}, ["5", "text"]),
        ({"text": "b", "label": 1.5}, ["1.5", "label"]),
        ({"text": "b", "label": True}, ["True", "label"]),
        ({"text": "b", "label": ["y"]}, ["y", "label"]),
        ([1, 2], ["[1, 2]", "object"]),
    ],
)
def test_faults_in_json_lines(tmp_path: Path, line: object, parts: list[str]) -> None:
    path = tmp_path / "all.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in [{"text": "a", "label": "x"}, line]))
    refused(path, TEXT_LABEL, "all.jsonl, line 2", *parts)


def test_text_that_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "all.jsonl").write_text('{"text": "a", "label": "x"}\n{broken\n')
    refused(tmp_path / "all.jsonl", TEXT_LABEL, "all.jsonl, line 2")


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_bytes(b"text,label\ncaf\xe9,x\n")
    refused(tmp_path / "all.csv", TEXT_LABEL, "all.csv", "UTF-8")


def test_a_broken_parquet_file(tmp_path: Path) -> None:
    (tmp_path / "all.parquet").write_text("no parquet")
    refused(tmp_path / "all.parquet", TEXT_LABEL, "all.parquet")


def test_an_empty_text_file(tmp_path: Path) -> None:
    (tmp_path / "all.txt").write_text(" \n\n")
    refused(tmp_path / "all.txt", ("text",), "all.txt")


def test_a_named_column_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("text,label\na,x\nb,y\n")
    refused(tmp_path / "all.csv", TEXT_LABEL, "'review'", "'text', 'label'", columns={"text": "review"})
    refused(tmp_path / "all.csv", TEXT_LABEL, "'image'", "'text', 'label'", columns={"image": "text"})


def test_a_label_that_only_the_evaluation_split_has(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,x\nb,y\n")
    (tmp_path / "test.csv").write_text("text,label\na,x\nb,z\n")
    refused(tmp_path, TEXT_LABEL, "test.csv, line 3", "'z'", "['x', 'y']")


def test_a_label_that_a_trained_model_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("text,label\na,x\nb,y\n")
    with pytest.raises(DataError, match=r"all\.csv, line 3: .*'y'.*\['x', 'w'\]"):
        load_data(DataConfig(source=str(tmp_path / "all.csv")), TEXT_LABEL, labels=("x", "w"))


def test_a_truncated_image(tmp_path: Path) -> None:
    write_images(tmp_path)
    path = tmp_path / "dog" / "1.jpg"
    path.write_bytes(path.read_bytes()[:700])
    refused(tmp_path, IMAGE_LABEL, str(path), "truncated")


def test_a_file_that_is_no_image(tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "dog" / "1.jpg").write_text("no image")
    refused(tmp_path, IMAGE_LABEL, str(tmp_path / "dog" / "1.jpg"))


def test_nothing_in_an_image_folder_is_passed_over(tmp_path: Path) -> None:
    write_images(tmp_path)
    stray = tmp_path / "dog" / "photo.heic"
    stray.write_bytes(b"?")
    refused(tmp_path, IMAGE_LABEL, str(stray))
    stray.unlink()
    loose = tmp_path / "loose.jpg"
    Image.new("RGB", (4, 4)).save(loose)
    refused(tmp_path, IMAGE_LABEL, str(loose))


def test_an_empty_class_folder(tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "eel").mkdir()
    refused(tmp_path, IMAGE_LABEL, str(tmp_path / "eel"), "no images")


def test_a_folder_without_data(tmp_path: Path) -> None:
    refused(tmp_path, IMAGE_LABEL, str(tmp_path), "images")
    refused(tmp_path, TEXT_LABEL, str(tmp_path), "train.csv")


def test_an_image_of_a_table_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("image,label\nabsent.jpg,x\nabsent.jpg,y\n")
    refused(tmp_path / "all.csv", IMAGE_LABEL, "all.csv, line 2", "absent.jpg")


def test_an_unknown_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "all.xlsx").write_text("?")
    refused(tmp_path / "all.xlsx", TEXT_LABEL, "'.xlsx'", ".csv")


def test_a_subset_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("text,label\na,x\nb,y\n")
    refused(tmp_path / "all.csv", TEXT_LABEL, "'nope'", subset="nope")


def test_a_data_set_that_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(name: str) -> None:
        raise ConnectionError("no way\nthere")

    monkeypatch.setattr("perceivers.data.opening._see_hub", unreachable)
    with pytest.raises(DataError, match=r"'nowhere'.*digits.*no way") as error:
        load_data(DataConfig(source="nowhere"), TEXT_LABEL)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"eval_fraction": 1.0}, "1.0"), ({"limit": 0}, "0"), ({"text_characters": 0}, "text_characters (0)")],
)
def test_configs_that_make_no_sense(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        DataConfig(source="digits", **fields)
