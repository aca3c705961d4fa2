"""Text as UTF-8 bytes: ids, offsets, masks, padding and windows, all vectorised."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

_MASK = re.compile(r"\[MASK(?::([^\]]*))?\]")
# No model reads more; a slip of the finger must not fill the memory.
_WIDEST_MASK = 2**16
_SPACES = np.frombuffer(b" \t\n\r\v\f", dtype=np.uint8)


class ByteTokenizer:
    """The original's vocabulary: six special ids, then byte `b` as id `b + 6`. Nothing is learned."""

    pad_id = 0
    bos_id = 1
    eos_id = 2
    mask_id = 3
    cls_id = 4
    sep_id = 5
    num_special = 6
    vocab_size = 262

    def encode(self, text: str) -> np.ndarray:
        """Return the ids (M,) of the text's bytes; no special ids are added."""
        return np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.int64) + self.num_special

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of `ids`; special ids are left out, broken UTF-8 becomes U+FFFD.

        Raises:
            ValueError: An id is outside the vocabulary.
        """
        array = np.asarray(ids, dtype=np.int64)
        if array.size and (array.min() < 0 or array.max() >= self.vocab_size):
            raise ValueError(f"ids must lie in [0, {self.vocab_size}), got {int(array.min())} to {int(array.max())}")
        data = (array[array >= self.num_special] - self.num_special).astype(np.uint8)
        return data.tobytes().decode("utf-8", "replace")

    def offsets(self, text: str) -> np.ndarray:
        """Return the character index of each byte, (M,)."""
        data = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
        # Continuation bytes look like 10xxxxxx; every other byte starts a character.
        return np.cumsum((data & 0xC0) != 0x80) - 1

    def byte_span(self, text: str, start: int, stop: int) -> tuple[int, int]:
        """Return the bytes of the characters `start` to `stop`.

        Raises:
            ValueError: The span does not lie in the text.
        """
        if not 0 <= start <= stop <= len(text):
            raise ValueError(f"characters {start} to {stop} do not lie in a text of {len(text)} characters")
        before = len(text[:start].encode("utf-8"))
        return before, before + len(text[start:stop].encode("utf-8"))

    def character_span(self, text: str, start: int, stop: int) -> tuple[int, int]:
        """Return the characters that the bytes `start` to `stop` touch.

        Raises:
            ValueError: The span is empty or does not lie in the text.
        """
        offsets = self.offsets(text)
        if not 0 <= start < stop <= len(offsets):
            raise ValueError(f"bytes {start} to {stop} do not lie in a text of {len(offsets)} bytes")
        return int(offsets[start]), int(offsets[stop - 1]) + 1

    def pad(self, rows: Sequence[np.ndarray], length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Put rows of different lengths into one array.

        Args:
            rows: Ids, one array a text.
            length: Length to pad to; `None` takes the longest row's.

        Returns:
            `input_ids` (B, M) and `keep_mask` (B, M), `True` where there is text.

        Raises:
            ValueError: A row is longer than `length`.
        """
        longest = max((len(row) for row in rows), default=0)
        length = longest if length is None else length
        if longest > length:
            raise ValueError(f"a row of {longest} ids does not fit into {length}")
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        keep_mask = np.arange(length)[None] < lengths[:, None]
        input_ids = np.full((len(rows), length), self.pad_id, dtype=np.int64)
        if keep_mask.any():
            input_ids[keep_mask] = np.concatenate(rows)
        return input_ids, keep_mask

    def encode_with_masks(self, text: str) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """Turn `[MASK]` (one byte) and `[MASK:n]` (n bytes) into mask ids.

        Returns:
            The ids (M,), and start and stop of each mask.

        Raises:
            ValueError: A mask has no width, or more than 65,536.
        """
        pieces: list[np.ndarray] = []
        spans: list[tuple[int, int]] = []
        length = last = 0
        for match in _MASK.finditer(text):
            width = _mask_width(match)
            before = self.encode(text[last : match.start()])
            start = length + len(before)
            pieces += [before, np.full(width, self.mask_id, dtype=np.int64)]
            spans.append((start, start + width))
            length, last = start + width, match.end()
        return np.concatenate([*pieces, self.encode(text[last:])]), spans

    def is_space(self, ids: Any) -> Any:
        """Return where `ids` (an array or tensor of any shape) are white space."""
        found = ids == int(_SPACES[0]) + self.num_special
        for byte in _SPACES[1:]:
            found = found | (ids == int(byte) + self.num_special)
        return found

    def words(self, ids: np.ndarray) -> list[tuple[int, int]]:
        """Return start and stop of each run of bytes that are not white space."""
        inside = np.concatenate([[False], ~self.is_space(ids) & (ids >= self.num_special), [False]])
        edges = np.flatnonzero(inside[1:] != inside[:-1])
        return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _mask_width(match: re.Match[str]) -> int:
    number = match.group(1)
    width = 1 if number is None else int(number) if re.fullmatch(r"[0-9]{1,6}", number) else 0
    if not 1 <= width <= _WIDEST_MASK:
        raise ValueError(f"{match.group(0)} must be [MASK] or [MASK:n] with n from 1 to {_WIDEST_MASK} bytes")
    return width


def windows(length: int, window: int, stride: int) -> list[tuple[int, int]]:
    """Return spans of at most `window` that cover `length` elements, the last one ending at the end.

    Raises:
        ValueError: `stride` would leave gaps.
    """
    if not 0 < stride <= window:
        raise ValueError(f"stride ({stride}) must lie between 1 and the window ({window})")
    if length <= window:
        return [(0, length)]
    starts = [*range(0, length - window, stride), length - window]
    return [(start, start + window) for start in starts]
