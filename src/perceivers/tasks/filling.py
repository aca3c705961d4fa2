"""What of a text is hidden and wanted back: a user's words to windows that a model reads, scores to fillings."""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from perceivers.processing import utf8
from perceivers.processing.text import ByteTokenizer

Span = tuple[int, int]

_TOKENIZER = ByteTokenizer()
_KEYS = ("text", "hide", "spans")


@dataclass(frozen=True)
class Question:
    """A text with hidden bytes.

    Args:
        ids: All of it, mask ids where bytes are hidden, (M,).
        spans: Start and stop of each hidden run, in order.
    """

    ids: Int[np.ndarray, "M"]
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Window:
    """Part of a question that the model reads at once.

    Args:
        start: Where it begins in the text.
        stop: Where it ends.
        spans: The hidden runs that are asked for, as indices into `Question.spans`.
    """

    start: int
    stop: int
    spans: tuple[int, ...]


def read_question(value: Any) -> Question:
    """Return what is asked.

    Args:
        value: A text with `[MASK]` (a byte) or `[MASK:n]` (n bytes); or a mapping with `text` and either `hide`, a word
            or a piece of text that is hidden wherever it stands (as a word of its own, if it does so at all), or
            `spans`, pairs of byte offsets (start, stop).

    Raises:
        ValueError: Nothing is hidden, or a word or span is not in the text.
    """
    if isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, Mapping) or not isinstance(value.get("text"), str) or set(value) - set(_KEYS):
        raise ValueError(f"{value!r} must be a text, or a mapping with text and one of {list(_KEYS[1:])}")
    text, hide, spans = value["text"], value.get("hide"), value.get("spans")
    if hide is not None and spans is not None:
        raise ValueError(f"give hide ({hide!r}) or spans ({spans!r}), not both")
    if hide is None and spans is None:
        ids, found = _TOKENIZER.encode_with_masks(text)
        if not found:
            raise ValueError(f"no [MASK] or [MASK:n] in {text!r}, and neither 'hide' nor 'spans' beside it")
        return Question(ids, tuple(found))
    chosen = _spans_of_word(text, hide) if hide is not None else _checked_spans(text, spans)
    ids = _TOKENIZER.encode(text).copy()
    for start, stop in chosen:
        ids[start:stop] = _TOKENIZER.mask_id
    return Question(ids, chosen)


def _spans_of_word(text: str, hide: Any) -> tuple[Span, ...]:
    if not isinstance(hide, str) or not hide:
        raise ValueError(f"hide ({hide!r}) must be a word or a piece of the text, at least one character")
    # A word is meant as a whole, "he" rather than part of "the", where it stands as one; not all scripts have spaces.
    before, after = (r"(?<!\w)" if re.match(r"\w", hide) else "", r"(?!\w)" if re.search(r"\w\Z", hide) else "")
    whole = [match.span() for match in re.finditer(before + re.escape(hide) + after, text)]
    found = whole or [match.span() for match in re.finditer(re.escape(hide), text)]
    if not found:
        raise ValueError(f"hide ({hide!r}) does not stand in {text!r}")
    return tuple(_TOKENIZER.byte_span(text, start, stop) for start, stop in found)


def _checked_spans(text: str, spans: Any) -> tuple[Span, ...]:
    length = len(text.encode("utf-8"))
    try:
        chosen = tuple(sorted((operator.index(start), operator.index(stop)) for start, stop in spans))
    except (TypeError, ValueError) as error:
        raise ValueError(f"spans ({spans!r}) must be pairs of byte offsets (start, stop), whole numbers") from error
    last = 0
    for start, stop in chosen:
        if not last <= start < stop <= length:
            raise ValueError(f"span ({start}, {stop}) must be bytes of the text ({length}), after those before it")
        last = stop
    if not chosen:
        raise ValueError("spans is empty; name at least one pair of byte offsets (start, stop)")
    return chosen


