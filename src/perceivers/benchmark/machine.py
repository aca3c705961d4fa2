"""What the figures were measured on."""

import os
import platform
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from perceivers.benchmark.cases import Case
from perceivers.benchmark.libraries import OURS, Library
from perceivers.benchmark.process import Worker
from perceivers.benchmark.runs import Run

_SIDE = 2048
_SECONDS = 2.0
_MATMUL = Library(
    name="matrix product", package="torch", module="torch", maker="perceivers.benchmark.machine:make_product"
)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine and what is installed on it.

    Args:
        cpu: Name of the processor.
        threads: Threads that compute.
        system: Operating system.
        versions: Version of each library.
        date: Day of the measurement.
        peak_gflops: GFLOP/s of a large float32 matrix product.
    """

    cpu: str
    threads: int
    system: str
    versions: dict[str, str]
    date: str
    peak_gflops: float

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return it in words."""
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return [
            f"{self.cpu}, {self.threads} threads, {self.system}, {self.date}",
            versions,
            f"float32 matrix products reach {self.peak_gflops:.0f} GFLOP/s",
        ]


def find_machine(threads: int, peers: Sequence[Library]) -> Machine:
    """Describe this machine, and measure what its matrix products reach; takes a few seconds."""
    from importlib.metadata import version

    versions = {
        "perceivers": version(OURS.package),
        "torch": version("torch"),
        **{peer.package: peer.version or "" for peer in peers},
        "Python": platform.python_version(),
    }
    return Machine(
        cpu=cpu_name(),
        threads=threads,
        system=f"{platform.system()} {platform.release()}",
        versions=versions,
        date=date.today().isoformat(),
        peak_gflops=measure_peak(threads),
    )


def cpu_name() -> str:
    """Return the name of the processor, with its family where the name alone says little."""
    with suppress(OSError):
        fields = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M))
        if "model name" in fields:
            return f"{fields['model name']} (family {fields.get('cpu family')}, model {fields.get('model')})"
    return platform.processor() or platform.machine()


def physical_cores() -> int:
    """Return the cores that this process may use, counting those with several threads once."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores: set[str] = set()
    for cpu in allowed:
        try:
            cores.add(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list").read_text())
        except OSError:
            cores.add(str(cpu))
    return max(len(cores), 1)


def measure_peak(threads: int) -> float:
    """Return the GFLOP/s of the fastest of the large matrix products that fit into two seconds."""
    worker = Worker(_MATMUL, Case(workload="matrix product", task="", model=""), threads=threads)
    try:
        worker.loaded()
        worker.run()
        seconds: list[float] = []
        while sum(seconds) < _SECONDS:
            seconds.append(worker.run())
    finally:
        worker.close()
    return 2 * _SIDE**3 / min(seconds) / 1e9


def make_product(case: Case) -> Run:
    """Return a product of large matrices."""
    import torch

    a, b = torch.randn(_SIDE, _SIDE), torch.randn(_SIDE, _SIDE)
    return Run(once=lambda: a @ b)
