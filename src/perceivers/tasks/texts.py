"""What tasks that read text have in common."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from perceivers.processing.heat_pictures import heat_on_text
from perceivers.processing.text import ByteTokenizer, windows

_TOKENIZER = ByteTokenizer()
# Stands for a hidden byte in pictures.
_HIDDEN = ord("_")


def frame(ids: Int[np.ndarray, "M"]) -> Int[np.ndarray, "M+2"]:
    """Put the ids of a beginning and an end around a text, as the tokenizer of `transformers` does."""
    return np.concatenate([[_TOKENIZER.cls_id], ids, [_TOKENIZER.sep_id]])


def text_pieces(ids: Int[np.ndarray, "M"], max_length: int, *, special_tokens: bool) -> Iterator[dict[str, Any]]:
    """Yield windows of a text, side by side, as prepared rows.

    Args:
        ids: Of the text.
        max_length: What the model reads at once.
        special_tokens: Put a beginning and an end around each window.

    Raises:
        ValueError: The text is empty.
    """
    if not len(ids):
        raise ValueError("the text is empty; at least one character is needed")
    length = max_length - 2 * special_tokens
    for start, stop in windows(len(ids), length, length):
        window = ids[start:stop]
        yield {"input_ids": frame(window) if special_tokens else window}


def draw_text_weights(item: Mapping[str, Any], weights: Float[np.ndarray, "M"]) -> Image.Image:
    """Draw a prepared row of text, each byte coloured by its weight; hidden bytes are shown as `_`."""
    ids = np.asarray(item["input_ids"])
    shown = (ids >= _TOKENIZER.num_special) | (ids == _TOKENIZER.mask_id)
    data = np.where(ids == _TOKENIZER.mask_id, _HIDDEN, ids - _TOKENIZER.num_special)[shown]
    text = data.astype(np.uint8).tobytes().decode("utf-8", "surrogateescape")
    return heat_on_text(text, weights[: len(ids)][shown])
