"""Masked language modelling: bytes with some hidden in, the hidden bytes out."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset
from torchmetrics import MeanMetric, Metric, MetricCollection

from perceivers.adapters.text import TextInputConfig, TextOutputConfig
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.processing.text import ByteTokenizer
from perceivers.tasks.base import TASKS, Result, Rows, Step, Task, to_device
from perceivers.tasks.classes import beside, draw_bars
from perceivers.tasks.drawing import draw_text
from perceivers.tasks.masking import random_mask, random_word_mask

if TYPE_CHECKING:
    from typing_extensions import Self

_IGNORE = -100


@dataclass(frozen=True, kw_only=True)
class FillMaskSettings:
    """Settings of masked language modelling.

    Evaluation hides what `masking` says and shows the mask for every hidden byte, so its scores do not depend on
    `byte_share`, `replace_random` and `keep_same`.

    Args:
        masking: What is hidden: whole words, as in Perceiver IO's pre-training, or single bytes.
        mask_probability: Share of words or bytes that is hidden.
        byte_share: Of the training texts, the share in which single bytes are hidden even though `masking` is
            "words". What a hidden byte's neighbours say is found soon, and so is where they are: a model that
            starts from nothing needs such texts to begin to learn.
        replace_random: Of the hidden bytes, the share shown as a random byte instead of the mask while training.
        keep_same: Of the hidden bytes, the share shown as it is while training.
        train_stride: Bytes from one training window to the next; evaluation uses windows side by side.
    """

    masking: Literal["words", "bytes"] = "words"
    mask_probability: float = 0.15
    byte_share: float = 0.0
    replace_random: float = 0.0
    keep_same: float = 0.0
    train_stride: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.mask_probability < 1:
            raise ValueError(f"mask_probability ({self.mask_probability}) must lie between 0 and 1")
        if not 0 <= self.byte_share <= 1:
            raise ValueError(f"byte_share ({self.byte_share}) must lie between 0 and 1")
        if self.replace_random < 0 or self.keep_same < 0 or self.replace_random + self.keep_same > 1:
            raise ValueError(
                f"replace_random ({self.replace_random}) and keep_same ({self.keep_same}) must be shares of at most 1"
            )
        if self.train_stride is not None and self.train_stride < 1:
            raise ValueError(f"train_stride ({self.train_stride}) must be at least 1")


@TASKS.register("fill-mask")
class FillMask(Task[FillMaskSettings]):
    """Predicts hidden bytes; only the hidden positions are decoded."""

    Settings = FillMaskSettings
    roles: ClassVar[tuple[str, ...]] = ("text",)
    input_role = "text"
    default_model = "language-small"
    score = "bits_per_byte"
    higher_is_better = False

    def __init__(self, settings: FillMaskSettings, config: PerceiverConfig) -> None:
        super().__init__(settings, config)
        if not isinstance(config.inputs, TextInputConfig) or not isinstance(config.outputs, TextOutputConfig):
            raise ValueError(
                f"fill-mask needs a model with text inputs and outputs, "
                f"not '{config.inputs.kind}' and '{config.outputs.kind}'"
            )
        self.max_length = config.inputs.max_length
        self.tokenizer = ByteTokenizer()

    @classmethod
    def example(cls) -> "tuple[Self, Rows]":
        """Return a tiny task on two lines of text."""
        from perceivers.zoo import ZOO

        rows = [{"text": "It was the best of times, it was the worst of times. " * 12}, {"text": "une journée d'été"}]
        return cls.fit(ZOO["language-small"].config, None, {}), rows

    def dataset(self, rows: Rows, *, training: bool) -> Dataset[dict[str, Any]]:
        """Join all text and cut it into windows as long as the model reads."""
        stride = (self.settings.train_stride or self.max_length) if training else self.max_length
        return TextWindows([row["text"] for row in rows], self.tokenizer, self.max_length, stride)

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ids of the text's first bytes."""
        return {"input_ids": self.tokenizer.encode(row["text"])[: self.max_length]}

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return `input_ids` and `keep_mask` (B, M), padded to the longest."""
        input_ids, keep_mask = self.tokenizer.pad([item["input_ids"] for item in items])
        return {"input_ids": torch.from_numpy(input_ids), "keep_mask": torch.from_numpy(keep_mask)}

    def augment(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Hide bytes: at random while training, always the same ones of a given text otherwise.

        Adds `where` (B, K), the hidden positions, and `target` (B, K), their ids; rows with fewer
        are filled up with targets that do not count.
        """
        ids, keep_mask = batch["input_ids"], batch["keep_mask"]
        if training:
            hidden = self._choose(ids, keep_mask, None)
            if self.settings.byte_share:
                by_byte = torch.rand(len(ids), 1) < self.settings.byte_share
                hidden = torch.where(by_byte, random_mask(keep_mask, self.settings.mask_probability), hidden)
            shown = self._corrupt(ids, hidden)
        else:
            hidden = torch.stack([self._choose_always(a, b) for a, b in zip(ids, keep_mask, strict=True)])
            shown = ids.masked_fill(hidden, self.tokenizer.mask_id)
        where, counts = _positions(hidden)
        target = torch.take_along_dim(ids, where, dim=1).masked_fill(~counts, _IGNORE)
        return {**batch, "input_ids": shown, "where": where, "target": target}

    def step(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        """Return the cross-entropy, in nats, over the hidden bytes of a batch."""
        logits = model(batch, where=batch["where"])
        target = batch["target"]
        loss = functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=_IGNORE, reduction="sum")
        return Step(loss / (target != _IGNORE).sum().clamp(min=1), logits, target)

    def metrics(self) -> MetricCollection:
        """Return the loss in bits a hidden byte, and the share of hidden bytes that was guessed."""
        metrics: dict[str, Metric | MetricCollection] = {"bits_per_byte": MeanMetric(), "accuracy": MeanMetric()}
        # Each is updated on its own, so that they cannot share a state.
        return MetricCollection(metrics, compute_groups=False)

    def update(self, metrics: MetricCollection, step: Step) -> None:
        """Count one batch."""
        counts = step.targets != _IGNORE
        logits, targets = step.outputs[counts].float(), step.targets[counts]
        if not len(targets):
            return
        nats = functional.cross_entropy(logits, targets, reduction="none")
        metrics["bits_per_byte"].update(nats / math.log(2))
        metrics["accuracy"].update((logits.argmax(dim=-1) == targets).float())

    @torch.inference_mode()
    def predict(self, model: PerceiverIO, inputs: Sequence[Any], *, top_k: int = 5) -> list[Result]:
        """Fill `[MASK]` (one byte) and `[MASK:n]` (n bytes) in each text.

        Returns:
            For each text the best fillings of its first mask, with `score`, `token_str` and
            `sequence`; the other masks of a sequence hold their own best filling.

        Raises:
            ValueError: A text has no mask, or is longer than the model reads.
        """
        return [self._fill(model, text, top_k) for text in inputs]

    def picture(self, value: Any, result: Result) -> Image.Image:
        """Draw the filled text beside the candidates."""
        bars = [{"label": entry["token_str"], "score": entry["score"]} for entry in result]
        return beside(draw_text(result[0]["sequence"]), draw_bars(bars))

    def _fill(self, model: PerceiverIO, text: str, top_k: int) -> Result:
        ids, spans = self.tokenizer.encode_with_masks(text)
        if not spans:
            raise ValueError(f"no [MASK] or [MASK:n] in {text!r}")
        if len(ids) > self.max_length:
            raise ValueError(f"text of {len(ids)} bytes is longer than the model reads ({self.max_length})")
        where = np.concatenate([np.arange(start, stop) for start, stop in spans])
        batch = to_device(self.collate([{"input_ids": ids}]), model)
        logits = model(batch, where=torch.from_numpy(where).to(batch["input_ids"].device))[0]
        # The special ids are no text: a filling is made of bytes.
        log_probabilities = logits.double().log_softmax(dim=-1)[:, self.tokenizer.num_special :].cpu()
        filled = ids.copy()
        filled[where] = log_probabilities.argmax(dim=-1).numpy() + self.tokenizer.num_special
        start, stop = spans[0]
        results: Result = []
        for log_probability, chosen in likeliest(log_probabilities[: stop - start], top_k):
            filled[start:stop] = chosen + self.tokenizer.num_special
            results.append(
                {
                    "score": math.exp(log_probability),
                    "token": filled[start:stop].tolist(),
                    "token_str": self.tokenizer.decode(filled[start:stop]),
                    "sequence": self.tokenizer.decode(filled),
                }
            )
        return results

    def _choose(self, ids: Tensor, keep_mask: Tensor, generator: torch.Generator | None) -> Tensor:
        probability = self.settings.mask_probability
        if self.settings.masking == "bytes":
            return random_mask(keep_mask, probability, generator)
        return random_word_mask(self.tokenizer.is_space(ids), keep_mask, probability, generator)

    def _choose_always(self, ids: Tensor, keep_mask: Tensor) -> Tensor:
        """Choose for one text (M,), by the text alone: neither its neighbours nor its padding matter."""
        hidden = torch.zeros_like(keep_mask)
        own = ids[keep_mask][None]
        generator = torch.Generator().manual_seed(zlib.crc32(own.numpy().tobytes()))
        chosen = torch.zeros_like(own, dtype=torch.bool)
        # A short text may have nothing hidden at first, and would then not count at all.
        while not chosen.any() and not self.tokenizer.is_space(own).all():
            chosen = self._choose(own, torch.ones_like(chosen), generator)
        hidden[keep_mask] = chosen[0]
        return hidden

    def _corrupt(self, ids: Tensor, hidden: Tensor) -> Tensor:
        shown = ids.masked_fill(hidden, self.tokenizer.mask_id)
        if not self.settings.replace_random and not self.settings.keep_same:
            return shown
        draw = torch.rand(ids.shape)
        noise = torch.randint(self.tokenizer.num_special, self.tokenizer.vocab_size, ids.shape)
        shown = torch.where(hidden & (draw < self.settings.replace_random), noise, shown)
        return torch.where(hidden & (draw > 1 - self.settings.keep_same), ids, shown)


