"""Masked auto-encoding of text: hidden bytes come back, scored as by fill-mask.

Fill-mask shows a mask for each hidden byte; here hidden bytes are left out, and all that is read is text.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor
from torch.nn import functional

from perceivers.adapters import OutputConfig, RawTokens
from perceivers.adapters.text import TextInputConfig, TextOutputConfig
from perceivers.nn.positions import LearnedPositionConfig, PositionConfig
from perceivers.processing.text import ByteTokenizer
from perceivers.tasks.base import Metrics, Step
from perceivers.tasks.drawing import below, captioned, draw_text
from perceivers.tasks.masked_modalities import MODALITIES, Loss, Modality, Restored

_IGNORE = -100
_TOKENIZER = ByteTokenizer()
# Stands for a hidden byte.
_BLANK = ord("_") + _TOKENIZER.num_special
_CAPTIONS = ("original", "what was read", "restored")


class TextModality(Modality[TextInputConfig]):
    """Bytes of a text."""

    read_by: ClassVar[str] = "fill-mask"
    mask_share: ClassVar[float] = 0.2
    score: ClassVar[str] = "bits_per_byte"
    higher_is_better: ClassVar[bool] = False

    def positions(self) -> PositionConfig:
        """Return learned positions as wide as an embedding, by which answers are compared with all ids."""
        return LearnedPositionConfig(num_channels=self.inputs.num_channels)

    def outputs(self) -> OutputConfig:
        """Return scores of all ids."""
        return TextOutputConfig()

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ids of the text's first bytes.

        Raises:
            ValueError: The text is empty.
        """
        item = self.reader.prepare(row)
        if not len(item["input_ids"]):
            raise ValueError("the text is empty; at least one character is needed")
        return item

    def augment(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Leave the batch as it is: fill-mask would hide bytes in its own way."""
        return batch

    def ask(self, raw: RawTokens, where: Int[Tensor, "B K"]) -> tuple[Int[Tensor, "B K"], Tensor]:
        """Return the hidden places and the ids there."""
        return where, raw.values.take_along_dim(where, dim=1)

    def errors(self, answers: Tensor, targets: Tensor, loss: Loss) -> Float[Tensor, "B K"]:
        """Return the cross-entropy of each hidden byte, in nats."""
        return functional.cross_entropy(answers.transpose(1, 2), targets, reduction="none")

    def target_of(self, targets: Tensor, counts: Bool[Tensor, "B K"]) -> Tensor:
        """Return targets in which those that do not count have an id that fill-mask ignores."""
        return targets.masked_fill(~counts, _IGNORE)

    def metrics(self) -> Metrics:
        """Return those of fill-mask."""
        return self.reader.metrics()

    def update(self, metrics: Metrics, step: Step) -> None:
        """Count one batch."""
        self.reader.update(metrics, step)

    def fill(
        self, values: Tensor, hidden: Int[Tensor, "K"], answers: Float[Tensor, "K E"], where: Int[Tensor, "K"]
    ) -> Tensor:
        """Put the likeliest bytes in; the special ids are no text."""
        special = _TOKENIZER.num_special
        best = answers[:, special : special + 256].argmax(dim=-1) + special
        return values.index_copy(0, hidden, best)

    def blank(self, values: Tensor, hidden: Bool[Tensor, "M"]) -> Tensor:
        """Return the text with `_` for each hidden byte."""
        return values.masked_fill(hidden, _BLANK)

    def present(self, values: Tensor, grid_shape: tuple[int, ...]) -> str:
        """Return the text; bytes that are none together become U+FFFD."""
        return _TOKENIZER.decode(values.cpu().numpy())

    def draw(self, result: Restored) -> Image.Image:
        """Draw the three texts below one another."""
        texts = (result.original, result.shown, result.restored)
        return below([captioned(draw_text(text), name) for name, text in zip(_CAPTIONS, texts, strict=True)])


MODALITIES[TextInputConfig] = TextModality
