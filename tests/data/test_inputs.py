"""Inputs to predict on: files, folders, stdin and text."""

from io import StringIO
from pathlib import Path

import pytest
from PIL import Image

from perceivers.data import DataError, predict_inputs


def test_images_of_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    paths = [tmp_path / "b" / "2.png", tmp_path / "b" / "c" / "1.JPG"]
    for path in paths:
        Image.new("L", (2, 2)).save(path)
    (tmp_path / "b" / "note.txt").write_text("no image")
    names = [str(path) for path in paths]
    assert list(predict_inputs([str(tmp_path / "b"), names[0]], "image")) == [(n, n) for n in [*names, names[0]]]


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images"):
        list(predict_inputs([str(tmp_path)], "image"))


@pytest.mark.parametrize("name", ["a.txt", "notes.md"])
def test_lines_of_a_text_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("one\n\ntwo\x0c2\n", encoding="utf-8")
    assert list(predict_inputs([str(path)], "text")) == [(f"{path}:1", "one"), (f"{path}:3", "two\x0c2")]


def test_text_as_it_is() -> None:
    long = "long " * 2000
    assert list(predict_inputs(["hello there", long], "text")) == [("hello there", "hello there"), (long, long)]


def test_stdin() -> None:
    assert list(predict_inputs(["-"], "text", StringIO("a\n\nb\n"))) == [("a", "a"), ("b", "b")]


def test_nothing_to_predict_on() -> None:
    for arguments in ([], [""]):
        with pytest.raises(DataError, match="nothing"):
            list(predict_inputs(arguments, "text"))
