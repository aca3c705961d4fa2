"""Text classification: bytes in, label scores out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from perceivers.adapters.text import TextInputConfig
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.tasks.base import TASKS, Result, Rows
from perceivers.tasks.classes import Classification, ClassificationSettings, target_of
from perceivers.tasks.drawing import beside, draw_bars
from perceivers.tasks.texts import (
    check_not_empty,
    draw_text_weights,
    draw_texts,
    read_texts,
    text_batch,
    with_bytes_hidden,
)

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, kw_only=True)
class TextClassificationSettings(ClassificationSettings):
    """Settings of text classification, besides those of every classification.

    Args:
        byte_dropout: Share of bytes replaced by the mask while training.
        special_tokens: Put the id of a beginning before a text and that of an end after it, as the tokenizer of
            `transformers` does and the original does not.
    """

    byte_dropout: float = 0.0
    special_tokens: bool = False


@TASKS.register("text-classification")
class TextClassification(Classification[TextClassificationSettings]):
    """One label a text, or a pair of texts; text longer than the model reads is cut at the end."""

    Settings = TextClassificationSettings
    roles: ClassVar[tuple[str, ...]] = ("text", "label")
    optional_roles: ClassVar[tuple[str, ...]] = ("text_pair",)
    input_role = "text"
    default_model = "text-classifier-small"

    def __init__(self, settings: TextClassificationSettings, config: PerceiverConfig) -> None:
        super().__init__(settings, config)
        if not isinstance(config.inputs, TextInputConfig):
            raise ValueError(f"text-classification needs a model with text inputs, not '{config.inputs.kind}'")
        self.max_length = config.inputs.max_length

    @classmethod
    def example(cls) -> "tuple[Self, Rows]":
        """Return a tiny task on three sentences."""
        from perceivers.zoo import ZOO

        texts = ("good morning", "bad evening", "été à la mer")
        rows = [{"text": text, "label": i % 2} for i, text in enumerate(texts)]
        return cls.fit(ZOO["text-classifier-small"].config, ("a", "b"), {}), rows

    def input_of(self, row: Mapping[str, Any]) -> Any:
        """Return the row's text; with a second one, both by name."""
        return row["text"] if row.get("text_pair") is None else {name: row[name] for name in ("text", "text_pair")}

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ids of the text's first bytes, or of those of two texts; see `read_texts`."""
        special = self.settings.special_tokens
        ids = read_texts(row["text"], row.get("text_pair"), self.max_length, special_tokens=special)
        return {"input_ids": ids, **target_of(row)}

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return `input_ids` and `keep_mask` (B, M), padded to the longest, and, when known, `label` (B,)."""
        batch = text_batch(items)
        if "label" in items[0]:
            batch["label"] = torch.tensor([item["label"] for item in items])
        return batch

    def augment(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Hide a share of the bytes while training."""
        share = self.settings.byte_dropout
        return with_bytes_hidden(batch, share) if training and share else batch

    @torch.inference_mode()
    def predict(self, model: PerceiverIO, inputs: Sequence[Any], *, top_k: int = 5) -> list[Result]:
        """Classify texts, or pairs of them given as mappings with `text` and `text_pair`.

        Raises:
            ValueError: A text is empty.
        """
        check_not_empty((self.row_of(value)["text"] for value in inputs), self.name)
        return super().predict(model, inputs, top_k=top_k)

    def picture(self, value: Any, result: Result) -> Image.Image:
        """Draw the text beside its scores."""
        return beside(draw_texts(self.row_of(value)), draw_bars(result))

    def draw_weights(self, item: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Image.Image:
        """Colour the text's bytes."""
        return draw_text_weights(item, weights[self.input_role])
