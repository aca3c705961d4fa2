"""`perceivers bench`: its table, its files and its errors."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import perceivers.benchmark as benchmark
import perceivers.benchmark.cases as cases
from bench_fakes import MACHINE, TINY, library
from perceivers.benchmark import Library


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """One small workload, one peer that sleeps, on a machine that is known."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(cases, "WORKLOADS", {"tiny": TINY})
    peers = {"slow": library("slow"), "transformers": replace(library("slow"), name="transformers", module="absent_")}
    monkeypatch.setattr(benchmark, "PEERS", peers)
    monkeypatch.setattr(benchmark, "find_machine", lambda threads, peers: replace(MACHINE, threads=threads))


@pytest.mark.usefixtures("tiny")
def test_table_json_plot_and_markdown(cli, tmp_path: Path) -> None:
    files = {"--json": tmp_path / "a.json", "--plot": tmp_path / "a.png", "--markdown": tmp_path / "a.md"}
    words = [word for pair in files.items() for word in pair]
    result = cli("bench", "--pairs", 2, "--threads", 1, "--only", "tiny", "--seed", 3, *words)
    assert result.exit_code == 0, result.output
    for text in ("a | b, 1 threads", "tiny", "slow", "tiny: 8x8 digits; slow: sleeps", "peer / ours"):
        assert text in result.stdout
    assert "'torch' is not installed and is left out" in result.stderr
    (row,) = json.loads(files["--json"].read_text())
    assert row["workload"] == "tiny"
    assert row["peer"] == "slow"
    assert row["pairs"] == 2
    assert 0 < row["ratio_min"] <= row["ratio_median"] <= row["ratio_max"]
    assert files["--plot"].read_bytes().startswith(b"\x89PNG")
    assert "| tiny | slow |" in files["--markdown"].read_text()
    assert sorted(tmp_path.iterdir()) == sorted(files.values())


@pytest.mark.usefixtures("tiny")
def test_a_failure_is_a_line_and_nothing_at_all_is_an_error(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "WORKLOADS", {"tiny": replace(TINY, model="language-small")})
    result = cli("bench", "--pairs", 1, "--json", tmp_path / "a.json")
    assert result.exit_code == 2
    assert "failed" in result.stdout
    assert "error: nothing could be measured" in result.stderr
    (row,) = json.loads((tmp_path / "a.json").read_text())
    assert "needs a model with" in row["error"] or "image-classification" in row["error"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "films"], "error: workload 'films' not found; choices = "),
        (["--peer", "keras"], "error: peer 'keras' not found; choices = ['transformers', 'perceiver-io'"),
        (["--plot", "a.gif"], "error: plot 'a.gif' must end in one of"),
        (["--json", "."], "error: '.' is a folder; name a file"),
        (["--markdown", "/"], "error: '/' is a folder; name a file"),
    ],
)
def test_mistakes_are_one_line(cli, options: list[str], message: str) -> None:
    result = cli("bench", *options)
    assert result.exit_code == 2
    assert result.stderr.startswith(message)
    assert result.stdout == ""


def test_all_peers_are_known_by_name() -> None:
    known: dict[str, Any] = dict(benchmark.PEERS)
    assert list(known) == ["transformers", "perceiver-io", "perceiver-pytorch"]
    assert all(isinstance(peer, Library) for peer in known.values())
