import json
import math
from pathlib import Path

import pytest
import torch

from bench_fakes import TINY
from perceivers.benchmark import memory, worker
from perceivers.config import to_json


@pytest.fixture(autouse=True)
def _memory_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "limit_memory", lambda: None)


def dialogue(folder: Path, maker: str, *questions: str) -> list[dict]:
    job = json.dumps({"maker": f"bench_fakes:{maker}", "case": to_json(TINY)})
    (folder / "questions").write_text("\n".join([job, *questions]))
    with (folder / "questions").open() as asked, (folder / "answers").open("w") as answers:
        worker.serve(asked, answers)
    return [json.loads(line) for line in (folder / "answers").read_text().splitlines()]


def test_it_loads_runs_and_weighs(tmp_path: Path) -> None:
    answers = dialogue(tmp_path, "slow", "run", "run", "memory")
    assert len(answers) == 4, answers
    loaded, first, second, weighed = answers
    assert loaded == {"note": "slow: sleeps", "checks": False}
    for ran in (first, second):
        # Three times what was timed.
        assert 0.15 <= ran["seconds"] < 1
    assert 0 <= weighed["extra_mib"] <= weighed["peak_mib"] or not memory.reset_peak()


def test_what_runs_add_is_unknown_where_the_peak_does_not_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "reset_peak", lambda: False)
    *_, weighed = dialogue(tmp_path, "slow", "run", "memory")
    assert math.isnan(weighed["extra_mib"])
    assert weighed["peak_mib"] > 0


def test_it_ends_after_a_failure(tmp_path: Path) -> None:
    assert dialogue(tmp_path, "unloadable", "run") == [{"failed": "ValueError: no such model in this library"}]
    loaded, failed = dialogue(tmp_path, "hungry", "run", "run")
    assert loaded["checks"] is False
    assert failed["failed"].startswith("ran out of memory")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system keeps no peak that begins anew")
def test_peaks_begin_anew_and_see_what_is_taken() -> None:
    torch.zeros(2**25).add_(1)  # 128 MiB
    permitted = memory.reset_peak()
    before = memory.peak_mib()
    if permitted:
        assert before - memory.resident_mib() < 8
    taken = torch.ones(2**24)
    del taken
    if permitted:
        assert 60 <= memory.peak_mib() - before <= 80
    assert memory.free_mib() is not None


def test_peaks_come_from_another_source_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = memory.peak_mib()
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "absent")
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "absent" / "too")
    assert not memory.reset_peak()
    # Of the whole life of the process, so that it may only be more.
    assert memory.peak_mib() >= expected - 1
    assert memory.resident_mib() == memory.peak_mib()


def test_limits_are_a_share_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.undo()
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limit: limits.append(limit))
    monkeypatch.setattr(memory, "free_mib", lambda: 1000.0)
    memory.limit_memory()
    assert limits[0][0] == 850 * 2**20
    monkeypatch.setattr(memory, "free_mib", lambda: None)
    memory.limit_memory()
    assert len(limits) == 1
