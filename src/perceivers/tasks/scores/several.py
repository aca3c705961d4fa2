"""Scores of several tasks that one model answers: each its own, and their mean."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import (
    binary_f1_score,
    multiclass_accuracy,
    multiclass_f1_score,
    multiclass_matthews_corrcoef,
)
from torchmetrics.functional.regression import mean_squared_error, pearson_corrcoef, spearman_corrcoef
from torchmetrics.utilities import dim_zero_cat

from perceivers.tasks.subtasks import Subtask


class MultitaskScore(Metric):
    """The scores of each task under `TASK_SCORE`, and `mean_score`.

    - `accuracy`; `f1`, the mean over classes; `matthews`, Matthews' correlation; and, of two labels, `positive_f1`, the
      F1 of the second one, which is what GLUE's tables call F1;
    - of numbers `pearson` and `spearman`, which are 0 where all answers are the same, and `mse`.

    Tasks of which nothing was counted are left out.

    Args:
        tasks: The tasks.
        scores: For each task the scores whose mean is its share of the mean over tasks.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    task: list[Tensor]
    found: list[Tensor]
    wanted: list[Tensor]

    def __init__(self, tasks: Sequence[Subtask], scores: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.scores = dict(scores)
        for name in ("task", "found", "wanted"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, task: Int[Tensor, "B"], found: Float[Tensor, "B"], wanted: Float[Tensor, "B"]) -> None:
        """Count examples: the numbers of their tasks, and what was answered and should have been.

        Answers are ids of labels, or numbers.
        """
        self.task.append(task)
        self.found.append(found)
        self.wanted.append(wanted)

    def compute(self) -> dict[str, Tensor]:
        """Return the scores by name."""
        task, found, wanted = (dim_zero_cat(state) for state in (self.task, self.found, self.wanted))
        named: dict[str, Tensor] = {}
        shares: list[Tensor] = []
        for i, one in enumerate(self.tasks):
            rows = task == i
            if not rows.any():
                continue
            pair = found[rows], wanted[rows]
            scores = _of_labels(*pair, len(one.labels)) if one.labels else _of_numbers(*pair)
            named |= {f"{one.name}_{name}": value for name, value in scores.items()}
            shares.append(torch.stack([scores[name].double() for name in self.scores[one.name]]).mean())
        return {"mean_score": torch.stack(shares).mean(), **named}


def _of_labels(found: Float[Tensor, "B"], wanted: Float[Tensor, "B"], count: int) -> dict[str, Tensor]:
    found, wanted = found.long(), wanted.long()
    scores = {
        "accuracy": multiclass_accuracy(found, wanted, count, average="micro"),
        "f1": multiclass_f1_score(found, wanted, count, average="macro"),
        "matthews": multiclass_matthews_corrcoef(found, wanted, count),
    }
    return scores | ({"positive_f1": binary_f1_score(found, wanted)} if count == 2 else {})


def _of_numbers(found: Float[Tensor, "B"], wanted: Float[Tensor, "B"]) -> dict[str, Tensor]:
    # A correlation with what never changes has no value.
    defined = len(found) > 1 and bool((found != found[0]).any()) and bool((wanted != wanted[0]).any())
    none = found.new_zeros(())
    return {
        "pearson": pearson_corrcoef(found, wanted) if defined else none,
        "spearman": spearman_corrcoef(found, wanted) if defined else none,
        "mse": mean_squared_error(found, wanted),
    }
