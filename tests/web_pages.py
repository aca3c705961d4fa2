"""Pages with models that ship, each shown by `perceivers app` in a process of its own, as users have it."""

import gc
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def left_open() -> Iterator[None]:
    """Gradio and its client close neither their event loops nor the sockets of those: that is not complained of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@contextmanager
def shown(*options: str, ending: signal.Signals = signal.SIGINT) -> Iterator[str]:
    """Show a page for as long as the context lasts, and yield its address.

    Args:
        options: Those of the command.
        ending: What ends it: Ctrl+C in a terminal, or what a service is sent.
    """
    command = [sys.executable, "-m", "perceivers.cli", "app", *options]
    environment = {**os.environ, "PYTHONWARNINGS": "default"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        told: list[str] = []
        try:
            for line in process.stderr:
                told.append(line)
                if found := re.search(r"page +(http\S+)", line):
                    yield found[1]
                    break
            else:
                pytest.fail("".join(told))
        finally:
            process.send_signal(ending)
            rest = process.stderr.read()
    assert "Traceback" not in rest, rest
    assert process.returncode == 0
