import itertools

import numpy as np
import pytest

from perceivers.processing.utf8 import START, likeliest, state_after, states_before


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
