"""The process of one library and one workload: it loads, then runs when it is told to.

It reads a line of JSON with the job, then one word a line; it answers each with a line of JSON. What libraries print
goes to stderr.
"""

import gc
import json
import math
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, TextIO

from perceivers.benchmark import memory
from perceivers.benchmark.cases import Case
from perceivers.benchmark.runs import Run
from perceivers.config import from_json


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


def serve(questions: TextIO, answers: TextIO) -> None:
    """Make what the first line asks for, then run, weigh and judge it as the following ones say."""

    def reply(work: Callable[[], dict[str, Any]]) -> bool:
        try:
            answer = work()
        # Whatever goes wrong is told to the parent, which goes on with other libraries.
        except Exception as error:
            answer = {"failed": _reason(error)}
        print(json.dumps(answer), file=answers, flush=True)
        return "failed" not in answer

    session = _Session()
    job = json.loads(questions.readline())
    if not reply(lambda: session.load(job["maker"], from_json(Case, job["case"], "case"))):
        return
    for line in questions:
        if not reply(session.actions[line.strip()]):
            return


class _Session:
    """A run, and the memory that it takes."""

    def __init__(self) -> None:
        self.actions = {"run": self.run, "memory": self.memory, "error": self.error}
        self._before = math.nan
        self._started = False
        self._last: Any = None

    def load(self, maker: str, case: Case) -> dict[str, Any]:
        module, _, name = maker.partition(":")
        memory.limit_memory()
        make: Callable[[Case], Run] = getattr(import_module(module), name)
        self._run = make(case)
        return {"note": self._run.note, "checks": self._run.error is not None}

    def run(self) -> dict[str, Any]:
        if not self._started:
            self._started = True
            # Where the peak does not begin anew it may be that of loading, which says nothing of the runs.
            if memory.reset_peak():
                self._before = memory.resident_mib()
        self._last = None
        gc.collect()
        start = time.perf_counter()
        self._last = self._run.once()
        return {"seconds": (time.perf_counter() - start) * self._run.times}

    def memory(self) -> dict[str, Any]:
        peak = memory.peak_mib()
        # In this order, NaN stays NaN.
        return {"peak_mib": peak, "extra_mib": max(peak - self._before, 0.0)}

    def error(self) -> dict[str, Any]:
        assert self._run.error is not None
        return {"error": self._run.error(self._last)}


def _reason(error: Exception) -> str:
    """Return an error as one line."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "not enough memory" in text:
        return f"ran out of memory: {text[:160]}"
    return f"{type(error).__name__}: {text[:300]}"


if __name__ == "__main__":
    main()
