"""Publishing, to a stand-in of the Hub."""

from pathlib import Path

import huggingface_hub.constants as hub_constants
import pytest

import perceivers
from hub_server import Hub
from perceivers.pretrained.folder import load_folder, own_tensors, save_folder
from perceivers.pretrained.load import seeded_model
from perceivers.pretrained.publish import push_to_hub
from train_examples import tiny_config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_folder(seeded_model(tiny_config(), 3), tmp_path / "model")
    for name in ("README.md", "recipe.yaml", "notes.txt", "checkpoints/step-2/model.safetensors"):
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_text("text")
    return tmp_path / "model"


def test_what_is_published_can_be_loaded(hub: Hub, folder: Path, tmp_path: Path) -> None:
    address = perceivers.push_to_hub(folder, "someone/shades", private=True, token="secret")
    assert address == f"{hub.address}/someone/shades/commit/abc"
    wanted = hub.repositories["someone/shades"]
    assert wanted.get("visibility") == "private" or wanted.get("private") is True
    assert hub.messages == ["Upload a model of perceivers"]
    # Neither checkpoints nor what lies there by chance.
    assert sorted(hub.files) == ["README.md", "config.json", "model.safetensors", "recipe.yaml"]
    for name, content in hub.files.items():
        (tmp_path / "copy").mkdir(exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(content)
    ours, theirs = (own_tensors(load_folder(path)[0]) for path in (folder, tmp_path / "copy"))
    assert all((ours[name] == theirs[name]).all() for name in ours)


def test_refusals_are_told(hub: Hub, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="repository 'shades' must have the form owner/name"):
        push_to_hub(folder, "shades", token="secret")
    with pytest.raises(ValueError, match=r"is no saved model: it has no config\.json"):
        push_to_hub(tmp_path, "someone/shades", token="secret")
    with pytest.raises(ValueError, match="lets nobody unknown write 'someone/shades': log in with `hf auth login`"):
        push_to_hub(folder, "someone/shades", token="wrong")
    hub.status = 403
    with pytest.raises(ValueError, match=r"'someone/shades' cannot be written to the Hub: .*403"):
        push_to_hub(folder, "someone/shades", token="secret")
    assert not hub.files


def test_offline_nothing_is_tried(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="cannot be written in offline mode"):
        push_to_hub(folder, "someone/shades", token="secret")
