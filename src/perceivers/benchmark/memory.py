"""Memory of this process by the operating system's own accounting."""

import ctypes
import gc
import sys
from contextlib import suppress
from pathlib import Path

_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# Of what is free when a worker begins, the share that it may take; beyond it, it fails rather than the machine.
_ALLOWED_SHARE = 0.85


def reset_peak() -> bool:
    """Give back what is not in use and let the peak begin anew; return whether the system permits it."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def resident_mib() -> float:
    """Return what of the process lies in memory now; the peak where the system does not say."""
    return _status("VmRSS") or peak_mib()


def peak_mib() -> float:
    """Return the most that has been in memory since `reset_peak`, or since the start where that is not permitted."""
    found = _status("VmHWM")
    if found is not None:
        return found
    try:
        import resource
    except ModuleNotFoundError:
        # Windows has no such accounting in Python's library.
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def free_mib() -> float | None:
    """Return what is free on the machine, or `None` where the system does not say."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 2**10
    return None


def limit_memory() -> None:
    """Let allocations fail before the machine runs out; does nothing where the system has no such limit."""
    free = free_mib()
    if free is None:
        return
    with suppress(ModuleNotFoundError, ValueError, OSError):
        import resource

        limit = int(_ALLOWED_SHARE * free) * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _status(field: str) -> float | None:
    """Return a field of the kernel's status of this process, in MiB."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 2**10
    return None
