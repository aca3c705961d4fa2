"""The parent's side of a worker."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from perceivers.benchmark.cases import Case
from perceivers.benchmark.libraries import Library
from perceivers.config import to_json


class WorkerError(ValueError):
    """What went wrong in a worker, as one line."""


class Worker:
    """A process in which one library runs one workload; it computes only while it is asked.

    Args:
        library: The library.
        case: The workload.
        threads: Threads that it computes on.
        timeout: Seconds that an answer may take.
    """

    def __init__(self, library: Library, case: Case, *, threads: int, timeout: float = 1800) -> None:
        self.library = library
        self._timeout = timeout
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "perceivers.benchmark.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=worker_environment(threads),
            encoding="utf-8",
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._say(json.dumps({"maker": library.maker, "case": to_json(case)}))

    def loaded(self) -> dict[str, Any]:
        """Wait until it has loaded.

        Raises:
            WorkerError: It could not.
        """
        return self._answer()

    def run(self) -> float:
        """Run once, and return the seconds of the whole workload.

        Raises:
            WorkerError: It failed.
        """
        return float(self._ask("run")["seconds"])

    def memory(self) -> tuple[float, float]:
        """Return the peak of the whole process, and what the runs added to it, in MiB; NaN is unknown.

        Raises:
            WorkerError: It failed.
        """
        answer = self._ask("memory")
        return float(answer["peak_mib"]), float(answer["extra_mib"])

    def error(self) -> float:
        """Return the largest error against float64.

        Raises:
            WorkerError: It failed.
        """
        return float(self._ask("error")["error"])

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
        self._errors.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _ask(self, question: str) -> dict[str, Any]:
        self._say(question)
        return self._answer()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        # A process that has ended is noticed when its answer is waited for.
        with suppress(BrokenPipeError):
            print(line, file=self._process.stdin, flush=True)

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=self._timeout)
        except queue.Empty as error:
            raise WorkerError(f"no answer within {self._timeout:.0f} s") from error
        if not line:
            raise WorkerError(self._ending())
        answer = json.loads(line)
        if "failed" in answer:
            raise WorkerError(answer["failed"])
        return answer

    def _ending(self) -> str:
        """Say how the process ended."""
        code = self._process.wait()
        if code == -getattr(signal, "SIGKILL", 9):
            return "its process was killed, most likely because memory ran out"
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return f"its process ended with code {code}" + (f": {lines[-1][:300]}" if lines else "")


def worker_environment(threads: int) -> Mapping[str, str]:
    """Return the environment of a worker: all libraries wait and count threads in the same way."""
    count = str(threads)
    return {
        **os.environ,
        # Threads that wait by spinning would slow whoever comes next.
        "OMP_WAIT_POLICY": "passive",
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
