"""How answers in words are scored."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.text import SQuAD


class AnswerScore(Metric):
    """The share of answers that are exactly right, or their F1 in words, as the task SQuAD counts them.

    Both compare without case, punctuation, articles and runs of white space, and take the best of several true answers
    (Rajpurkar et al. 2016, arXiv:1606.05250, section 6.1).

    Args:
        name: What of torchmetrics' SQuAD: "exact_match" or "f1".
    """

    full_state_update = False
    sum: Tensor
    count: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        for state in ("sum", "count"):
            self.add_state(state, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, found: Sequence[str], true: Sequence[Sequence[str]]) -> None:
        """Count the answers that were found, each with the true ones; an empty text is no answer."""
        squad = SQuAD()
        targets: Any = [
            {"id": str(i), "answers": {"text": list(texts), "answer_start": [0] * len(texts)}}
            for i, texts in enumerate(true)
        ]
        predictions = [{"id": str(i), "prediction_text": text} for i, text in enumerate(found)]
        squad.update(predictions, targets)
        # In percent.
        self.sum += squad.compute()[self.name].double() / 100 * len(found)
        self.count += len(found)

    def compute(self) -> Tensor:
        """Return the mean."""
        return self.sum / self.count.clamp(min=1)
