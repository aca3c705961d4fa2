"""A model that answers several people, one after the other."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import nn

from perceivers.model import PerceiverIO
from perceivers.tasks.pipeline import Pipeline

T = TypeVar("T")


@dataclass(frozen=True)
class Timed(Generic[T]):
    """An answer with the seconds that it took."""

    answer: T
    seconds: float


class Served:
    """A pipeline that takes turns, each within a time.

    What watches a model while it answers (maps of attention do) would see the answers to others too: so one is answered
    at a time. A turn that takes too long ends before the next layer of the model.

    Args:
        pipe: The pipeline. From then on it should not be used but through this.
        timeout: Seconds that a turn may take, waiting not counted.
    """

    def __init__(self, pipe: Pipeline, timeout: float) -> None:
        self.pipe = pipe
        self.timeout = timeout
        self._turn = threading.Lock()
        self._deadline = math.inf
        for part in _parts(pipe.model):
            part.register_forward_pre_hook(self._in_time)

    @property
    def name(self) -> str:
        """What the model is called: the first word of where it came from."""
        return self.pipe.origin.split(" (")[0].rpartition("/")[2]

    def take(self, work: Callable[[Pipeline], T]) -> Timed[T]:
        """Do `work` with the pipeline when it is free, and say how long that took.

        Raises:
            ValueError: It took too long.
        """
        with self._turn:
            start = time.monotonic()
            self._deadline = start + self.timeout
            try:
                return Timed(work(self.pipe), time.monotonic() - start)
            finally:
                self._deadline = math.inf

    def card(self, seconds: float) -> str:
        """Return in Markdown what answered and how fast."""
        parameters = sum(parameter.numel() for parameter in self.pipe.model.parameters())
        device = next(self.pipe.model.parameters()).device
        return (
            f"**{self.pipe.origin}** · {parameters / 1e6:.1f} million parameters · answered in "
            f"**{_duration(seconds)}** on {device}"
        )

    def _in_time(self, _module: nn.Module, _inputs: Any) -> None:
        if time.monotonic() > self._deadline:
            raise ValueError(
                f"the answer took longer than {self.timeout:g} s and was given up: ask for less, or start the demo "
                "with a larger --timeout"
            )


def _parts(model: PerceiverIO) -> Iterator[nn.Module]:
    """Yield what a model calls one after the other, each a layer or more."""
    yield from model.encoder.cross_attends
    for block in model.encoder.blocks:
        yield from block.children()
    yield model.decoder


def _duration(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
