"""The likeliest spans of a text."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


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
