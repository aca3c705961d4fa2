import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from perceivers.adapters.image import ConvInputConfig
from perceivers.config import override, to_json
from perceivers.model import PerceiverIO
from perceivers.pretrained import files as files_module
from perceivers.pretrained import folder as folder_module
from perceivers.pretrained.folder import load_folder, own_tensors, save_folder
from perceivers.pretrained.load import seeded_model
from perceivers.zoo import ZOO
from train_examples import TINY, tiny_config


def text_model() -> PerceiverIO:
    changes = {**TINY, "inputs.max_length": 16, "queries.max_length": 16}
    return PerceiverIO(override(ZOO["language-small"].config, changes)).eval()


def conv_model() -> PerceiverIO:
    return PerceiverIO(override(tiny_config(), {"inputs": to_json(ConvInputConfig.example())})).eval()


def same(ours: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    return list(ours) == list(expected) and all(torch.equal(ours[name], expected[name]) for name in expected)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    save_folder(PerceiverIO(tiny_config()), folder, {"name": "image-classification"})
    return folder


def change_tensors(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def change_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads((folder / "config.json").read_text())
    change(document)
    (folder / "config.json").write_text(json.dumps(document))


def test_tied_embeddings_survive(tmp_path: Path) -> None:
    model = text_model()
    save_folder(model, tmp_path, None)
    stored = load_file(tmp_path / "model.safetensors")
    assert "inputs.embedding.weight" in stored
    assert "outputs.embedding.weight" not in stored
    loaded, task = load_folder(tmp_path)
    assert task is None
    assert loaded.config == model.config
    assert not loaded.training
    assert loaded.outputs.embedding.weight is loaded.inputs.embedding.weight
    batch = model.inputs.example_batch(2)
    assert torch.equal(loaded(batch), model(batch))


def test_batch_norm_buffers_survive(tmp_path: Path) -> None:
    model = conv_model()
    batch = model.inputs.example_batch(2)
    model.train()(batch)
    model.eval()
    assert int(own_tensors(model)["inputs.conv.norms.0.count"]) == 1
    task = {"name": "image-classification", "labels": ["a", "b"]}
    save_folder(model, tmp_path / "new" / "folder", task)
    loaded, found = load_folder(tmp_path / "new" / "folder")
    assert found == task
    assert same(own_tensors(loaded), own_tensors(model))
    assert torch.equal(loaded(batch), model(batch))


def test_only_two_files_are_left(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.safetensors"]
    save_folder(PerceiverIO(tiny_config()), saved)
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.safetensors"]


def test_other_memory_formats_are_saved_and_loaded(tmp_path: Path) -> None:
    model = conv_model().to(memory_format=torch.channels_last)
    save_folder(model, tmp_path)
    other = conv_model().to(memory_format=torch.channels_last)
    folder_module.load_weights(other, tmp_path / "model.safetensors")
    assert same(own_tensors(other), own_tensors(model))


def test_missing_and_left_over_tensors_are_named(saved: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        del tensors["encoder.latents"]
        tensors["extra"] = torch.zeros(1)

    change_tensors(saved, change)
    with pytest.raises(ValueError, match=r"1 missing \['encoder.latents'\], 1 left over \['extra'\]"):
        load_folder(saved)


def test_tensors_of_another_shape_are_named(saved: Path) -> None:
    change_tensors(saved, lambda tensors: tensors.update({"encoder.latents": torch.zeros(3, 16)}))
    with pytest.raises(ValueError, match=r"encoder.latents: \(3, 16\), the model has \(4, 16\)"):
        load_folder(saved)


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_cut_off_weights_are_refused(saved: Path, length: int) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"model.safetensors cannot be read"):
        load_folder(saved)


@pytest.mark.parametrize("content", [b'{"format": 1,', b"\xff\xfe", b""])
def test_broken_json_is_refused(saved: Path, content: bytes) -> None:
    (saved / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config.json is no JSON"):
        load_folder(saved)


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": 2}', "null"])
def test_other_formats_are_refused(saved: Path, content: str) -> None:
    (saved / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r'config.json must (be an object with "format": 1|hold an object, not )'):
        load_folder(saved)


def test_unknown_kinds_and_fields_are_named(saved: Path) -> None:
    change_config(saved, lambda document: document["model"]["inputs"].update({"kind": "smell"}))
    with pytest.raises(ValueError, match=r"model.inputs.kind 'smell' not found; choices = .*'image-pixels'"):
        load_folder(saved)
    change_config(saved, lambda document: document.pop("model"))
    with pytest.raises(ValueError, match=r"model lacks fields \['decoder', 'encoder', 'inputs', "):
        load_folder(saved)


def test_a_task_that_is_no_object_is_refused(saved: Path) -> None:
    change_config(saved, lambda document: document.update({"task": "image-classification"}))
    with pytest.raises(ValueError, match="task must be an object or null, not 'image-classification'"):
        load_folder(saved)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_absent_files_are_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(ValueError, match=f"is no saved model: it has no {name}"):
        load_folder(saved)


class Killed(BaseException):
    """Stands for a kill: nothing but clean-up runs after it."""


@pytest.mark.parametrize("call", range(1, 12))
def test_a_crash_while_saving_leaves_the_old_or_the_new_model(
    saved: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    old = own_tensors(load_folder(saved)[0])
    # Another size, so that a mixture of both would not even load.
    new = PerceiverIO(tiny_config({"encoder.num_latents": 7}))
    count = 0

    def crashing(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == call:
                raise Killed
            return function(*args, **kwargs)

        return counted

    with monkeypatch.context() as patch:
        for owner, name in ((files_module, "save_file"), (os, "replace"), (os, "rename"), (os, "fsync")):
            patch.setattr(owner, name, crashing(getattr(owner, name)))
        patch.setattr(Path, "write_text", crashing(Path.write_text))
        patch.setattr(Path, "rmdir", crashing(Path.rmdir))
        try:
            save_folder(new, saved, {"name": "new"})
        except Killed:
            pass
        else:
            assert count < call
    loaded, task = load_folder(saved)
    if task == {"name": "new"}:
        assert same(own_tensors(loaded), own_tensors(new))
    else:
        assert task == {"name": "image-classification"}
        assert same(own_tensors(loaded), old)
    save_folder(new, saved)
    assert same(own_tensors(load_folder(saved)[0]), own_tensors(new))
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.safetensors"]


def test_all_files_have_the_usual_permissions(tmp_path: Path) -> None:
    save_folder(seeded_model(tiny_config(), 0), tmp_path / "model")
    (tmp_path / "usual").touch()
    usual = (tmp_path / "usual").stat().st_mode
    assert {path.name: path.stat().st_mode for path in (tmp_path / "model").iterdir()} == {
        "config.json": usual,
        "model.safetensors": usual,
    }
