"""Libraries that do nothing, in their own ways, and a workload that is small; workers import this by name."""

import os
import sys
import time

from perceivers.benchmark import Case, Library
from perceivers.benchmark.machine import Machine
from perceivers.benchmark.runs import Run

TINY = Case(workload="tiny", task="image-classification", model="digits-small", note="8x8 digits")
MACHINE = Machine(cpu="a | b", threads=1, system="Linux", versions={"torch": "2"}, date="2026-01-02", peak_gflops=100.0)


def library(maker: str, *workloads: str) -> Library:
    """Return a peer whose runs are made by a function of this file."""
    return Library(name=maker, package="torch", module="torch", maker=f"bench_fakes:{maker}", workloads=workloads)


def slow(case: Case) -> Run:
    print("libraries may print what they like")
    return Run(once=lambda: time.sleep(0.05), times=3.0, note="slow: sleeps")


def unloadable(case: Case) -> Run:
    raise ValueError("no such model\nin this library")


def hungry(case: Case) -> Run:
    def once() -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    return Run(once=once)


def dying(case: Case) -> Run:
    def once() -> None:
        print("out of patience", file=sys.stderr, flush=True)
        os._exit(3)

    return Run(once=once)
