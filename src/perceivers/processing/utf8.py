"""UTF-8 as an automaton over bytes: which byte strings can stand in a text, and the likeliest of them.

A state is what must still come: nothing (a whole character has just ended), or some bytes of a character.
The table is that of the Unicode standard, version 15, section 3.9, table 3-7.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

START = 0
BROKEN = -1

# Bytes of a string in which some are not known yet.
Partial = tuple[int | None, ...]

# A state besides START -> the bytes that may come (first, last), and the state after them.
_ONE, _TWO, _THREE, _E0, _ED, _F0, _F4 = range(1, 8)
_RULES: tuple[tuple[int, int, int, int], ...] = (
    (START, 0x00, 0x7F, START),
    (START, 0xC2, 0xDF, _ONE),
    (START, 0xE0, 0xE0, _E0),
    (START, 0xE1, 0xEC, _TWO),
    (START, 0xED, 0xED, _ED),
    (START, 0xEE, 0xEF, _TWO),
    (START, 0xF0, 0xF0, _F0),
    (START, 0xF1, 0xF3, _THREE),
    (START, 0xF4, 0xF4, _F4),
    (_ONE, 0x80, 0xBF, START),
    (_TWO, 0x80, 0xBF, _ONE),
    (_THREE, 0x80, 0xBF, _TWO),
    (_E0, 0xA0, 0xBF, _ONE),
    (_ED, 0x80, 0x9F, _ONE),
    (_F0, 0x90, 0xBF, _TWO),
    (_F4, 0x80, 0x8F, _TWO),
)
NUM_STATES = 8


def _table() -> Int[np.ndarray, "S 256"]:
    table = np.full((NUM_STATES, 256), BROKEN, dtype=np.int64)
    for state, first, last, following in _RULES:
        table[state, first : last + 1] = following
    return table


_NEXT = _table()
# A character has at most this many bytes after its first.
_LONGEST_TAIL = 3


def state_after(data: bytes) -> int:
    """Return the state after bytes that come before; bytes that are no UTF-8 end as if a character had ended."""
    state = START
    # The character that is still open begins among the last bytes.
    tail = data[-_LONGEST_TAIL:]
    starts = [i for i, byte in enumerate(tail) if byte & 0xC0 != 0x80]
    for byte in tail[starts[-1] :] if starts else b"":
        state = int(_NEXT[state, byte])
        if state == BROKEN:
            return START
    return state


def states_before(data: bytes) -> Bool[np.ndarray, "S"]:
    """Return which states may stand before bytes that come after: those from which they go on as UTF-8."""
    allowed = np.zeros(NUM_STATES, dtype=bool)
    head = data[: _LONGEST_TAIL + 1]
    # Only what belongs to the character that may be open counts.
    length = next((i for i, byte in enumerate(head) if byte & 0xC0 != 0x80), len(head))
    for first in range(NUM_STATES):
        state = first
        for byte in head[:length]:
            state = int(_NEXT[state, byte]) if state != BROKEN else BROKEN
        allowed[first] = state == START
    return allowed


def likeliest(
    log_probabilities: Float[np.ndarray, "K 256"], top_k: int, before: bytes = b"", after: bytes = b""
) -> list[tuple[float, bytes]]:
    """Return the `top_k` likeliest strings of bytes that are UTF-8 between their neighbours, the likeliest first.

    Each byte is drawn on its own. Exact: of the strings that end in the same state, only the best `top_k` can grow
    into a best one. Where no string fits between the neighbours, which are then no text, all strings count.

    Args:
        log_probabilities: Of each byte at each of `K` places.
        top_k: How many strings.
        before: The bytes before them.
        after: The bytes after them.
    """
    final = states_before(after)
    beams: dict[int, list[tuple[float, bytes]]] = {state_after(before): [(0.0, b"")]}
    for row in log_probabilities:
        grown: dict[int, list[tuple[float, bytes]]] = {}
        for state, strings in beams.items():
            for following, candidates in _followers(row, state, top_k):
                grown.setdefault(following, []).extend(
                    (score + added, string + bytes([byte])) for score, string in strings for added, byte in candidates
                )
        beams = {state: sorted(strings, reverse=True)[:top_k] for state, strings in grown.items()}
    fitting = [entry for state, strings in beams.items() if final[state] for entry in strings]
    return sorted(fitting, reverse=True)[:top_k] if fitting else _likeliest_of_all(log_probabilities, top_k)


def likeliest_in_turn(
    scores_of: Callable[[Sequence[Partial]], Float[np.ndarray, "S K 256"]],
    length: int,
    width: int,
    before: bytes = b"",
    after: bytes = b"",
) -> list[tuple[float, bytes]]:
    """Return likely strings of bytes that are UTF-8 between their neighbours, by beam search, the likeliest first.

    Bytes are filled in one at a time, the surest place first, and each depends on those that are there already. Where
    no string fits between the neighbours, all strings count.

    Args:
        scores_of: For strings with holes in them, the log-probability of each byte in each of their holes, in order.
        length: Bytes of a string.
        width: How many strings with holes are followed, and strings returned.
        before: The bytes before them.
        after: The bytes after them.
    """
    free = not _allowed([None] * length, 0, before, after).any()
    beams: list[tuple[float, Partial]] = [(0.0, (None,) * length)]
    for _ in range(length):
        grown: dict[Partial, float] = {}
        for (score, string), scores in zip(beams, scores_of([string for _, string in beams]), strict=True):
            holes = [place for place, byte in enumerate(string) if byte is None]
            fits = [np.ones(256, dtype=bool) if free else _allowed(string, place, before, after) for place in holes]
            rows = np.where(np.stack(fits), scores, -np.inf)
            surest = int(rows.max(axis=1).argmax())
            place, row = holes[surest], rows[surest]
            for byte in np.argsort(-row, kind="stable")[:width]:
                if fits[surest][byte]:
                    filled = (*string[:place], int(byte), *string[place + 1 :])
                    grown[filled] = max(grown.get(filled, -np.inf), score + float(row[byte]))
        beams = sorted(((score, string) for string, score in grown.items()), key=lambda beam: -beam[0])[:width]
    return [(score, bytes(byte for byte in string if byte is not None)) for score, string in beams]


def _allowed(string: Sequence[int | None], place: int, before: bytes, after: bytes) -> Bool[np.ndarray, "256"]:
    """Return which bytes can stand in a hole so that the other holes can be filled to UTF-8."""
    known = _NEXT != BROKEN
    reached = np.zeros(NUM_STATES, dtype=bool)
    reached[state_after(before)] = True
    for byte in string[:place]:
        columns = slice(None) if byte is None else slice(byte, byte + 1)
        following = np.zeros(NUM_STATES, dtype=bool)
        following[_NEXT[reached, columns][known[reached, columns]]] = True
        reached = following
    leading = states_before(after)
    for byte in reversed(string[place + 1 :]):
        columns = slice(None) if byte is None else slice(byte, byte + 1)
        leading = (known[:, columns] & leading[_NEXT[:, columns]]).any(axis=1)
    return (known[reached] & leading[_NEXT[reached]]).any(axis=0)


def _followers(row: np.ndarray, state: int, top_k: int) -> Iterator[tuple[int, list[tuple[float, int]]]]:
    """Yield each state that can follow with its best bytes."""
    for following in np.unique(_NEXT[state]):
        if following == BROKEN:
            continue
        choices = np.flatnonzero(_NEXT[state] == following)
        best = choices[np.argsort(-row[choices], kind="stable")[:top_k]]
        yield int(following), [(float(row[byte]), int(byte)) for byte in best]


def _likeliest_of_all(log_probabilities: np.ndarray, top_k: int) -> list[tuple[float, bytes]]:
    strings = [(0.0, b"")]
    for row in log_probabilities:
        best = np.argsort(-row, kind="stable")[:top_k]
        grown = [(score + float(row[byte]), string + bytes([int(byte)])) for score, string in strings for byte in best]
        strings = sorted(grown, reverse=True)[:top_k]
    return strings
