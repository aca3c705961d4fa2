"""`perceivers push`, to a stand-in of the Hub."""

import json
from pathlib import Path

import pytest

from hub_server import Hub


def test_a_trained_model_is_published_with_its_card(
    cli, trained: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    result = cli("push", trained, "someone/texts", "--message", "A first try", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "repo_id": "someone/texts",
        "commit": f"{hub.address}/someone/texts/commit/abc",
    }
    assert {"README.md", "model.safetensors", "recipe.yaml", "metrics.json"} <= set(hub.files)
    assert b"pipeline_tag: text-classification" in hub.files["README.md"]
    assert hub.messages == ["A first try"]


def test_a_refusal_is_told(cli, trained: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "wrong")
    result = cli("push", trained, "someone/texts")
    assert result.exit_code == 2
    assert "hf auth login" in result.stderr
