import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from perceivers.processing.utf8 import START, likeliest, likeliest_in_turn, state_after, states_before


def is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("length", [1, 2])
def test_strings_are_those_that_python_reads(length: int) -> None:
    """All of them, and none else, when the top is large enough for all."""
    scores = np.log(np.random.default_rng(0).dirichlet(np.ones(256), length))
    every = [bytes(string) for string in itertools.product(range(256), repeat=length)]
    expected = {string for string in every if is_text(string)}
    found = likeliest(scores, len(every))
    assert {string for _, string in found} == expected
    for score, string in found[:100]:
        assert score == pytest.approx(sum(scores[i, byte] for i, byte in enumerate(string)))
    assert [score for score, _ in found] == sorted((score for score, _ in found), reverse=True)


@pytest.mark.parametrize("length", [3, 4])
def test_the_best_are_found_among_long_characters(length: int) -> None:
    """A few bytes of each kind have all the probability: then all strings can be tried."""
    noise = np.random.default_rng(length)
    bytes_ = [0x41, 0x7A, 0xC3, 0xE0, 0xE2, 0xED, 0xEF, 0xF0, 0xF3, 0xF4, 0xF5, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF]
    scores = np.full((length, 256), -50.0)
    scores[:, bytes_] = noise.normal(size=(length, len(bytes_)))
    every = [bytes(string) for string in itertools.product(bytes_, repeat=length)]
    ranked = sorted(
        ((sum(scores[i, byte] for i, byte in enumerate(string)), string) for string in every if is_text(string)),
        reverse=True,
    )
    for top_k in (1, 5, 30):
        assert [string for _, string in likeliest(scores, top_k)] == [string for _, string in ranked[:top_k]]


@pytest.mark.parametrize("character", ["é", "€", "🙂", "\ud7ff", "\U0010ffff"])
def test_any_part_of_a_character_can_be_filled(character: str) -> None:
    data = character.encode()
    for start, stop in itertools.combinations(range(len(data) + 1), 2):
        before, after = b"x" + data[:start], data[stop:] + b"y"
        found = likeliest(np.zeros((stop - start, 256)), 5, before, after)
        assert len(found) == 5 or stop - start == 1
        assert all(is_text(before + string + after) for _, string in found)
        assert states_before(data[start:])[state_after(data[:start])]


def test_states() -> None:
    assert state_after(b"") == state_after(b"abc") == state_after("é".encode()) == START
    assert state_after("é".encode()[:1]) != START
    assert state_after("🙂".encode()[:3]) == state_after("é".encode()[:1])
    # Bytes that are no text leave nothing open.
    assert state_after(b"\xff") == state_after(b"\xc3a") == state_after(b"\x80\x80\x80") == START
    assert states_before(b"")[START]
    assert not states_before(b"\x80")[START]


def test_between_bytes_that_are_no_text_everything_counts() -> None:
    scores = np.zeros((1, 256))
    scores[0, 0xFF] = 1.0
    ((_, best),) = likeliest(scores, 1, b"", b"\x80\x80\x80\x80")
    assert best == b"\xff"


def test_impossible_bytes_come_last() -> None:
    scores = np.full((2, 256), -np.inf)
    scores[:, ord("o")] = 0.0
    scores[1, ord("n")] = -0.5
    assert [string for _, string in likeliest(scores, 2)] == [b"oo", b"on"]


def chained(scores: np.ndarray):
    """Return scores of a next byte that depend on where and after which byte it comes: (length, 256, 256)."""

    def next_scores(strings: Sequence[bytes]) -> np.ndarray:
        assert len({len(string) for string in strings}) == 1
        return np.stack([scores[len(string), string[-1] if string else 0] for string in strings])

    return next_scores


def test_bytes_in_turn_are_judged_by_those_before_them() -> None:
    noise = np.random.default_rng(0)
    bytes_ = [0x41, 0x42, 0xC3, 0xE2, 0x82, 0xAC, 0xF0]
    scores = np.full((3, 256, 256), -50.0)
    scores[:, :, bytes_] = noise.normal(size=(3, 256, len(bytes_)))
    every = [bytes(string) for string in itertools.product(bytes_, repeat=3) if is_text(bytes(string))]

    def score_of(string: bytes) -> float:
        return sum(scores[i, string[i - 1] if i else 0, byte] for i, byte in enumerate(string))

    ranked = sorted(((score_of(string), string) for string in every), reverse=True)
    # With room for every beginning the search is exact.
    found = likeliest_in_turn(chained(scores), 3, 200)
    assert [string for _, string in found[:20]] == [string for _, string in ranked[:20]]
    np.testing.assert_allclose([score for score, _ in found[:20]], [score for score, _ in ranked[:20]])
    # The best first byte does not lead to the best string here, so that following one beginning only is worse.
    ((alone, _),) = likeliest_in_turn(chained(scores), 3, 1)
    assert alone < ranked[0][0]


def test_bytes_in_turn_that_do_not_depend_on_each_other_are_the_likeliest() -> None:
    scores = np.log(np.random.default_rng(1).dirichlet(np.ones(256), 4))
    in_turn = likeliest_in_turn(lambda strings: np.repeat(scores[len(strings[0])][None], len(strings), axis=0), 4, 300)
    assert in_turn[:10] == likeliest(scores, 10)


@pytest.mark.parametrize("character", ["é", "€", "🙂"])
def test_bytes_in_turn_complete_a_character(character: str) -> None:
    data = character.encode()
    # By itself the likeliest byte is never part of a longer character.
    scores = np.zeros(256)
    scores[ord("x")] = 9.0
    for start, stop in itertools.combinations(range(len(data) + 1), 2):
        before, after = b"x" + data[:start], data[stop:] + b"y"
        found = likeliest_in_turn(lambda strings: np.stack([scores] * len(strings)), stop - start, 3, before, after)
        assert found
        assert all(is_text(before + string + after) for _, string in found)


def test_bytes_in_turn_between_bytes_that_are_no_text() -> None:
    scores = np.zeros((1, 256))
    scores[0, 0xFF] = 1.0
    assert likeliest_in_turn(lambda strings: scores, 1, 1, b"", b"\x80\x80\x80\x80") == [(1.0, b"\xff")]
