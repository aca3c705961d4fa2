"""What tasks that read text have in common."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from perceivers.adapters.text import TextInputConfig, TextNeighboursQueryConfig, TextQueryConfig
from perceivers.model import PerceiverConfig
from perceivers.processing.heat_pictures import heat_on_text
from perceivers.processing.text import ByteTokenizer, windows
from perceivers.tasks.drawing import below, draw_text
from perceivers.tasks.masking import random_mask

_TOKENIZER = ByteTokenizer()
# Stands for a hidden byte in pictures.
_HIDDEN = ord("_")


def asking_at_bytes(usual: PerceiverConfig, config: PerceiverConfig) -> PerceiverConfig:
    """Return the usual model of a task that asks at single bytes, made to ask at any byte that another model reads.

    Queries and decoder of a model that asks at bytes already, as language models do, take the place of the usual ones.

    Args:
        usual: The task's usual model; its queries have a `max_length`.
        config: The other model.
    """
    if isinstance(config.queries, TextQueryConfig | TextNeighboursQueryConfig):
        return replace(usual, queries=config.queries, decoder=config.decoder)
    if not isinstance(config.inputs, TextInputConfig):
        return usual
    assert isinstance(usual.queries, TextQueryConfig | TextNeighboursQueryConfig)
    return replace(usual, queries=replace(usual.queries, max_length=config.inputs.max_length))


def frame(ids: Int[np.ndarray, "M"]) -> Int[np.ndarray, "M+2"]:
    """Put the ids of a beginning and an end around a text, as the tokenizer of `transformers` does."""
    return np.concatenate([[_TOKENIZER.cls_id], ids, [_TOKENIZER.sep_id]])


def read_texts(text: str, text_pair: str | None, max_length: int, *, special_tokens: bool) -> Int[np.ndarray, "M"]:
    """Return the ids of a text, or of two texts with the id of a separator between them.

    Args:
        text: The text.
        text_pair: The second one, if there is one.
        max_length: What the model reads. What is longer is cut at its end; of two texts the longer one is.
        special_tokens: Put a beginning and an end around them.
    """
    room = max_length - 2 * special_tokens
    ids = _TOKENIZER.encode(text)
    if text_pair is None:
        ids = ids[:room]
    else:
        second, room = _TOKENIZER.encode(text_pair), room - 1
        half = room // 2
        # A text that is shorter than its half leaves the rest to the other.
        first_room = max(half, room - len(second))
        second_room = max(room - half, room - len(ids))
        ids = np.concatenate([ids[:first_room], [_TOKENIZER.sep_id], second[:second_room]])
    return frame(ids) if special_tokens else ids


def text_batch(items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Return the `input_ids` of prepared rows, padded to the longest, and their `keep_mask`, both (B, M)."""
    input_ids, keep_mask = _TOKENIZER.pad([item["input_ids"] for item in items])
    return {"input_ids": torch.from_numpy(input_ids), "keep_mask": torch.from_numpy(keep_mask)}


def with_bytes_hidden(batch: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return a batch of texts in which a share of the bytes, drawn at random, is replaced by the mask."""
    text = batch["keep_mask"] & (batch["input_ids"] >= _TOKENIZER.num_special)
    hidden = random_mask(text, share)
    return {**batch, "input_ids": batch["input_ids"].masked_fill(hidden, _TOKENIZER.mask_id)}


def check_not_empty(texts: Iterable[str], task: str) -> None:
    """Raise a `ValueError` that names the first text of no characters."""
    for i, text in enumerate(texts):
        if not text:
            raise ValueError(f"text {i} is empty; {task} needs at least one character")


def draw_texts(row: Mapping[str, Any]) -> Image.Image:
    """Draw a row's text, and the second one below it, if there is one."""
    pair = row.get("text_pair")
    return draw_text(row["text"]) if pair is None else below([draw_text(row["text"]), draw_text(pair)])


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
