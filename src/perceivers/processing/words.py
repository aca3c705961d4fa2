"""Texts as words with their places: found in a string, or given and joined by spaces."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Int

# On a text whose letters and digits are `w` and whose accents and vowel signs are `m`: letters, with single signs in
# them ("U.S", "o'clock", "e-mail") and what marks names and topics in posts (@, #) before them; or one other sign.
_WORD = re.compile(r"[@#]?w[wm]*(?:[-'\u2019.&/@]w[wm]*)*|\Sm*")

# First and after-last character.
Span = tuple[int, int]


@dataclass(frozen=True)
class Words:
    """A text and the words in it.

    Args:
        text: The text.
        spans: Characters of each word.
    """

    text: str
    spans: tuple[Span, ...]

    def __len__(self) -> int:
        return len(self.spans)

    def strings(self) -> list[str]:
        """Return the words."""
        return [self.text[start:stop] for start, stop in self.spans]


def find_words(text: str) -> Words:
    """Cut a string into words: runs of letters and digits, with single signs inside them, and each other sign alone."""
    kinds = "".join(map(_kind, text))
    return Words(text, tuple(match.span() for match in _WORD.finditer(kinds)))


def _kind(character: str) -> str:
    if character.isalnum() or character == "_":
        return "w"
    return "m" if unicodedata.category(character).startswith("M") else character


def join_words(words: Sequence[str]) -> Words:
    """Join words by spaces."""
    stops = np.cumsum([len(word) + 1 for word in words]) - 1
    spans = [(int(stop) - len(word), int(stop)) for word, stop in zip(words, stops, strict=True)]
    return Words(" ".join(words), tuple(spans))


@dataclass(frozen=True)
class WordWindow:
    """A run of words that is read at once.

    Args:
        words: First and after-last word that is read.
        kept: Likewise of those whose answers count, the others being what stands around them.
    """

    words: Span
    kept: Span


def word_windows(lengths: Int[np.ndarray, "W"], room: int) -> list[WordWindow]:
    """Cut a sentence into overlapping windows of whole words; each word counts in one of them.

    Neighbours share about a quarter of a window, and the words in the middle of what they share part them.

    Args:
        lengths: Bytes of each word; a space stands between two of them.
        room: Bytes that are read at once. A word that is longer has a window of its own.
    """
    stops = np.cumsum(lengths + 1) - 1
    starts = stops - lengths
    spans: list[Span] = []
    first = stop = 0
    while stop < len(lengths):
        stop = max(int(np.searchsorted(stops, starts[first] + room, side="right")), first + 1)
        spans.append((first, stop))
        shared = int(np.searchsorted(starts, stops[stop - 1] - room // 4))
        first = min(max(shared, first + 1), stop)
    edges = [0, *((after[0] + before[1]) // 2 for before, after in pairwise(spans)), len(lengths)]
    cut = [WordWindow(span, kept) for span, kept in zip(spans, pairwise(edges), strict=True)]
    return [window for window in cut if window.kept[0] < window.kept[1]]
