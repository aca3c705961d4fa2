"""Time, memory and exactness beside other libraries, in one interleaved run."""

from perceivers.benchmark.cases import GROWTH, WORKLOADS, Case, find_cases
from perceivers.benchmark.libraries import OURS, PEERS, Library
from perceivers.benchmark.machine import Machine, find_machine
from perceivers.benchmark.measure import QUICK, Row, Schedule, measure

__all__ = [
    "GROWTH",
    "OURS",
    "PEERS",
    "QUICK",
    "WORKLOADS",
    "Case",
    "Library",
    "Machine",
    "Row",
    "Schedule",
    "find_cases",
    "find_machine",
    "measure",
]
