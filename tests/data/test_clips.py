"""Folders and tables of videos, and roles that are optional."""

from pathlib import Path
from typing import Any

import pytest

from perceivers.data import DataConfig, DataError, Splits, load_data

SHARED = Path(__file__).parents[3] / "shared" / "data" / "video"


def load(source: Path, **fields: Any) -> Splits:
    return load_data(DataConfig(source=str(source), **fields), ("video",), optional_roles=("label",))


def write_clips(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Data are checked by name and existence alone: decoding all videos would take hours.
        path.write_bytes(b"clip")


def test_class_folders(tmp_path: Path) -> None:
    write_clips(tmp_path, ("run/1.mp4", "run/2.avi", "run/.hidden.mp4", "swim/a/1.MOV", "swim/2.webm"))
    (tmp_path / "run" / "notes.txt").write_text("Filmed in May.")
    splits = load(tmp_path)
    assert splits.labels == ("run", "swim")
    assert (len(splits.train), len(splits.eval)) == (2, 2)
    rows = [*splits.train, *splits.eval]
    found = {Path(row["video"]).relative_to(tmp_path).as_posix(): row["label"] for row in rows}
    assert found == {"run/1.mp4": 0, "run/2.avi": 0, "swim/a/1.MOV": 1, "swim/2.webm": 1}


def test_a_folder_named_from_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(f"{label}/{i}.mp4" for label in "ab" for i in range(5))
    write_clips(tmp_path / "data" / "clips", names)
    monkeypatch.chdir(tmp_path)
    assert set(load(Path("data/clips")).train["video"]) <= {str(tmp_path / "data/clips" / name) for name in names}


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    write_clips(tmp_path, ("train/1.mp4", "train/2.mp4", "test/3.mp4"))
    splits = load(tmp_path)
    assert splits.labels is None
    assert splits.train.column_names == ["video"]
    assert splits.train["video"][:] == [str(tmp_path / "train" / f"{i}.mp4") for i in (1, 2)]
    assert splits.eval["video"][:] == [str(tmp_path / "test" / "3.mp4")]
    assert not splits.held_out


def test_one_class_is_enough_where_labels_are_optional(tmp_path: Path) -> None:
    write_clips(tmp_path, ("run/1.mp4", "run/2.mp4"))
    assert load(tmp_path).labels == ("run",)
    with pytest.raises(DataError, match="at least 2 labels"):
        load_data(DataConfig(source=str(tmp_path)), ("video", "label"))


def test_an_optional_role_counts_if_every_split_has_it(tmp_path: Path) -> None:
    write_clips(tmp_path, ("train/run/1.mp4", "train/swim/2.mp4", "test/3.mp4"))
    splits = load(tmp_path)
    assert splits.labels is None
    assert splits.train.column_names == splits.eval.column_names == ["video"]
    with pytest.raises(DataError, match=r"\[eval\] has no column for 'label'"):
        load_data(DataConfig(source=str(tmp_path)), ("video", "label"))


def test_a_named_optional_column_must_be_there(tmp_path: Path) -> None:
    write_clips(tmp_path, ("1.mp4", "2.mp4"))
    with pytest.raises(DataError, match="no column 'sport'"):
        load(tmp_path, columns={"label": "sport"})


def test_tables_of_clips(tmp_path: Path) -> None:
    write_clips(tmp_path, ("clips/1.mp4", "clips/2.mp4", "clips/3.txt"))
    table = tmp_path / "all.csv"
    table.write_text("video,label\nclips/1.mp4,a\nclips/2.mp4,b\nclips/1.mp4,a\nclips/2.mp4,b\n")
    splits = load(table)
    assert splits.labels == ("a", "b")
    assert splits.train[0]["video"] == str(tmp_path / "clips" / "1.mp4")
    for wrong, message in (
        ("clips/9.mp4", "9.mp4 does not exist"),
        ("clips/3.txt", "must end in one of"),
        ("", "miss"),
    ):
        table.write_text(f"video,label\nclips/1.mp4,a\n{wrong},b\n")
        with pytest.raises(DataError, match=rf"all\.csv, line 3: .*{message}"):
            load(table)


def test_clips_beside_class_folders_are_refused(tmp_path: Path) -> None:
    write_clips(tmp_path, ("run/1.mp4", "2.mp4"))
    with pytest.raises(DataError, match=r"2\.mp4: beside the class folder run"):
        load(tmp_path)
    (tmp_path / "2.mp4").unlink()
    (tmp_path / "swim").mkdir()
    with pytest.raises(DataError, match="swim: the class folder has no videos"):
        load(tmp_path)


def test_a_folder_without_clips(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found neither videos"):
        load(tmp_path)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data beside the repository")
def test_shared_clips() -> None:
    splits = load(SHARED)
    assert len(splits.train) + len(splits.eval) == 4
