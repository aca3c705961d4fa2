from pathlib import Path

import pytest
from PIL import Image

from perceivers.processing.files import whole_file, write_picture, write_whole


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "metrics.json"
    write_whole(path, "old")

    def fail(source: Path, target: Path) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("perceivers.processing.files.os.replace", fail)
        with pytest.raises(OSError, match="disk full"):
            write_whole(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(path.parent.iterdir()) == [path]
    write_whole(path, "new")
    assert path.read_text(encoding="utf-8") == "new"


def test_a_picture_has_the_format_of_its_name(tmp_path: Path) -> None:
    write_picture(tmp_path / "red.png", Image.new("RGB", (3, 2), "red"))
    with Image.open(tmp_path / "red.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (3, 2))


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write() -> None:
        with whole_file(tmp_path / "result.npy") as partial:
            partial.write_bytes(b"half")
            raise KeyError("stopped")

    with pytest.raises(KeyError):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"folder '.*absent' of file 'x.txt' does not exist"),
        whole_file(tmp_path / "absent" / "x.txt"),
    ):
        pass
