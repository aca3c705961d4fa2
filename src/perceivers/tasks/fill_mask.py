"""Masked language modelling: bytes with some hidden in, the hidden bytes out."""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from perceivers.adapters.text import TextInputConfig, TextOutputConfig
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.processing.text import ByteTokenizer
from perceivers.tasks.base import TASKS, Metrics, Part, Result, Rows, Step, Task, to_device
from perceivers.tasks.drawing import below, beside, draw_bars, draw_text
from perceivers.tasks.filling import (
    Candidates,
    Question,
    Window,
    best_at_once,
    best_in_turn,
    fillings,
    read_question,
    windows_around,
)
from perceivers.tasks.masking import places_of, random_mask, random_word_mask
from perceivers.tasks.scores import means
from perceivers.tasks.texts import draw_text_weights, frame, text_pieces

if TYPE_CHECKING:
    from typing_extensions import Self

_IGNORE = -100
_PREDICT_BATCH_SIZE = 8
# Characters that a picture shows, and of them before what was hidden.
_SHOWN, _SHOWN_BEFORE = 400, 150


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
        special_tokens: Put the id of a beginning before a text and that of an end after it when predicting, as the
            tokenizer of `transformers` does and the original does not.
        beams: When predicting, fill the bytes of a hidden run one after the other, the surest first and each seen by
            the next, so that letters agree with each other, and follow so many fillings on the way (at least as many as
            answers are wanted); the model then reads the text once for each byte of each. 0 fills all bytes at once,
            each on its own, as the original does.
    """

    masking: Literal["words", "bytes"] = "words"
    mask_probability: float = 0.15
    byte_share: float = 0.0
    replace_random: float = 0.0
    keep_same: float = 0.0
    train_stride: int | None = None
    special_tokens: bool = False
    beams: int = 0

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
        if self.beams < 0:
            raise ValueError(f"beams ({self.beams}) must not be negative")


@TASKS.register("fill-mask")
class FillMask(Task[FillMaskSettings]):
    """Predicts hidden bytes; only the hidden positions are decoded."""

    Settings = FillMaskSettings
    roles: ClassVar[tuple[str, ...]] = ("text",)
    input_role = "text"
    default_model = "language-small"
    released_model = "language"
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
        self.text_length = self.max_length - 2 * settings.special_tokens
        self.vocab_size = config.inputs.vocab_size
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
        return {"input_ids": self._framed(self.tokenizer.encode(row["text"])[: self.text_length])}

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
        where, counts = places_of(hidden)
        target = torch.take_along_dim(ids, where, dim=1).masked_fill(~counts, _IGNORE)
        return {**batch, "input_ids": shown, "where": where, "target": target}

    def step(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        """Return the cross-entropy, in nats, over the hidden bytes of a batch."""
        logits = model(batch, where=batch["where"])
        target = batch["target"]
        loss = functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=_IGNORE, reduction="sum")
        weight = (target != _IGNORE).sum()
        loss = loss / weight.clamp(min=1)
        return Step(loss, logits, target, (Part(loss, weight),))

    def metrics(self) -> Metrics:
        """Return the loss in bits a hidden byte, and the share of hidden bytes that was guessed."""
        return means("bits_per_byte", "accuracy")

    def update(self, metrics: Metrics, step: Step) -> None:
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
        """Fill what is hidden in each text; see `read_question` for how to hide. Long texts are read by windows.

        Returns:
            For each text the best fillings of what is hidden, with `score`, `token`, `token_str` and `sequence`; for
            several hidden runs a list of such lists, one a run, in whose sequences the other runs hold their best.

        Raises:
            ValueError: A text has nothing hidden, or a hidden run is longer than the model reads.
        """
        questions = [read_question(value) for value in inputs]
        best = self._best_in_turn if self.settings.beams else self._best_at_once
        filled = [
            fillings(question, found) for question, found in zip(questions, best(model, questions, top_k), strict=True)
        ]
        return [runs[0] if len(runs) == 1 else runs for runs in filled]

    def pieces(self, value: Any) -> Iterator[dict[str, Any]]:
        """Cut a text into windows side by side; what is hidden in it stays hidden."""
        masked = not isinstance(value, str) or self.tokenizer.encode_with_masks(value)[1]
        ids = read_question(value).ids if masked else self.tokenizer.encode(value)
        yield from text_pieces(ids, self.max_length, special_tokens=self.settings.special_tokens)

    def picture(self, value: Any, result: Result) -> Image.Image:
        """Draw the filled text, a long one from shortly before what was hidden, beside the first runs' candidates."""
        runs = result if isinstance(result[0], list) else [result]
        bars = [
            draw_bars([{"label": entry["token_str"], "score": entry["score"]} for entry in run]) for run in runs[:4]
        ]
        return beside(draw_text(_excerpt(runs[0][0]["sequence"], read_question(value).spans[0][0])), below(bars))

    def draw_weights(self, item: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Image.Image:
        """Colour the text's bytes."""
        return draw_text_weights(item, weights[self.input_role])

    def _best_at_once(
        self, model: PerceiverIO, questions: Sequence[Question], top_k: int
    ) -> Iterator[list[Candidates]]:
        """Yield the candidates of each run of each question; many questions are read together."""
        rows = [(question, window) for question in questions for window in windows_around(question, self.text_length)]
        scores: dict[int, dict[int, np.ndarray]] = {id(question): {} for question in questions}
        for start in range(0, len(rows), _PREDICT_BATCH_SIZE):
            chunk = rows[start : start + _PREDICT_BATCH_SIZE]
            for (question, window), logits in zip(chunk, self._scores(model, chunk), strict=True):
                scores[id(question)].update(zip(window.spans, logits, strict=True))
        for question in questions:
            found = scores[id(question)]
            yield [best_at_once(question, run, found[run], top_k) for run in range(len(question.spans))]

    def _best_in_turn(
        self, model: PerceiverIO, questions: Sequence[Question], top_k: int
    ) -> Iterator[list[Candidates]]:
        """Do the same byte by byte; runs that are not filled yet stay hidden from each other."""
        width = max(self.settings.beams, top_k)
        for question in questions:
            windows = {run: window for window in windows_around(question, self.text_length) for run in window.spans}
            scores = {run: partial(self._next_scores, model, windows[run]) for run in windows}
            yield [best_in_turn(question, run, scores[run], width)[:top_k] for run in range(len(question.spans))]

    def _next_scores(
        self, model: PerceiverIO, window: Window, questions: Sequence[Question]
    ) -> Float[np.ndarray, "S K 256"]:
        """Return the log-probability of each byte at each place that questions ask for, all equally many."""
        rows = [(question, replace(window, spans=tuple(range(len(question.spans))))) for question in questions]
        starts = range(0, len(rows), _PREDICT_BATCH_SIZE)
        found = [self._scores(model, rows[start : start + _PREDICT_BATCH_SIZE]) for start in starts]
        return np.stack([np.concatenate(scores) for part in found for scores in part])

    def _scores(
        self, model: PerceiverIO, rows: Sequence[tuple[Question, Window]]
    ) -> list[list[Float[np.ndarray, "_ 256"]]]:
        """Return the log-probability of each byte at each place that a window asks for, run by run."""
        items, places = [], []
        shift = 1 if self.settings.special_tokens else 0
        for question, window in rows:
            items.append({"input_ids": self._framed(question.ids[window.start : window.stop])})
            spans = [question.spans[i] for i in window.spans]
            places.append(np.concatenate([np.arange(*span) - window.start + shift for span in spans]))
        batch = to_device(self.collate(items), model)
        # Rows that ask for less are filled up with a place that all have.
        width = max(len(wanted) for wanted in places)
        where = torch.from_numpy(np.stack([np.pad(wanted, (0, width - len(wanted))) for wanted in places]))
        logits = model(batch, where=where.to(batch["input_ids"].device))
        # The special ids are no text: a filling is made of bytes.
        special = self.tokenizer.num_special
        scores = logits.double().log_softmax(dim=-1)[..., special : special + 256].cpu().numpy()
        answers = []
        for (question, window), wanted, row in zip(rows, places, scores, strict=True):
            lengths = [stop - start for start, stop in (question.spans[i] for i in window.spans)]
            answers.append(np.split(row[: len(wanted)], np.cumsum(lengths)[:-1]))
        return answers

    def _framed(self, ids: np.ndarray) -> np.ndarray:
        if self.vocab_size < self.tokenizer.vocab_size:
            raise ValueError(
                f"fill-mask reads bytes, which need a vocab_size of {self.tokenizer.vocab_size}; "
                f"the model's is {self.vocab_size}"
            )
        return frame(ids) if self.settings.special_tokens else ids

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


def _excerpt(text: str, start: int) -> str:
    """Return what a picture has room for of a text, around its byte `start`."""
    first = len(text.encode("utf-8")[:start].decode("utf-8", "replace"))
    begin = max(min(first - _SHOWN_BEFORE, len(text) - _SHOWN), 0)
    end = min(begin + _SHOWN, len(text))
    return "..." * (begin > 0) + text[begin:end] + "..." * (end < len(text))