class TextWindows(Dataset[dict[str, Any]]):
    """Windows over the joined bytes of all texts.

    Args:
        texts: The texts; a line end is put between them.
        tokenizer: Turns text into ids.
        length: Bytes a window.
        stride: Bytes from one window's start to the next.
    """

    def __init__(self, texts: Sequence[str], tokenizer: ByteTokenizer, length: int, stride: int) -> None:
        self.ids = tokenizer.encode("\n".join(texts))
        self.length = length
        self.starts = range(0, max(len(self.ids) - length + stride, min(len(self.ids), 1)), stride)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        start = self.starts[index]
        return {"input_ids": self.ids[start : start + self.length]}


def likeliest(log_probabilities: Float[Tensor, "K V"], top_k: int) -> list[tuple[float, np.ndarray]]:
    """Return the `top_k` likeliest byte strings when each byte is drawn on its own, the likeliest first.

    Exact: of the strings that share a prefix length, only the best `top_k` can grow into a best one.
    """
    best = torch.zeros(1, dtype=log_probabilities.dtype)
    strings = torch.zeros(1, 0, dtype=torch.long)
    for row in log_probabilities:
        grown = (best[:, None] + row).flatten()
        best, flat = grown.topk(min(top_k, len(grown)))
        strings = torch.cat([strings[flat // len(row)], (flat % len(row))[:, None]], dim=1)
    return [(float(score), string.numpy()) for score, string in zip(best, strings, strict=True)]


def _positions(hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positions of the hidden bytes, row by row (B, K), and which of them count."""
    counts = hidden.sum(dim=1)
    width = max(int(counts.max()), 1)
    where = hidden.long().argsort(dim=1, descending=True, stable=True)[:, :width]
    return where, torch.arange(width)[None] < counts[:, None]