def windows_around(question: Question, length: int) -> list[Window]:
    """Cut a text into windows of at most `length` bytes, with hidden runs near the middle of theirs.

    Raises:
        ValueError: A hidden run is longer than a window.
    """
    total = len(question.ids)
    if total <= length:
        return [Window(0, total, tuple(range(len(question.spans))))]
    groups: list[list[int]] = []
    for i, (start, stop) in enumerate(question.spans):
        if stop - start > length:
            raise ValueError(f"[MASK:{stop - start}] is longer than the model reads ({length} bytes)")
        # Runs that are far apart would each stand at an end of a window they share.
        if groups and stop - question.spans[groups[-1][0]][0] <= length // 2:
            groups[-1].append(i)
        else:
            groups.append([i])
    windows = []
    for group in groups:
        middle = (question.spans[group[0]][0] + question.spans[group[-1]][1]) // 2
        start = min(max(middle - length // 2, 0), total - length)
        windows.append(Window(start, start + length, tuple(group)))
    return windows


Candidates = list[tuple[float, bytes]]


def best_at_once(question: Question, run: int, scores: Float[np.ndarray, "_ 256"], top_k: int) -> Candidates:
    """Return the best fillings of a hidden run, the best first, with their log-probabilities.

    Args:
        question: The text.
        run: Which of its runs.
        scores: Log-probability of each byte at each place of the run.
        top_k: How many fillings.
    """
    return utf8.likeliest(scores, top_k, *_neighbours(question, run))


def best_in_turn(
    question: Question, run: int, scores_of: Callable[[Sequence[Question]], Float[np.ndarray, "S K 256"]], width: int
) -> Candidates:
    """Return good fillings of a hidden run whose bytes are filled one after the other, each seen by the next.

    Args:
        question: The text.
        run: Which of its runs.
        scores_of: The log-probability of each byte at each of the places that each of some questions asks for.
        width: How many fillings are followed on the way, and returned.
    """
    start, stop = question.spans[run]

    def next_scores(strings: Sequence[utf8.Partial]) -> Float[np.ndarray, "S K 256"]:
        asked = []
        for string in strings:
            ids = question.ids.copy()
            places = [start + i for i, byte in enumerate(string) if byte is None]
            ids[start:stop] = [_TOKENIZER.mask_id if byte is None else byte + _TOKENIZER.num_special for byte in string]
            asked.append(Question(ids, tuple((place, place + 1) for place in places)))
        return scores_of(asked)

    return utf8.likeliest_in_turn(next_scores, stop - start, width, *_neighbours(question, run))


def fillings(question: Question, best: Sequence[Candidates]) -> list[list[dict[str, Any]]]:
    """Return the fillings of each hidden run as they are told.

    Args:
        question: The text.
        best: The candidates of each run, the best first.

    Returns:
        For each run `score`, `token` (ids), `token_str` and `sequence`, the best first; in a sequence all other runs
        hold their own best filling.
    """
    filled = question.ids.copy()
    for (start, stop), candidates in zip(question.spans, best, strict=True):
        filled[start:stop] = _ids(candidates[0][1])
    return [
        [_entry(filled, span, score, string) for score, string in candidates]
        for span, candidates in zip(question.spans, best, strict=True)
    ]


def _neighbours(question: Question, run: int) -> tuple[bytes, bytes]:
    """Return the known bytes right before and after a hidden run."""
    start, stop = question.spans[run]
    return _known(question.ids[:start][::-1])[::-1], _known(question.ids[stop:])


def _known(ids: np.ndarray) -> bytes:
    """Return the first bytes of `ids`, up to the next hidden one; no character needs more than four."""
    ids = ids[:4]
    hidden = np.flatnonzero(ids < _TOKENIZER.num_special)
    known = ids[: hidden[0]] if len(hidden) else ids
    return (known - _TOKENIZER.num_special).astype(np.uint8).tobytes()


def _ids(string: bytes) -> np.ndarray:
    return np.frombuffer(string, dtype=np.uint8).astype(np.int64) + _TOKENIZER.num_special


def _entry(filled: np.ndarray, span: Span, log_probability: float, string: bytes) -> dict[str, Any]:
    sequence = filled.copy()
    sequence[slice(*span)] = _ids(string)
    return {
        "score": math.exp(log_probability),
        "token": _ids(string).tolist(),
        "token_str": string.decode("utf-8", "replace"),
        "sequence": _TOKENIZER.decode(sequence),
    }
