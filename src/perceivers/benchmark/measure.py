"""The measurement: all libraries take turns, one pair after the other, on one workload after the other."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from perceivers.benchmark.cases import Case
from perceivers.benchmark.libraries import OURS, Library
from perceivers.benchmark.machine import Machine
from perceivers.benchmark.process import Worker, WorkerError
from perceivers.planning import plan

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How often workloads are run.

    Args:
        pairs: Pairs of runs; `None` leaves it to the three below.
        fewest: At least so many pairs.
        most: At most so many.
        seconds: No further pair after so many seconds of runs.
        cold_after: When the first runs, which warm up, take longer than so many seconds together, they are the
            measurement; `None` never takes them.
    """

    pairs: int | None = None
    fewest: int = 3
    most: int = 7
    seconds: float = 60.0
    cold_after: float | None = None

    def __post_init__(self) -> None:
        if self.pairs is not None and self.pairs < 1:
            raise ValueError(f"pairs ({self.pairs}) must be at least 1")


QUICK = Schedule(fewest=1, most=3, seconds=2.0, cold_after=8.0)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One workload with one peer, or alone.

    Args:
        workload: Name of the workload.
        size: What grows, of a growth curve.
        peer: The other library; `None` when there is none.
        ratio_median: How many times as long the peer takes: the middle of all pairs.
        ratio_min: The least of all pairs.
        ratio_max: The most of all pairs.
        ours_seconds: Median of our seconds.
        peer_seconds: Median of the peer's.
        ours_mib: Peak memory of our whole process, in MiB.
        peer_mib: The same of the peer's.
        ours_extra_mib: What the runs added to what was there before the first, in MiB; NaN where the system does not
            say.
        peer_extra_mib: The same of the peer.
        max_relative_error: Largest error of our outputs against float64, relative to their root mean square.
        gflop: Operations of the model as it is written, in GFLOP; a fast path may do with less.
        peak_share: These in our seconds, as a share of what matrix products reach on the machine.
        pairs: Pairs of runs.
        note: What the figures stand for.
        error: What went wrong; the figures that depend on it are `None`.
        machine: What it was measured on.
    """

    workload: str
    size: int | None = None
    peer: str | None = None
    ratio_median: float | None = None
    ratio_min: float | None = None
    ratio_max: float | None = None
    ours_seconds: float | None = None
    peer_seconds: float | None = None
    ours_mib: float | None = None
    peer_mib: float | None = None
    ours_extra_mib: float | None = None
    peer_extra_mib: float | None = None
    max_relative_error: float | None = None
    gflop: float | None = None
    peak_share: float | None = None
    pairs: int = 0
    note: str = ""
    error: str = ""
    machine: Machine | None = None

    @property
    def title(self) -> str:
        """The workload, with its size where there is one."""
        return self.workload if self.size is None else f"{self.workload} {self.size:,}"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


@dataclass
class _Side:
    """What is known of one library."""

    library: Library
    worker: Worker | None = None
    note: str = ""
    checks: bool = False
    seconds: list[float] | None = None
    mib: float | None = None
    extra_mib: float | None = None
    problem: str = ""

    def attempt(self, work: Callable[[Worker], None]) -> None:
        """Do something with the worker; one that fails is ended, and keeps the reason."""
        if self.worker is None:
            return
        try:
            work(self.worker)
        except WorkerError as error:
            self.problem = str(error)
            self.end()

    def end(self) -> None:
        if self.worker is not None:
            self.worker.close()
        self.worker = None


def measure(
    cases: Sequence[Case], peers: Sequence[Library], schedule: Schedule, machine: Machine, *, tell: Tell
) -> Iterator[list[Row]]:
    """Yield the rows of each case, one a peer that can express it, as they are measured.

    Args:
        cases: The workloads.
        peers: The libraries beside ours.
        schedule: How often they run.
        machine: This machine.
        tell: Is told what has been measured, and how long that took, in a line.
    """
    # Workers of a workload load while the errors of the one before are computed; nothing is timed then.
    loading: list[_Side] = []

    def begin(case: Case) -> None:
        loading.extend(_Side(library) for library in (OURS, *peers) if library is OURS or library.runs(case))
        for side in loading:
            side.worker = Worker(side.library, case, threads=machine.threads)

    try:
        for i, case in enumerate(cases):
            start = time.monotonic()
            if not loading:
                begin(case)
            sides = list(loading)
            loading.clear()
            following = cases[i + 1 : i + 2]
            rows = _measure_case(case, sides, schedule, machine, lambda following=following: [*map(begin, following)])
            failed = ", failed in part" if any(row.error for row in rows) else ""
            tell(f"{case.title}: {time.monotonic() - start:.0f} s{failed}")
            yield rows
    finally:
        for side in loading:
            side.end()


def _measure_case(
    case: Case, sides: Sequence[_Side], schedule: Schedule, machine: Machine, when_timed: Callable[[], Any]
) -> list[Row]:
    """Measure one case with workers that are loading; `when_timed` is called when no more is timed."""
    ours = sides[0]
    error: float | None = None
    try:
        for side in sides:
            side.attempt(lambda worker, side=side: _load(side, worker))
        gflop = None if ours.worker is None else _gflop(case)
        cold = _take_turns(sides, schedule)
        for side in sides:
            side.attempt(lambda worker, side=side: _weigh(side, worker))
        for side in sides[1:]:
            side.end()
        when_timed()
        if case.check_error and ours.worker is not None and ours.checks:
            errors: list[float] = []
            ours.attempt(lambda worker: errors.append(worker.error()))
            error = errors[0] if errors else None
    finally:
        for side in sides:
            side.end()
    note = "; ".join(filter(None, [case.note, "first runs, nothing warmed up" if cold else ""]))
    common = _Common(case=case, note=note, gflop=gflop, error=error, machine=machine)
    rows = [_row(common, ours, side) for side in sides[1:]]
    return rows or [_row(common, ours, None)]


def _load(side: _Side, worker: Worker) -> None:
    told = worker.loaded()
    side.note, side.checks = str(told["note"]), bool(told["checks"])


def _weigh(side: _Side, worker: Worker) -> None:
    side.mib, side.extra_mib = worker.memory()


def _take_turns(sides: Sequence[_Side], schedule: Schedule) -> bool:
    """Run all sides in turns; return whether the first runs are the measurement."""
    first = _one_turn(sides)
    cold = schedule.pairs is None and schedule.cold_after is not None and sum(first) > schedule.cold_after
    if cold:
        return True
    for side in sides:
        side.seconds = []
    spent = 0.0
    for done in range(schedule.pairs or schedule.most):
        if schedule.pairs is None and done >= schedule.fewest and spent >= schedule.seconds:
            break
        spent += sum(_one_turn(sides))
    return False


def _one_turn(sides: Sequence[_Side]) -> list[float]:
    """Run each side once; return how long it took them. One that fails is not asked again."""
    taken: list[float] = []

    def run(worker: Worker, side: _Side) -> None:
        seconds = worker.run()
        side.seconds = [*(side.seconds or []), seconds]
        taken.append(seconds)

    for side in sides:
        side.attempt(lambda worker, side=side: run(worker, side))
    return taken


def _gflop(case: Case) -> float:
    """Return the operations of the model as it is written, by the count of `perceivers plan`."""
    length, wanted = case.length, None
    if case.text:
        length, wanted = len(case.text.encode()), case.text.count(case.hide) * len(case.hide.encode())
    counted = plan(
        case.model,
        batch_size=case.batch_size,
        length=length,
        num_outputs=wanted,
        training=case.training,
        overrides=case.changes,
        measure=False,
    )
    return counted.flops / 1e9


@dataclass(frozen=True, kw_only=True)
class _Common:
    """What all rows of a case share."""

    case: Case
    note: str
    gflop: float | None
    error: float | None
    machine: Machine


def _row(common: _Common, ours: _Side, peer: _Side | None) -> Row:
    seconds = median(ours.seconds) if ours.seconds else None
    peer_times = peer.seconds if peer is not None and not peer.problem else None
    ratios = sorted(b / a for a, b in zip(ours.seconds or [], peer_times or [], strict=False))
    problems = [f"{side.library.name}: {side.problem}" for side in (ours, peer) if side is not None and side.problem]
    reach = common.machine.peak_gflops
    return Row(
        workload=common.case.workload,
        size=common.case.size,
        peer=None if peer is None else peer.library.name,
        ratio_median=median(ratios) if ratios else None,
        ratio_min=ratios[0] if ratios else None,
        ratio_max=ratios[-1] if ratios else None,
        ours_seconds=seconds,
        peer_seconds=median(peer_times) if peer_times else None,
        ours_mib=ours.mib,
        peer_mib=None if peer is None else peer.mib,
        ours_extra_mib=ours.extra_mib,
        peer_extra_mib=None if peer is None else peer.extra_mib,
        max_relative_error=common.error,
        gflop=common.gflop,
        peak_share=common.gflop / seconds / reach if seconds and common.gflop else None,
        pairs=len(ratios) if peer is not None else len(ours.seconds or []),
        note="; ".join(filter(None, [common.note, ours.note, "" if peer is None else peer.note])),
        error="; ".join(problems),
        machine=common.machine,
    )
