"""The likeliest spans of a text, and how answers are scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.text import SQuAD


@dataclass(frozen=True)
class Span:
    """A part of a text.

    Args:
        score: Its probability.
        start: Its first byte.
        stop: The byte after its last; equal to `start` for no answer.
    """

    score: float
    start: int
    stop: int


def likeliest_spans(
    starts: Float[np.ndarray, "M"], ends: Float[np.ndarray, "M"], longest: int, top_k: int
) -> list[Span]:
    """Return the likeliest spans, the best first; fewer where there are not so many.

    Args:
        starts: Log-probability of each byte to be the first, -inf where no span may begin.
        ends: Likewise to be the last.
        longest: Bytes that a span may have.
        top_k: How many.
    """
    longest = min(longest, len(ends))
    padded = np.concatenate([ends, np.full(longest - 1, -np.inf)])
    scores = starts[:, None] + np.lib.stride_tricks.sliding_window_view(padded, longest)  # (M, L)
    flat = scores.ravel()
    some = np.argpartition(-flat, top_k - 1)[:top_k] if top_k < len(flat) else np.arange(len(flat))
    best = some[np.argsort(-flat[some], kind="stable")]
    return [
        Span(float(np.exp(flat[i])), int(i // longest), int(i // longest + i % longest + 1))
        for i in best
        if np.isfinite(flat[i])
    ]


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
