"""Question answering: a question and a text in, the part of the text that answers it out."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from perceivers.adapters.label import LabelOutputConfig
from perceivers.adapters.text import TextInputConfig, TextNeighboursQueryConfig, TextQueryConfig
from perceivers.data.answers import compare_answers, read_answers
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.processing.span_pictures import Mark, marks_on_text
from perceivers.processing.text import ByteTokenizer, windows
from perceivers.tasks.answer_spans import Span, likeliest_spans
from perceivers.tasks.base import TASKS, Metrics, PreparedRows, Result, Rows, Step, Task, to_device
from perceivers.tasks.drawing import below, draw_bars
from perceivers.tasks.texts import asking_at_bytes, draw_text_weights, with_bytes_hidden

if TYPE_CHECKING:
    from typing_extensions import Self

_PREDICT_BATCH_SIZE = 16
# Characters of a context that a picture shows.
_SHOWN = 3000


@dataclass(frozen=True, kw_only=True)
class QuestionAnsweringSettings:
    """Settings of question answering.

    Args:
        overlap: Bytes that neighbouring windows of a long context share.
        longest_answer: Bytes that a predicted answer may have.
        no_answer: Whether questions may have no answer in their context (SQuAD 2.0): none then competes with all spans.
        byte_dropout: Share of bytes replaced by the mask while training.
    """

    overlap: int = 128
    longest_answer: int = 128
    no_answer: bool = False
    byte_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("overlap", "longest_answer"):
            # So that there is a whole character in any window, and one in any answer.
            if getattr(self, name) < 8:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 8")
        if not 0 <= self.byte_dropout < 1:
            raise ValueError(f"byte_dropout ({self.byte_dropout}) must be at least 0 and less than 1")


@TASKS.register("question-answering")
class QuestionAnswering(Task[QuestionAnsweringSettings]):
    """The part of a context that answers a question, by a score for each byte to be its first or its last.

    The model reads the id of a beginning, the question, the id of a separator, and the context or a window of it. The
    first place stands for "no answer here": that is what windows without the answer are trained on.
    """

    Settings = QuestionAnsweringSettings
    roles: ClassVar[tuple[str, ...]] = ("question", "context", "answers")
    input_role = "question"
    default_model = "question-answering-small"
    batch_size = 16
    score = "f1"

    def __init__(self, settings: QuestionAnsweringSettings, config: PerceiverConfig) -> None:
        super().__init__(settings, config)
        if not isinstance(config.inputs, TextInputConfig):
            raise ValueError(f"question-answering needs a model with text inputs, not '{config.inputs.kind}'")
        if not isinstance(config.queries, TextQueryConfig | TextNeighboursQueryConfig):
            raise ValueError(f"question-answering needs a query for each byte, not '{config.queries.kind}' queries")
        self.max_length = config.inputs.max_length
        self.tokenizer = ByteTokenizer()

    @classmethod
    def fit(cls, config: PerceiverConfig, labels: Sequence[str] | None, settings: Mapping[str, Any]) -> "Self":
        """Give the model two outputs a byte; see `Task.fit`.

        Raises:
            ValueError: The model does not answer with scores.
        """
        if not isinstance(config.outputs, LabelOutputConfig):
            raise ValueError(f"{cls.name} needs a model with 'label' outputs, not '{config.outputs.kind}'")
        outputs = dataclasses.replace(config.outputs, num_classes=2)
        return super().fit(dataclasses.replace(config, outputs=outputs), labels, settings)

    @classmethod
    def usual_model(cls, config: PerceiverConfig) -> PerceiverConfig:
        """Return the model that asks at bytes, as many as `config` reads; see `Task.usual_model`."""
        return asking_at_bytes(super().usual_model(config), config)

    @classmethod
    def example(cls) -> "tuple[Self, Rows]":
        """Return a tiny task on three questions, of which one has no answer."""
        from perceivers.zoo import ZOO

        context = "L'été, Ada Lovelace was born in London."
        answers = (("Ada Lovelace", 7), ("London", 32))
        rows: list[dict[str, Any]] = [
            {"question": question, "context": context, "answers": {"text": [text], "answer_start": [start]}}
            for question, (text, start) in zip(("Who was born?", "Where was she born?"), answers, strict=True)
        ]
        rows.append({"question": "Who died?", "context": context, "answers": {"text": [], "answer_start": []}})
        return cls.fit(ZOO[cls.default_model].config, None, {"no_answer": True}), rows

    def dataset(self, rows: Rows, *, training: bool) -> Dataset[dict[str, Any]]:
        """Return the prepared data set.

        Raises:
            ValueError: A question has no answer, and the settings know no such questions.
        """
        if not self.settings.no_answer:
            for row in rows:
                if not read_answers(row["answers"]):
                    raise ValueError(
                        f"question {row['question']!r} has no answer; such need the setting no_answer=true"
                    )
        return PreparedRows(self, rows)

    def gather(self, given: Sequence[Any]) -> tuple[Sequence[Any], bool]:
        """Take a question and its context; or a mapping with both, a pair of them, or a list of such.

        Raises:
            ValueError: It is none of these.
        """
        if len(given) == 2:
            return [tuple(given)], False
        if len(given) != 1:
            raise ValueError(f"question-answering takes a question and its context, not {len(given)} arguments")
        (value,) = given
        if isinstance(value, Mapping) or (isinstance(value, tuple) and all(isinstance(part, str) for part in value)):
            return [value], False
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            return value, True
        raise ValueError(f"question-answering takes a question and its context, not {value!r} alone")

    def input_of(self, row: Mapping[str, Any]) -> Any:
        """Return the row's question and context."""
        return (row["question"], row["context"])

    def row_of(self, value: Any) -> Mapping[str, Any]:
        """Return an input as a row of data; a mapping with `question` and `context` is that already.

        Raises:
            ValueError: It has no question or no context, or they are no texts or empty.
        """
        pair = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2
        row = dict(zip(("question", "context"), value, strict=True)) if pair else value
        if isinstance(row, Mapping):
            texts = (row.get("question"), row.get("context"))
            if all(isinstance(text, str) and text.strip() for text in texts):
                return row
        raise ValueError(
            f"question-answering takes a question and its context, texts that are not empty, got {value!r}"
        )

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Cut a context into windows, each behind the question.

        Returns:
            For each window `input_ids` (M,), `starts` (M,) and `ends` (M,), which places may be the first or the last
            of an answer: those of whole characters, and the very first place; `offset`, the byte of the context at
            which the window begins, less its place. When known, `target` (2,) for each window, first and last place of
            the first answer; `answers`, the ids of all of them; and `context`, those of the whole context.

        Raises:
            ValueError: The question leaves no room for a context, or an answer does not stand where it should.
        """
        row = self.row_of(row["question"]) if not isinstance(row["question"], str) else row
        question, data = self.tokenizer.encode(row["question"]), self.tokenizer.encode(row["context"])
        head = np.concatenate([[self.tokenizer.cls_id], question, [self.tokenizer.sep_id]])
        room = self.max_length - len(head)
        if room <= self.settings.overlap:
            raise ValueError(
                f"the question has {len(question)} bytes; of the {self.max_length} that the model reads at once, "
                f"more than the overlap ({self.settings.overlap}) must be left for the context"
            )
        characters = self.tokenizer.offsets(row["context"])
        first = np.diff(characters, prepend=-1) > 0
        last = np.append(first[1:], True)
        spans = windows(len(data), room, room - self.settings.overlap)
        null = np.arange(len(head)) == 0
        item: dict[str, Any] = {
            "input_ids": [np.concatenate([head, data[start:stop]]) for start, stop in spans],
            "starts": [np.concatenate([null, first[start:stop]]) for start, stop in spans],
            "ends": [np.concatenate([null, last[start:stop]]) for start, stop in spans],
            "offset": [start - len(head) for start, _ in spans],
        }
        if row.get("answers") is not None:
            problem = compare_answers(row["context"], row["answers"])
            if problem:
                raise ValueError(f"question {row['question']!r}: {problem}")
            answers = read_answers(row["answers"])
            item["target"] = self._targets(row["context"], answers, spans, len(head))
            item["answers"] = [self.tokenizer.encode(text) for text, _ in answers]
            item["context"] = data
        return item

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Put the windows of all questions into one batch.

        Returns:
            `input_ids`, `keep_mask`, `starts` and `ends` (R, M) of R windows; `offset` (R,); `question` (R,), the
            number of each one's question; and, when known, `target` (R, 2), and of the Q questions `answers` (Q, A, L)
            and `context` (Q, L), ids that are filled up with padding.
        """
        input_ids, keep_mask = self.tokenizer.pad([ids for item in items for ids in item["input_ids"]])
        batch = {"input_ids": torch.from_numpy(input_ids), "keep_mask": torch.from_numpy(keep_mask)}
        for name in ("starts", "ends"):
            allowed = np.zeros_like(keep_mask)
            allowed[keep_mask] = np.concatenate([window for item in items for window in item[name]])
            batch[name] = torch.from_numpy(allowed)
        counts = torch.tensor([len(item["input_ids"]) for item in items])
        batch["offset"] = torch.tensor([offset for item in items for offset in item["offset"]])
        batch["question"] = torch.repeat_interleave(torch.arange(len(items)), counts)
        if "target" in items[0]:
            batch["target"] = torch.tensor([places for item in items for places in item["target"]])
            most = max(1, *(len(item["answers"]) for item in items))
            empty = np.zeros(0, dtype=np.int64)
            answers = [answer for item in items for answer in (*item["answers"], *[empty] * most)[:most]]
            batch["answers"] = torch.from_numpy(self.tokenizer.pad(answers)[0]).unflatten(0, (len(items), most))
            batch["context"] = torch.from_numpy(self.tokenizer.pad([item["context"] for item in items])[0])
        return batch

    def augment(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Hide a share of the bytes while training."""
        share = self.settings.byte_dropout
        return with_bytes_hidden(batch, share) if training and share else batch

    def step(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        """Return the cross-entropy of first and last places, the mean of both, over windows."""
        scores = self._scores(model, batch)
        loss = functional.nll_loss(scores.flatten(0, 1), batch["target"].flatten())
        return Step(loss, scores, batch)

    def metrics(self) -> Metrics:
        """Return the share of answers that are exactly right, and their F1 in words; see `AnswerScore`."""
        from torchmetrics import MetricCollection

        from perceivers.tasks.scores.answers import AnswerScore

        return MetricCollection({name: AnswerScore(name) for name in ("exact_match", "f1")}, compute_groups=False)

    def update(self, metrics: Metrics, step: Step) -> None:
        """Count the best answer to each question of one batch."""
        batch = step.targets
        windows_of = list(zip(step.outputs.double().cpu().numpy(), batch["offset"].tolist(), strict=True))
        found, first = [], 0
        for count, context in zip(torch.bincount(batch["question"]).tolist(), batch["context"], strict=True):
            best = self._answers(windows_of[first : first + count], 1)[0]
            found.append(self.tokenizer.decode(context[best.start : best.stop].cpu().numpy()))
            first += count
        # Filled-up rows hold no text; a question that has no other is one without an answer.
        decoded = [[self.tokenizer.decode(ids) for ids in answers] for answers in batch["answers"].cpu().numpy()]
        true = [[text for text in texts if text] or [""] for texts in decoded]
        for name in ("exact_match", "f1"):
            metrics[name].update(found, true)

    def pieces(self, value: Any) -> Iterator[dict[str, Any]]:
        """Cut a context into windows."""
        item = self.prepare(self.row_of(value))
        for i in range(len(item["input_ids"])):
            yield {name: item[name][i : i + 1] for name in ("input_ids", "starts", "ends", "offset")}

    @torch.inference_mode()
    def predict(self, model: PerceiverIO, inputs: Sequence[Any], *, top_k: int = 5) -> list[Result]:
        """Answer questions.

        Args:
            model: The model.
            inputs: Mappings with `question` and `context`, or pairs of them.
            top_k: How many candidates.

        Returns:
            For each question its `top_k` likeliest answers, the best first, also where `top_k` is 1: `answer`;
            `score`, the probability of its first place times that of its last one among all of a window; `start` and
            `end`, its characters in the context. No answer is an empty one at 0; only models whose settings have
            `no_answer` give it.

        Raises:
            ValueError: A question or context is absent or empty, or the question leaves no room for the context.
        """
        rows = [self.row_of(value) for value in inputs]
        pieces = [(i, piece) for i, row in enumerate(rows) for piece in self.pieces(row)]
        read: list[list[tuple[np.ndarray, int]]] = [[] for _ in rows]
        for start in range(0, len(pieces), _PREDICT_BATCH_SIZE):
            chunk = pieces[start : start + _PREDICT_BATCH_SIZE]
            scores = self._scores(model, to_device(self.collate([piece for _, piece in chunk]), model))
            for (i, piece), window in zip(chunk, scores.double().cpu().numpy(), strict=True):
                read[i].append((window, piece["offset"][0]))
        results: list[Result] = []
        for row, windows_of in zip(rows, read, strict=True):
            characters = self.tokenizer.offsets(row["context"])
            results.append([_present(row["context"], characters, span) for span in self._answers(windows_of, top_k)])
        return results

    def picture(self, value: Any, result: Result) -> Image.Image:
        """Draw question and context with the best answer marked, a long one around it, above the candidates."""
        row = self.row_of(value)
        question, context, best = row["question"], row["context"], result[0]
        begin = max(min((best["start"] + best["end"] - _SHOWN) // 2, len(context) - _SHOWN), 0)
        before = f"{question}\n" + "..." * (begin > 0)
        after = "..." * (begin + _SHOWN < len(context))
        shift = len(before) - begin
        marks = [Mark(0, len(question), "question")]
        if best["answer"]:
            last = min(best["end"], begin + _SHOWN)
            marks.append(Mark(best["start"] + shift, last + shift, "answer"))
        text = before + context[begin : begin + _SHOWN] + after
        bars = [{"label": entry["answer"] or "(no answer)", "score": entry["score"]} for entry in result]
        candidates = ImageOps.expand(draw_bars(bars, 640), 8, "white")
        return below([marks_on_text(text, marks, ("answer", "question")), candidates], gap=0)

    def draw_weights(self, item: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Image.Image:
        """Colour the bytes of the question and of the window."""
        return draw_text_weights({"input_ids": item["input_ids"][0]}, weights[self.input_role])

    def _targets(
        self, context: str, answers: Sequence[tuple[str, int]], spans: Sequence[tuple[int, int]], shift: int
    ) -> list[tuple[int, int]]:
        """Return first and last place of the first answer in each window; 0, 0 in those that do not hold all of it."""
        if not answers:
            return [(0, 0)] * len(spans)
        text, character = answers[0]
        first, after = self.tokenizer.byte_span(context, character, character + len(text))
        return [
            (first - start + shift, after - 1 - start + shift) if start <= first and after <= stop else (0, 0)
            for start, stop in spans
        ]

    def _scores(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Float[Tensor, "R 2 M"]:
        """Return the log-probability of each place to be the first, and the last, of the answer."""
        allowed = torch.stack([batch["starts"], batch["ends"]], dim=1)
        logits = model(batch).transpose(1, 2)
        return logits.masked_fill(~allowed, -torch.inf).log_softmax(dim=-1)

    def _answers(self, read: Sequence[tuple[Float[np.ndarray, "2 M"], int]], top_k: int) -> list[Span]:
        """Return the likeliest answers to one question, in bytes of its context.

        Args:
            read: Log-probabilities of each of its windows, and what is added to a place to get the byte.
            top_k: How many.
        """
        best: dict[tuple[int, int], Span] = {}
        for (starts, ends), offset in read:
            # The first place is no part of the context.
            for span in likeliest_spans(starts[1:], ends[1:], self.settings.longest_answer, top_k):
                moved = Span(span.score, span.start + 1 + offset, span.stop + 1 + offset)
                key = (moved.start, moved.stop)
                best[key] = max(best.get(key, moved), moved, key=lambda found: found.score)
        if self.settings.no_answer:
            # A context has no answer if none of its windows has one.
            best[0, 0] = Span(float(np.exp(min(starts[0] + ends[0] for (starts, ends), _ in read))), 0, 0)
        return sorted(best.values(), key=lambda span: -span.score)[:top_k]


def _present(context: str, characters: np.ndarray, span: Span) -> dict[str, Any]:
    """Return an answer, with the characters that its bytes are."""
    start, end = (int(characters[span.start]), int(characters[span.stop - 1]) + 1) if span.stop > span.start else (0, 0)
    return {"score": span.score, "start": start, "end": end, "answer": context[start:end]}
