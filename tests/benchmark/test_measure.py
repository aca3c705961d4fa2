from dataclasses import replace
from pathlib import Path

import pytest

from bench_fakes import MACHINE, TINY, library
from perceivers.benchmark import OURS, Row, Schedule, measure
from perceivers.benchmark.machine import cpu_name, measure_peak, physical_cores
from perceivers.benchmark.measure import _Common, _row, _Side, _take_turns
from perceivers.benchmark.process import Worker, WorkerError

SCHEDULE = Schedule(pairs=2)


@pytest.fixture(autouse=True)
def _fakes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


def rows_of(*makers: str) -> dict[str | None, Row]:
    told: list[str] = []
    (rows,) = measure([TINY], [library(maker) for maker in makers], SCHEDULE, MACHINE, tell=told.append)
    assert [line.partition(":")[0] for line in told] == ["tiny"]
    return {row.peer: row for row in rows}


def test_both_are_run_in_pairs() -> None:
    row = rows_of("slow")["slow"]
    assert row.error == ""
    assert row.pairs == 2
    assert row.peer_seconds is not None
    assert 0.15 <= row.peer_seconds < 1
    assert row.ours_seconds is not None
    assert row.ratio_min is not None
    assert row.ratio_median is not None
    assert row.ratio_max is not None
    assert 0 < row.ratio_min <= row.ratio_median <= row.ratio_max
    assert row.ours_mib is not None
    assert row.ours_extra_mib is not None
    assert 0 <= row.ours_extra_mib < row.ours_mib
    assert row.max_relative_error is not None
    assert 0 < row.max_relative_error < 1e-5
    assert row.gflop is not None
    assert row.peak_share == pytest.approx(row.gflop / row.ours_seconds / 100)
    assert row.note == "8x8 digits; slow: sleeps"


def test_a_peer_that_fails_loses_only_its_own_figures() -> None:
    rows = rows_of("unloadable", "hungry", "dying", "slow")
    assert rows["unloadable"].error == "unloadable: ValueError: no such model in this library"
    assert rows["hungry"].error.startswith("hungry: ran out of memory: DefaultCPUAllocator")
    assert rows["dying"].error == "dying: its process ended with code 3: out of patience"
    for name in ("unloadable", "hungry", "dying"):
        assert rows[name].ratio_median is None
        assert rows[name].peer_seconds is None
        assert rows[name].ours_seconds is not None
    assert rows["slow"].ratio_median is not None


def test_ours_may_be_alone_and_may_fail() -> None:
    schedule = Schedule(pairs=1)
    (rows,) = measure([TINY], [library("slow", "another workload")], schedule, MACHINE, tell=lambda line: None)
    assert [row.peer for row in rows] == [None]
    assert rows[0].ours_seconds is not None
    assert rows[0].pairs == 1
    broken = replace(TINY, text="x", task="fill-mask", model="language-small", hide="not there")
    (rows,) = measure([broken], [], schedule, MACHINE, tell=lambda line: None)
    assert "does not stand in" in rows[0].error
    assert rows[0].ours_seconds is None


def test_training_is_measured_and_compared() -> None:
    case = replace(TINY, training=True, batch_size=2)
    (rows,) = measure([case], [], Schedule(pairs=1), MACHINE, tell=lambda line: None)
    assert rows[0].error == ""
    assert rows[0].max_relative_error is not None
    assert 0 < rows[0].max_relative_error < 1e-5


class _Clock(Worker):
    """A worker without a process, that says how long it took."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = [float(value) for value in seconds]
        self.closed = False

    def run(self) -> float:
        if not self.seconds:
            raise WorkerError("no time left")
        return self.seconds.pop(0)

    def close(self) -> None:
        self.closed = True


def sides(*clocks: _Clock) -> list[_Side]:
    return [_Side(library("slow"), worker=clock) for clock in clocks]


def test_ratios_are_those_of_pairs_and_the_first_runs_warm_up() -> None:
    ours, peer = sides(_Clock(9, 1, 2, 4), _Clock(99, 3, 4, 20))
    assert not _take_turns([ours, peer], Schedule(pairs=3))
    common = _Common(case=TINY, note="", gflop=8.0, error=1e-6, machine=MACHINE)
    row = _row(common, ours, peer)
    assert (row.ratio_min, row.ratio_median, row.ratio_max) == (2, 3, 5)
    assert (row.ours_seconds, row.peer_seconds) == (2, 4)
    assert row.peak_share == pytest.approx(8 / 2 / 100)
    assert row.max_relative_error == 1e-6


def test_pairs_end_when_their_time_is_spent() -> None:
    ours, peer = sides(_Clock(*[1.0] * 20), _Clock(*[2.0] * 20))
    _take_turns([ours, peer], Schedule(fewest=2, most=9, seconds=10.0))
    assert ours.seconds == [1.0] * 4  # 3 seconds a pair
    ours, peer = sides(_Clock(*[10.0] * 20), _Clock(*[20.0] * 20))
    _take_turns([ours, peer], Schedule(fewest=2, most=9, seconds=10.0))
    assert ours.seconds == [10.0] * 2
    ours, peer = sides(_Clock(*[0.1] * 20), _Clock(*[0.1] * 20))
    _take_turns([ours, peer], Schedule(fewest=2, most=9, seconds=10.0))
    assert ours.seconds == [0.1] * 9


def test_long_first_runs_count_where_time_is_short() -> None:
    ours, peer = sides(_Clock(3, 1), _Clock(6, 1))
    assert _take_turns([ours, peer], Schedule(cold_after=8.0))
    assert (ours.seconds, peer.seconds) == ([3], [6])


def test_a_side_that_fails_later_keeps_its_reason_and_is_ended() -> None:
    clock = _Clock(1, 1)
    ours, peer = sides(_Clock(*[1.0] * 9), clock)
    _take_turns([ours, peer], Schedule(pairs=3))
    assert peer.problem == "no time left"
    assert clock.closed
    assert ours.seconds == [1.0] * 3


def test_silence_is_an_error() -> None:
    worker = Worker(library("slow"), TINY, threads=1, timeout=0.01)
    try:
        with pytest.raises(WorkerError, match=r"no answer within 0 s"):
            worker.loaded()
    finally:
        worker.close()


def test_the_machine_is_described() -> None:
    assert physical_cores() >= 1
    assert cpu_name()
    assert measure_peak(1) > 0.1
    assert OURS.version is not None


def test_a_machine_that_multiplies_nothing_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perceivers.benchmark.machine._MATMUL", library("unloadable"))
    # Of the kind that the command line prints without a traceback.
    with pytest.raises(ValueError, match=r"^ValueError: no such model in this library$"):
        measure_peak(1)


def test_schedules_need_a_pair() -> None:
    with pytest.raises(ValueError, match=r"pairs \(0\) must be at least 1"):
        Schedule(pairs=0)
