import os
import shutil
from pathlib import Path

import pytest
from accelerate import Accelerator
from torch import nn

from perceivers.train.checkpoint import checkpoints, latest_checkpoint, write_checkpoint


@pytest.fixture
def accelerator() -> Accelerator:
    accelerator = Accelerator()
    accelerator.prepare(nn.Linear(2, 2))
    return accelerator


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_only_the_newest_are_kept(accelerator: Accelerator, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    assert latest_checkpoint(folder) is None
    for step in (1, 2, 9, 10):
        written = write_checkpoint(accelerator, folder, step, keep=2)
        assert latest_checkpoint(folder) == written
        assert (written / "model.safetensors").is_file()
    assert names(folder) == ["step-00000009", "step-00000010"]


def test_leftovers_are_neither_taken_nor_kept(accelerator: Accelerator, tmp_path: Path) -> None:
    whole = write_checkpoint(accelerator, tmp_path, 3, keep=2)
    for name in (".step-00000004.partial", ".step-00000001.dropped"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
    (tmp_path / "step-4").mkdir()
    assert checkpoints(tmp_path) == [whole]
    write_checkpoint(accelerator, tmp_path, 4, keep=2)
    assert names(tmp_path) == ["step-00000003", "step-00000004", "step-4"]


def test_a_crash_while_writing_leaves_the_last_one(
    accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_checkpoint(accelerator, tmp_path, 3, keep=1)

    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full_disk)
        with pytest.raises(OSError, match="no space"):
            write_checkpoint(accelerator, tmp_path, 4, keep=1)
    assert checkpoints(tmp_path) == [whole]
    assert names(tmp_path) == [".step-00000004.partial", "step-00000003"]
    assert write_checkpoint(accelerator, tmp_path, 4, keep=1) == latest_checkpoint(tmp_path)
    assert names(tmp_path) == ["step-00000004"]


def test_a_crash_while_deleting_leaves_no_half_checkpoint(
    accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(accelerator, tmp_path, 3, keep=1)
    with monkeypatch.context() as patch:
        deleted: list[Path] = []

        def delete_half(path: Path, ignore_errors: bool = False) -> None:
            if path.exists():
                deleted.append(path)
                next(path.iterdir()).unlink()
                raise OSError("killed")

        patch.setattr(shutil, "rmtree", delete_half)
        with pytest.raises(OSError, match="killed"):
            write_checkpoint(accelerator, tmp_path, 4, keep=1)
        assert deleted == [tmp_path / ".step-00000003.dropped"]
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000004"]


def test_the_same_step_is_replaced(accelerator: Accelerator, tmp_path: Path) -> None:
    first = write_checkpoint(accelerator, tmp_path, 3, keep=2)
    (first / "mark").touch()
    write_checkpoint(accelerator, tmp_path, 3, keep=2)
    assert names(tmp_path) == ["step-00000003"]
    assert not (first / "mark").exists()
