"""Repositories of the Hub, from a cache laid out as the Hub's; nothing here reaches a network."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.constants as hub_constants
import pytest
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from perceivers.pretrained import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no way to the Hub."""
    monkeypatch.setattr(hub_constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def put(cache: Path, repo_id: str, files: dict[str, str], *, branch: str = "main", commit: str = COMMIT) -> Path:
    """Lay files into the cache as a download would."""
    repository = cache / ("models--" + repo_id.replace("/", "--"))
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for name, text in files.items():
        (snapshot / name).write_text(text, encoding="utf-8")
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / branch).write_text(commit, encoding="utf-8")
    return snapshot


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_cached_files_are_found(cache: Path, weights: str) -> None:
    snapshot = put(cache, "someone/model", {"config.json": "{}", weights: ""})
    assert hub.fetch("someone/model") == snapshot


def test_a_revision_is_kept_to(cache: Path) -> None:
    files = {"config.json": "{}", "model.safetensors": ""}
    put(cache, "someone/model", files)
    other = put(cache, "someone/model", files, branch="v2", commit="f" * 40)
    assert hub.fetch("someone/model", revision="v2") == other
    assert hub.fetch("someone/model", revision="f" * 40) == other
    assert hub.fetch("someone/model") != other


@pytest.mark.parametrize("files", [{}, {"config.json": "{}"}, {"model.safetensors": ""}])
def test_what_is_not_cached_needs_the_hub(cache: Path, files: dict[str, str]) -> None:
    put(cache, "someone/model", files)
    with pytest.raises(
        ValueError, match="'someone/model' is not in the cache and the Hub cannot be reached; go online"
    ):
        hub.fetch("someone/model")


def test_an_absent_network_is_found_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was loaded before is used, and nothing else is waited for."""
    asked: list[str] = []

    def refuse(self: Any, repo_id: str, **_: Any) -> None:
        asked.append(repo_id)
        raise RuntimeError("name or service not known")

    monkeypatch.setattr(hub_constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", refuse)
    with pytest.raises(ValueError, match="'someone/model' is not in the cache and the Hub cannot be reached"):
        hub.fetch("someone/model")
    snapshot = put(tmp_path, "someone/model", {"config.json": "{}", "model.safetensors": ""})
    assert hub.fetch("someone/model") == snapshot
    assert asked == ["someone/model"] * 2


WHOLE = {"config.json": "{}", "model.safetensors": ""}


def test_what_is_cached_can_be_had_and_the_hub_is_not_asked(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(cache, "someone/model", WHOLE)
    put(cache, "someone/half", {"config.json": "{}"})
    assert not hub.obtainable("someone/half")
    assert not hub.obtainable("someone/other")
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: pytest.fail("asked"))
    assert hub.obtainable("someone/model")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(None, True), (RepositoryNotFoundError, False), (HfHubHTTPError, False), (RuntimeError, False)],
)
def test_what_is_not_cached_can_be_had_where_the_hub_has_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, expected: bool
) -> None:
    def ask(*_: Any, **__: Any) -> None:
        if answer is not None:
            raise answered(answer)() if issubclass(answer, HfHubHTTPError) else answer("no route to the host")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", ask)
    assert hub.obtainable("someone/model") is expected
    assert hub.hub_answers("someone/model", None) is (answer is not RuntimeError)


def answered(kind: type[HfHubHTTPError]) -> Callable[[], Exception]:
    response: Any = SimpleNamespace(headers={}, request=None, status_code=404)
    return lambda: kind("first line\nsecond line", response=response)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (answered(RepositoryNotFoundError), "the Hub has no repository 'a/b', or it is private and no token"),
        (answered(GatedRepoError), "'a/b' is open only to those who asked for access; log in with `hf auth login`"),
        (answered(RevisionNotFoundError), "'a/b' has no revision 'v9'"),
        (answered(HfHubHTTPError), "'a/b' cannot be loaded from the Hub: first line$"),
        (lambda: OSError("disk full"), "'a/b' cannot be loaded from the Hub: disk full"),
        (lambda: OSError(), "'a/b' cannot be loaded from the Hub: OSError"),
    ],
)
def test_what_the_hub_says_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception], message: str
) -> None:
    def download(repo_id: str, name: str, **_: Any) -> str:
        raise error()

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "hub_answers", lambda *_: True)
    with pytest.raises(ValueError, match=message):
        hub.fetch("a/b", revision="v9")


def test_a_repository_without_weights_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repo_id: str, name: str, **_: Any) -> str:
        if name != "config.json":
            raise EntryNotFoundError(name)
        return f"/cache/{name}"

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "hub_answers", lambda *_: True)
    with pytest.raises(
        ValueError, match=r"'a/b' lacks config.json or all of \['model.safetensors', 'pytorch_model.bin'"
    ):
        hub.fetch("a/b")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("deepmind/language-perceiver", True), ("language", False), ("a/b/c", False), ("./a", False), ("a b/c", False)],
)
def test_names_of_repositories(name: str, expected: bool) -> None:
    assert hub.is_repo_id(name) is expected
