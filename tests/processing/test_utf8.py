import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from perceivers.processing.utf8 import START, Partial, likeliest, likeliest_in_turn, state_after, states_before


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


def test_bytes_in_turn_begin_with_the_surest_and_see_it() -> None:
    noise = np.random.default_rng(0)
    bytes_ = [0x41, 0x42, 0x43, 0x44, 0xC3]
    alone = np.full((2, 256), -50.0)
    alone[:, bytes_] = noise.normal(size=(2, len(bytes_)))
    given = np.full((2, 256, 256), -50.0)  # of the other place, given the byte in this one
    given[:, :, bytes_] = noise.normal(size=(2, 256, len(bytes_)))

    def scores_of(strings: Sequence[Partial]) -> np.ndarray:
        rows = []
        for string in strings:
            known = [(place, byte) for place, byte in enumerate(string) if byte is not None]
            rows.append(given[known[0]][None] if known else alone)
        return np.stack(rows)

    surest = int(alone[:, bytes_[:-1]].max(axis=1).argmax())
    expected = []
    for first, second in itertools.product(bytes_, repeat=2):
        string = bytes([first, second]) if surest == 0 else bytes([second, first])
        if is_text(string):
            expected.append((alone[surest, first] + given[surest, first, second], string))
    expected.sort(reverse=True)
    found = likeliest_in_turn(scores_of, 2, 60)
    assert [string for _, string in found[: len(expected)]] == [string for _, string in expected]
    np.testing.assert_allclose([score for score, _ in found[: len(expected)]], [score for score, _ in expected])


def test_bytes_in_turn_that_do_not_depend_on_each_other_are_the_likeliest() -> None:
    scores = np.log(np.random.default_rng(1).dirichlet(np.ones(256), 4))

    def scores_of(strings: Sequence[Partial]) -> np.ndarray:
        return np.stack([scores[[place for place, byte in enumerate(string) if byte is None]] for string in strings])

    found, expected = likeliest_in_turn(scores_of, 4, 300), likeliest(scores, 10)
    assert [string for _, string in found[:10]] == [string for _, string in expected]
    assert [score for score, _ in found[:10]] == pytest.approx([score for score, _ in expected])


def flat(row: np.ndarray):
    """Return scores that are the same in every hole."""
    return lambda strings: np.stack([np.stack([row] * string.count(None)) for string in strings])


@pytest.mark.parametrize("character", ["é", "€", "🙂"])
def test_bytes_in_turn_complete_a_character(character: str) -> None:
    data = character.encode()
    # By itself the likeliest byte is never part of a longer character.
    scores = np.zeros(256)
    scores[ord("x")] = 9.0
    for start, stop in itertools.combinations(range(len(data) + 1), 2):
        before, after = b"x" + data[:start], data[stop:] + b"y"
        found = likeliest_in_turn(flat(scores), stop - start, 3, before, after)
        assert found
        assert all(is_text(before + string + after) for _, string in found)


def test_bytes_in_turn_are_text_whatever_comes_first() -> None:
    """Random scores put first bytes of long characters anywhere; what is filled later has to complete them."""
    noise = np.random.default_rng(2)
    for length in (1, 2, 3, 4, 5):
        for _ in range(10):
            table = noise.normal(size=(length, 256)) * 3

            def scores_of(strings: Sequence[Partial], table: np.ndarray = table) -> np.ndarray:
                holes = [[place for place, byte in enumerate(string) if byte is None] for string in strings]
                return np.stack([table[places] for places in holes])

            found = likeliest_in_turn(scores_of, length, 4)
            assert len(found) == 4
            assert len({string for _, string in found}) == 4
            assert all(is_text(string) and len(string) == length for _, string in found)


def test_bytes_in_turn_between_bytes_that_are_no_text() -> None:
    scores = np.zeros(256)
    scores[0xFF] = 1.0
    assert likeliest_in_turn(flat(scores), 1, 1, b"", b"\x80\x80\x80\x80") == [(1.0, b"\xff")]
