"""Files in class folders, tables of sound, and rows of several labels."""

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile

from perceivers.data import DataConfig, DataError, Splits, load_data, predict_inputs
from perceivers.data.columns import with_roles


def load(source: Path, **fields: Any) -> Splits:
    return load_data(DataConfig(source=str(source), **fields), ("audio", "label"))


def write_sounds(folder: Path, names: tuple[str, ...]) -> None:
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.full(80 + i, 0.1), 8000)


def found(part: Any, folder: Path, labels: tuple[str, ...] | None) -> dict[str, str]:
    assert labels is not None
    return {Path(row["audio"]).relative_to(folder).as_posix(): labels[row["label"]] for row in part}


def test_splits_of_class_folders(tmp_path: Path) -> None:
    write_sounds(tmp_path, ("train/cat/1.wav", "train/dog/a/2.FLAC", "test/dog/3.wav", "test/cat/.hidden.wav"))
    write_sounds(tmp_path, ("test/cat/4.ogg",))
    (tmp_path / "train" / "cat" / "notes.txt").write_text("Recorded in May.")
    splits = load(tmp_path)
    assert splits.labels == ("cat", "dog")
    assert found(splits.train, tmp_path, splits.labels) == {"train/cat/1.wav": "cat", "train/dog/a/2.FLAC": "dog"}
    assert found(splits.eval, tmp_path, splits.labels) == {"test/cat/4.ogg": "cat", "test/dog/3.wav": "dog"}
    assert not splits.held_out


def test_class_folders_with_splits_in_them(tmp_path: Path) -> None:
    write_sounds(tmp_path, ("cat/train/1.wav", "cat/test/2.wav", "dog/train/3.wav", "dog/test/4.wav"))
    splits = load(tmp_path)
    assert found(splits.train, tmp_path, splits.labels) == {"cat/train/1.wav": "cat", "dog/train/3.wav": "dog"}
    assert found(splits.eval, tmp_path, splits.labels) == {"cat/test/2.wav": "cat", "dog/test/4.wav": "dog"}


def test_class_folders_without_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sounds(tmp_path / "data", tuple(f"{label}/{i}.wav" for label in ("cat", "dog") for i in range(5)))
    monkeypatch.chdir(tmp_path)
    splits = load(Path("data"))
    assert (len(splits.train), len(splits.eval), splits.held_out) == (8, 2, True)


def test_what_is_wrong_with_folders(tmp_path: Path) -> None:
    write_sounds(tmp_path, ("cat/1.wav", "dog/2.wav"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: the class folder has no sounds; known kinds = \['.wav'"):
        load(tmp_path)
    (tmp_path / "empty").rmdir()
    write_sounds(tmp_path, ("loose.wav",))
    with pytest.raises(DataError, match=r"loose.wav: a sound beside class folders"):
        load(tmp_path)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match=r"found neither sounds in class folders .* nor tables"):
        load(tmp_path / "nothing")


def test_a_table_beside_the_folders_that_it_names(tmp_path: Path) -> None:
    for split in ("train", "test"):
        names = tuple(f"{split}/{digit}_ann_{take}.wav" for digit in (3, 12) for take in range(2))
        write_sounds(tmp_path, names)
        rows = "".join(f"{name},{Path(name).name.split('_')[0]}\n" for name in names)
        (tmp_path / f"{split}.csv").write_text(f"file,label\n{rows}")
    splits = load(tmp_path)
    assert splits.labels == ("3", "12")
    assert found(splits.eval, tmp_path, splits.labels)["test/12_ann_1.wav"] == "12"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "line 3: sound file '.*b.wav' does not exist"), (b"words", "line 3: file '.*b.wav' cannot be read")],
)
def test_broken_files_are_named_with_their_row(tmp_path: Path, content: bytes | None, message: str) -> None:
    write_sounds(tmp_path, ("a.wav",))
    if content is not None:
        (tmp_path / "b.wav").write_bytes(content)
    (tmp_path / "train.csv").write_text("file,label\na.wav,x\nb.wav,y\n")
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_sound_of_hugging_face_data_sets_is_not_decoded_by_them(tmp_path: Path) -> None:
    write_sounds(tmp_path, ("a.wav",))
    stored = {"bytes": None, "path": str(tmp_path / "a.wav")}
    part = datasets.Dataset.from_dict({"audio": [stored], "label": ["x"]})
    part = part.cast_column("audio", datasets.Audio(sampling_rate=8000))
    kept = with_roles(part, ("audio", "label"), DataConfig(source="on/the-hub"), "here")
    assert kept[0]["audio"] == stored


def test_rows_of_several_labels(tmp_path: Path) -> None:
    write_sounds(tmp_path, ("a.wav", "b.wav"))
    rows = [{"audio": "a.wav", "labels": ["dog", "car"]}, {"audio": "b.wav", "labels": []}]
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps(row) for row in rows * 5))
    splits = load(tmp_path)
    assert splits.labels == ("car", "dog")
    assert (len(splits.train), len(splits.eval)) == (8, 2)
    # In the order in which the row has them.
    assert set(map(tuple, [*splits.train["label"], *splits.eval["label"]])) == {(), (1, 0)}
    again = load_data(DataConfig(source=str(tmp_path)), ("audio", "label"), labels=("dog", "bird", "car"))
    assert [0, 2] in again.train["label"][:]
    with pytest.raises(DataError, match=r"train.jsonl, line 1: label 'car' is not one of the known labels \['dog'"):
        load_data(DataConfig(source=str(tmp_path)), ("audio", "label"), labels=("dog", "bird"))
    rows[0]["labels"] = ["dog", None]
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(DataError, match="line 1: the label is missing"):
        load(tmp_path)


def test_folders_of_sound_to_predict_on(tmp_path: Path) -> None:
    write_sounds(tmp_path, ("b/2.wav", "1.wav"))
    names = [str(tmp_path / "1.wav"), str(tmp_path / "b" / "2.wav")]
    assert list(predict_inputs([str(tmp_path)], "audio")) == [(name, name) for name in names]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="the folder has no sounds"):
        list(predict_inputs([str(tmp_path / "empty")], "audio"))
