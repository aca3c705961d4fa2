"""Answers that are parts of a text: their forms, and whether they stand where they should."""

from collections.abc import Mapping
from typing import Any


def read_answers(value: Any) -> list[tuple[str, int]]:
    """Return text and first character of each answer.

    Args:
        value: A mapping with the lists `text` and `answer_start`, or a list of mappings with `text` and one of
            `answer_start` and `start`.

    Raises:
        ValueError: It has another form.
    """
    pairs = _pairs(value)
    if pairs is None:
        raise ValueError(_form(value))
    return pairs


def check_answers(value: Any) -> str | None:
    """Return what is wrong with the form of answers, or `None`."""
    return None if _pairs(value) is not None else _form(value)


def compare_answers(context: str, answers: Any) -> str | None:
    """Return which answer does not stand where it should, or `None`."""
    for text, start in read_answers(answers):
        found = context[max(start, 0) : max(start, 0) + len(text)]
        if start < 0 or found != text:
            return f"the answer {text!r} does not stand at character {start} of its context; there is {found!r}"
    return None


def _form(value: Any) -> str:
    return f"answers must be texts, not empty, with the numbers of their first characters, got {value!r}"


def _pairs(value: Any) -> list[tuple[str, int]] | None:
    if isinstance(value, Mapping):
        texts, starts = value.get("text"), value.get("answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            return None
        pairs = list(zip(texts, starts, strict=True))
    elif isinstance(value, list) and all(isinstance(answer, Mapping) for answer in value):
        # In a table, a name that other rows have stands in all, for nothing.
        places = [
            answer.get("start") if answer.get("answer_start") is None else answer["answer_start"] for answer in value
        ]
        pairs = [(answer.get("text"), place) for answer, place in zip(value, places, strict=True)]
    else:
        return None
    good = all(isinstance(text, str) and text.strip() and type(start) is int for text, start in pairs)
    return pairs if good else None
