"""Repositories with weights in several files, and with a way of preparing images."""

import json
from pathlib import Path

import huggingface_hub.constants as hub_constants
import pytest

from perceivers.pretrained import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a cached repository that holds an index and a config, and no way to the Hub."""
    monkeypatch.setattr(hub_constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "models--someone--model" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs" / "main").write_text(COMMIT)
    places = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / "model-00001-of-00002.safetensors").write_text("")
    return folder


def test_all_files_of_an_index_are_asked_for(snapshot: Path) -> None:
    with pytest.raises(ValueError, match="'someone/model' is not in the cache and the Hub cannot be reached"):
        hub.fetch("someone/model")
    (snapshot / "model-00002-of-00002.safetensors").write_text("")
    assert hub.fetch("someone/model") == snapshot


def test_an_index_cannot_ask_for_files_elsewhere(snapshot: Path) -> None:
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../../../secret"}}))
    with pytest.raises(ValueError, match=r"names '\.\./\.\./\.\./secret', which does not lie beside it"):
        hub.fetch("someone/model")
