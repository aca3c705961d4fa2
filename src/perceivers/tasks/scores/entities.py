"""Scores of found entities, as in the CoNLL shared tasks: an entity is right when its type and all its words are."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from perceivers.data.tags import find_entities


class EntityScore(Metric):
    """Precision, recall, or a mean of both, over all entities.

    Args:
        alpha: Weight of precision in the harmonic mean of it and recall: 1 is precision, 0 recall, 0.5 their F1.
    """

    full_state_update = False
    right: Tensor
    counted: Tensor

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        for name in ("right", "counted"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, found: Sequence[Sequence[str]], true: Sequence[Sequence[str]]) -> None:
        """Count sentences: the tags that were found, and the true ones."""
        for ours, theirs in zip(found, true, strict=True):
            predicted, wanted = find_entities(ours), find_entities(theirs)
            self.right += len(set(predicted) & set(wanted))
            self.counted += self.alpha * len(predicted) + (1 - self.alpha) * len(wanted)

    def compute(self) -> Tensor:
        """Return the score; 0 where there is nothing to count."""
        return self.right / self.counted if self.counted else torch.zeros_like(self.right)
