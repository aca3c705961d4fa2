"""What a library gives to be measured."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Run:
    """A workload, ready to be run as often as wanted.

    Args:
        once: Runs it, or the part of it that is timed.
        times: How often that part makes up the whole.
        note: What was done in another way than its name says.
        error: Returns the largest error of what `once` gave, relative to its root mean square, against float64.
    """

    once: Callable[[], Any]
    times: float = 1.0
    note: str = ""
    error: Callable[[Any], float] | None = None
