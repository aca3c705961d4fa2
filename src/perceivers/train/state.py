"""Where a run is, and what it came to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# One line of the history: the step and what was measured there.
Entry = dict[str, int | float]


@dataclass
class Progress:
    """Where a run is; saved in every checkpoint.

    Args:
        step: Optimiser steps taken.
        best: Best evaluation score so far.
        waited: Evaluations since then.
        order: What the order of examples follows from; another one cannot be taken up half-way.
        seconds: Training time so far, over all sittings.
        history: What was logged.
    """

    step: int = 0
    best: float | None = None
    waited: int = 0
    order: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    history: list[Entry] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the fields of a saved run."""
        vars(self).update(state)


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Args:
        metrics: Scores of the saved model on the evaluation split.
        history: One entry a logged step or evaluation.
        steps: Optimiser steps taken.
        seconds: Training time.
        stopped_early: Whether patience ran out.
    """

    metrics: dict[str, float]
    history: list[Entry]
    steps: int
    seconds: float
    stopped_early: bool
