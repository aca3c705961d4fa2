"""The progress bar of a run: loss, score, examples a second and time left."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class RunProgress:
    """A Rich bar over optimiser steps.

    Args:
        num_steps: Steps of the whole run.
        batch_size: Examples a step.
        start: Steps already taken by an earlier run.
        show: `False` draws nothing.
    """

    def __init__(self, num_steps: int, batch_size: int, *, start: int = 0, show: bool = True) -> None:
        self.batch_size = batch_size
        self._progress = Progress(
            TextColumn("[bold]train"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[score]}  {task.fields[speed]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not show,
        )
        self._bar = self._progress.add_task("train", total=num_steps, completed=start, loss="-", score="", speed="")

    def __enter__(self) -> "RunProgress":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, loss: float) -> None:
        """Count one step."""
        speed = self._progress.tasks[self._bar].speed
        shown = f"{speed * self.batch_size:,.0f}/s" if speed else ""
        self._progress.update(self._bar, advance=1, loss=f"{loss:.3f}", speed=shown)

    def score(self, name: str, value: float) -> None:
        """Show the newest evaluation."""
        self._progress.update(self._bar, score=f"{name} {value:.4f}")
