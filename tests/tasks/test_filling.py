from typing import Any

import numpy as np
import pytest

from perceivers.processing.text import ByteTokenizer
from perceivers.tasks.filling import Question, Window, best_at_once, fillings, read_question, windows_around

TOKENIZER = ByteTokenizer()


def hidden(value: Any) -> list[str]:
    """The hidden parts of a text that was given whole."""
    data = value["text"].encode()
    return [data[start:stop].decode() for start, stop in read_question(value).spans]


def test_masks_in_the_text() -> None:
    question = read_question("a[MASK]é[MASK:2]")
    assert question.spans == ((1, 2), (4, 6))
    assert question.ids.tolist() == [ord("a") + 6, 3, *(byte + 6 for byte in "é".encode()), 3, 3]
    same = read_question({"text": "a[MASK]é[MASK:2]"})
    np.testing.assert_array_equal(same.ids, question.ids)


@pytest.mark.parametrize(
    ("text", "hide", "expected"),
    [
        ("he said that the hen was he", "he", ["he", "he"]),
        ("über allen Gipfeln", "über", ["über"]),
        ("one, two!", ", two", [", two"]),
        ("日本語の本", "本", ["本", "本"]),
        ("the hen", "he", ["he", "he"]),
        ("the hen", "she", []),
        ("日 本 語", "本", ["本"]),
        ("C++ and C", "C++", ["C++"]),
        ("[MASK] is a word", "word", ["word"]),
    ],
)
def test_words_are_hidden_wherever_they_stand_whole(text: str, hide: str, expected: list[str]) -> None:
    if not expected:
        with pytest.raises(ValueError, match="does not stand in"):
            read_question({"text": text, "hide": hide})
        return
    assert hidden({"text": text, "hide": hide}) == expected
    ids = read_question({"text": text, "hide": hide}).ids
    assert (ids == TOKENIZER.mask_id).sum() == sum(len(part.encode()) for part in expected)


def test_spans_are_bytes() -> None:
    assert hidden({"text": "été chaud", "spans": [[6, 11], [0, 2]]}) == ["é", "chaud"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "3 must be a text, or a mapping with text and one of"),
        ({"hide": "x"}, "must be a text, or a mapping with text"),
        ({"text": "x", "colour": "red"}, "must be a text, or a mapping with text"),
        ({"text": "x", "hide": "x", "spans": [[0, 1]]}, "not both"),
        ({"text": "x", "hide": ""}, "must be a word or a piece of the text"),
        ({"text": "x", "hide": "y"}, r"hide \('y'\) does not stand in 'x'"),
        ({"text": "abc", "spans": [[1, 4]]}, r"span \(1, 4\) must be bytes of the text \(3\)"),
        ({"text": "abc", "spans": [[0, 2], [1, 3]]}, r"span \(1, 3\) must be bytes of the text"),
        ({"text": "abc", "spans": [[1, 1]]}, r"span \(1, 1\) must be"),
        ({"text": "abc", "spans": []}, "spans is empty"),
        ({"text": "abc", "spans": [1, 2]}, "must be pairs of byte offsets"),
        ({"text": "abc", "spans": [[0.5, 2.0]]}, r"must be pairs of byte offsets \(start, stop\), whole numbers"),
    ],
)
def test_what_is_no_question_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_question(value)


def question(length: int, *spans: tuple[int, int]) -> Question:
    return Question(np.full(length, 50), spans)


def test_windows_hold_their_runs() -> None:
    assert windows_around(question(10, (2, 3), (7, 9)), 10) == [Window(0, 10, (0, 1))]
    assert windows_around(question(100, (50, 51), (54, 56), (90, 91)), 20) == [
        Window(43, 63, (0, 1)),
        Window(80, 100, (2,)),
    ]
    assert windows_around(question(100, (0, 20)), 20) == [Window(0, 20, (0,))]
    # As many windows as it takes, and every run in one of them.
    many = question(1000, *((i, i + 3) for i in range(0, 1000 - 3, 7)))
    windows = windows_around(many, 64)
    assert [i for window in windows for i in window.spans] == list(range(len(many.spans)))
    for window in windows:
        assert window.stop - window.start == 64
        assert all(window.start <= many.spans[i][0] < many.spans[i][1] <= window.stop for i in window.spans)


def test_neighbours_decide_what_is_utf8() -> None:
    # The first byte of a character of two is hidden: its second stays.
    asked = read_question({"text": "é", "spans": [[0, 1]]})
    scores = np.log(np.full((1, 256), 1e-3))
    scores[0, ord("a")] = 0.0
    scores[0, 0xC4] = -1.0
    ((best, *_),) = fillings(asked, [best_at_once(asked, 0, scores, 3)])
    assert best["token"] == [0xC4 + 6]
    assert best["sequence"] == bytes([0xC4, "é".encode()[1]]).decode()
    assert best["score"] == pytest.approx(np.exp(-1))
