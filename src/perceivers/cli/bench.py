"""`perceivers bench`: its options, and what it prints and writes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perceivers.cli import show
from perceivers.cli.options import examples

if TYPE_CHECKING:
    from perceivers.benchmark import Case, Library, Machine, Row, Schedule

EXAMPLES = examples(
    "perceivers bench --quick",
    "perceivers bench --json bench.json --plot bench.png",
    "perceivers bench --only flow --only text --pairs 9",
    "perceivers bench --growth --plot growth.svg",
)

Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="NAME", help="Workload or growth curve to run; may be repeated."),
]
Peer = Annotated[
    list[str] | None,
    typer.Option("--peer", metavar="NAME", help="Library to compare with; may be repeated. All that are installed."),
]


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="A few minutes: fewer pairs, some models cut.")] = False,
    only: Only = None,
    peer: Peer = None,
    pairs: Annotated[
        int | None, typer.Option(min=1, help="Pairs of runs; chosen by their length if not given.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; the physical cores if not given.")] = None,
    growth: Annotated[
        bool, typer.Option("--growth", help="Measure how time and memory grow with inputs, outputs and latents, too.")
    ] = False,
    growth_max: Annotated[
        int, typer.Option(min=1024, help="About the most inputs and outputs of a curve: 1,024, 4,096, ... 1,048,576.")
    ] = 2**20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and inputs.")] = 0,
    weight_scale: Annotated[
        float, typer.Option(min=0.01, help="Factor on the weights; 1 is unit gain, more is worse conditioned.")
    ] = 1.0,
    json_: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the rows as JSON.")] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw ratios, memory and curves: .png, .svg or .pdf.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table as Markdown.")] = None,
) -> None:
    """Measure time, memory and exactness beside other libraries, in one interleaved run."""
    from perceivers.benchmark import QUICK, Schedule, find_cases
    from perceivers.benchmark.machine import physical_cores
    from perceivers.benchmark.plots import check_ending

    # Before the work, not after it.
    if plot is not None:
        check_ending(plot)
    for path in (json_, plot, markdown):
        if path is not None and path.is_dir():
            raise ValueError(f"'{path}' is a folder; name a file")
    cases = find_cases(only or [], quick=quick, growth=growth, growth_max=growth_max)
    cases = [replace(case, seed=seed, weight_scale=weight_scale) for case in cases]
    schedule = replace(QUICK if quick else Schedule(), pairs=pairs)
    _run(cases, _peers(peer or []), schedule, threads or physical_cores(), _Files(json_, plot, markdown))


@dataclass(frozen=True)
class _Files:
    """Where the rows go, besides the terminal; `None` for nowhere."""

    json: Path | None
    plot: Path | None
    markdown: Path | None

    def write(self, rows: "Sequence[Row]", machine: "Machine") -> None:
        """Write what is known so far as JSON and Markdown; each file is replaced as a whole."""
        from perceivers.benchmark.report import write_json, write_markdown

        if self.json is not None:
            write_json(self.json, rows)
        if self.markdown is not None:
            write_markdown(self.markdown, rows, machine)


def _peers(names: "Sequence[str]") -> "list[Library]":
    """Return the peers that are there; those that are asked for and are not, are named."""
    from perceivers.benchmark import PEERS

    for name in names:
        if name not in PEERS:
            raise ValueError(f"peer '{name}' not found; choices = {list(PEERS)}")
    # transformers is the peer of all workloads, so that its absence is worth a word.
    wanted = [PEERS[name] for name in names] or [PEERS["transformers"]]
    for peer in wanted:
        if peer.version is None:
            show.err().print(f"'{peer.package}' is not installed and is left out: pip install {peer.package}")
    return [peer for peer in PEERS.values() if peer.version is not None and (not names or peer.name in names)]


def _run(
    cases: "Sequence[Case]", peers: "Sequence[Library]", schedule: "Schedule", threads: int, files: _Files
) -> None:
    from perceivers.benchmark import find_machine, measure
    from perceivers.benchmark.plots import write_plot

    machine = find_machine(threads, peers)
    for line in machine.lines():
        show.out().print(line, markup=False)
    rows: list[Row] = []
    for found in measure(cases, peers, schedule, machine, tell=lambda line: show.err().print(line, markup=False)):
        rows += found
        # After each workload: a run that is stopped keeps what it has.
        files.write(rows, machine)
    _print(rows)
    if files.plot is not None and any(row.ours_seconds is not None for row in rows):
        write_plot(files.plot, rows, machine)
    for path in (files.json, files.plot, files.markdown):
        if path is not None and path.exists():
            show.err().print(f"wrote {path}", markup=False)
    if all(row.ours_seconds is None for row in rows):
        raise ValueError("nothing could be measured; see the notes above")


def _print(rows: "Sequence[Row]") -> None:
    from perceivers.benchmark.report import COLUMNS, LEGEND, cells, notes

    show.out().print()
    show.table(COLUMNS, [cells(row) for row in rows], right=COLUMNS[2:], whole=True)
    show.out().print()
    for line in (LEGEND, *notes(rows)):
        show.out().print(line, markup=False)
