"""The byte tokenizer: the original's ids, offsets, masks, padding, words and windows."""

import re

import numpy as np
import pytest

from perceivers.processing import ByteTokenizer
from perceivers.processing.text import windows

TOKENIZER = ByteTokenizer()
MIXED = "né 世🌍!"


# From the original's own tokenizer (`tokenizer` in the golden primitives).
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        ("a", [103]),
        (
            "Perceiver é世🌍!\n\0",
            [86, 107, 120, 105, 107, 111, 124, 107, 120, 38, 201, 175, 234, 190, 156, 246, 165, 146, 147, 39, 16, 6],
        ),
        ("ÿ", [201, 197]),
    ],
)
def test_encode_gives_the_originals_ids(text: str, ids: list[int]) -> None:
    encoded = TOKENIZER.encode(text)
    assert encoded.tolist() == ids
    assert encoded.dtype == np.int64
    assert TOKENIZER.decode(encoded) == text


@pytest.mark.parametrize(
    ("ids", "text"), [([0, 1, 71, 2, 3, 72, 4, 5], "AB"), ([261, 71], "\ufffdA"), ([234, 190], "\ufffd")]
)
def test_decode_gives_the_originals_text(ids: list[int], text: str) -> None:
    assert TOKENIZER.decode(ids) == text


@pytest.mark.parametrize("ids", [[262], [-1]])
def test_decode_refuses_ids_outside_the_vocabulary(ids: list[int]) -> None:
    with pytest.raises(ValueError, match="262"):
        TOKENIZER.decode(ids)


def test_offsets_name_the_character_of_each_byte() -> None:
    expected = [i for i, character in enumerate(MIXED) for _ in character.encode()]
    assert TOKENIZER.offsets(MIXED).tolist() == expected
    assert TOKENIZER.offsets("").tolist() == []


def test_spans_go_both_ways() -> None:
    for start in range(len(MIXED)):
        for stop in range(start + 1, len(MIXED) + 1):
            span = TOKENIZER.byte_span(MIXED, start, stop)
            assert MIXED.encode()[slice(*span)].decode() == MIXED[start:stop]
            assert TOKENIZER.character_span(MIXED, *span) == (start, stop)


def test_part_of_a_character_maps_to_the_whole() -> None:
    assert TOKENIZER.character_span("a世b", 2, 3) == (1, 2)


def test_spans_outside_the_text_are_refused() -> None:
    with pytest.raises(ValueError, match="1 to 9"):
        TOKENIZER.byte_span("abc", 1, 9)
    with pytest.raises(ValueError, match="2 to 2"):
        TOKENIZER.character_span("abc", 2, 2)


def test_pad() -> None:
    input_ids, keep_mask = TOKENIZER.pad([TOKENIZER.encode("ab"), TOKENIZER.encode(""), TOKENIZER.encode("c")], 3)
    assert input_ids.tolist() == [[103, 104, 0], [0, 0, 0], [105, 0, 0]]
    assert keep_mask.tolist() == [[True, True, False], [False] * 3, [True, False, False]]
    assert input_ids.dtype == np.int64
    assert keep_mask.dtype == np.bool_
    assert TOKENIZER.pad([TOKENIZER.encode("ab")])[0].shape == (1, 2)


def test_pad_refuses_a_row_that_is_too_long() -> None:
    with pytest.raises(ValueError, match=r"3 ids .* 2"):
        TOKENIZER.pad([TOKENIZER.encode("abc")], 2)


def test_masks_stand_for_bytes() -> None:
    ids, spans = TOKENIZER.encode_with_masks("é[MASK][MASK:3]b")
    assert ids.tolist() == [201, 175, 3, 3, 3, 3, 104]
    assert spans == [(2, 3), (3, 6)]
    assert TOKENIZER.encode_with_masks("no mask")[1] == []


@pytest.mark.parametrize("mask", ["[MASK:0]", "[MASK:-1]", "[MASK:]", "[MASK:two]", "[MASK:99999999999]"])
def test_bad_masks_are_refused_by_name(mask: str) -> None:
    with pytest.raises(ValueError, match=re.escape(mask)):
        TOKENIZER.encode_with_masks(f"a {mask} b")


def test_words_are_runs_of_bytes_that_are_not_white_space() -> None:
    text = "  two\twörds\n"
    assert [TOKENIZER.decode(TOKENIZER.encode(text)[a:b]) for a, b in TOKENIZER.words(TOKENIZER.encode(text))] == [
        "two",
        "wörds",
    ]
    assert TOKENIZER.words(np.array([1, 103, 3, 104, 2])) == [(1, 2), (3, 4)]
    assert TOKENIZER.words(TOKENIZER.encode(" \n")) == []


@pytest.mark.parametrize("length", [1, 9, 10, 11, 15, 37])
@pytest.mark.parametrize("stride", [1, 4, 10])
def test_windows_cover_everything(length: int, stride: int) -> None:
    spans = windows(length, 10, stride)
    assert set().union(*(range(a, b) for a, b in spans)) == set(range(length))
    assert all(b - a == min(10, length) for a, b in spans)


def test_windows_refuse_gaps() -> None:
    with pytest.raises(ValueError, match=r"stride \(11\)"):
        windows(50, 10, 11)
