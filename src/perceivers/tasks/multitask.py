"""Several text classifications by one model: a shared encoder, and a learned query and outputs of its own a task."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset, Subset

from perceivers.adapters.label import LabelOutputConfig, LearnedQueryConfig
from perceivers.adapters.text import TextInputConfig
from perceivers.data.several import SCORE, task_labels
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.tasks.base import TASKS, Metrics, PreparedRows, Result, Rows, Step, Task, to_device
from perceivers.tasks.classes import column, present_classes
from perceivers.tasks.drawing import below, beside, captioned, draw_bars, draw_text
from perceivers.tasks.subtasks import Subtask
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

# Width of the answers in a picture, for label names as long as those of intents are.
_BARS = 420


@dataclass(frozen=True, kw_only=True)
class MultitaskSettings:
    """Settings of several text classifications.

    Args:
        labels: Label names of all tasks, each behind the name of its task: `sms_spam/ham`. A task that has no other
            label than `score` is answered by a number.
        mixing: How often each task is trained on: `proportional` to its examples; or `equal`, where a pass takes as
            many examples of each task as the largest has, those of smaller tasks again and again.
        scores: For each task the scores whose mean is its share of `mean_score` (see `MultitaskScore`); of tasks that
            are not named it is the accuracy, or Pearson's correlation.
        loss_weights: What an example counts while training, by its task; those of others count 1.
        label_smoothing: Share of the target spread over all classes of a task while training.
        byte_dropout: Share of bytes replaced by the mask while training.
        special_tokens: As in text classification.
    """

    labels: tuple[str, ...] = ()
    mixing: Literal["proportional", "equal"] = "proportional"
    scores: dict[str, tuple[str, ...]] = field(default_factory=dict)
    loss_weights: dict[str, float] = field(default_factory=dict)
    label_smoothing: float = 0.0
    byte_dropout: float = 0.0
    special_tokens: bool = False

    def __post_init__(self) -> None:
        names = list(task_labels(self.labels))
        for setting in ("scores", "loss_weights"):
            unknown = [name for name in getattr(self, setting) if name not in names]
            if unknown:
                raise ValueError(f"{setting} name {unknown}, which are no tasks; tasks = {names}")
        wrong = {name: weight for name, weight in self.loss_weights.items() if not 0 <= weight < math.inf}
        if wrong:
            raise ValueError(f"loss_weights {wrong} must be numbers of at least 0")


@TASKS.register("multitask-text-classification")
class MultitaskTextClassification(Task[MultitaskSettings]):
    """Several tasks on texts or pairs of texts that share all but a query and some outputs.

    This is how Perceiver IO is fine-tuned on all of GLUE at once (section 4.1). The decoder is asked once for each
    task, by a learned query. Of the outputs, which are as many as all tasks have labels, each task has a part of its
    own; a task whose answer is a number has one.
    """

    Settings = MultitaskSettings
    roles: ClassVar[tuple[str, ...]] = ("task", "text", "label")
    optional_roles: ClassVar[tuple[str, ...]] = ("text_pair",)
    input_role = "text"
    default_model = "multitask-text-small"
    score = "mean_score"

    def __init__(self, settings: MultitaskSettings, config: PerceiverConfig) -> None:
        super().__init__(settings, config)
        if not isinstance(config.inputs, TextInputConfig):
            raise ValueError(f"{self.name} needs a model with text inputs, not '{config.inputs.kind}'")
        self.max_length = config.inputs.max_length
        tasks, start = [], 0
        for name, labels in task_labels(settings.labels).items():
            tasks.append(Subtask(name, () if labels == (SCORE,) else labels, start))
            start = tasks[-1].outputs.stop
        self.tasks = tuple(tasks)
        self.scores = {
            task.name: tuple(settings.scores.get(task.name, ("accuracy" if task.labels else "pearson",)))
            for task in tasks
        }
        for task in tasks:
            wrong = [name for name in self.scores[task.name] if name not in task.measured]
            if wrong or not self.scores[task.name]:
                raise ValueError(f"scores of '{task.name}' {wrong} must be some of {list(task.measured)}")

    @classmethod
    def fit(cls, config: PerceiverConfig, labels: Sequence[str] | None, settings: Mapping[str, Any]) -> "Self":
        """Give the model a query for each task and an output for each label; see `Task.fit`.

        Raises:
            ValueError: There are no labels, or the model has no learned queries or no outputs for labels.
        """
        if not labels:
            raise ValueError(f"{cls.name} needs labels; the data has none")
        if not isinstance(config.queries, LearnedQueryConfig) or not isinstance(config.outputs, LabelOutputConfig):
            raise ValueError(
                f"{cls.name} needs a model with 'learned' queries and 'label' outputs, "
                f"not '{config.queries.kind}' and '{config.outputs.kind}'"
            )
        fitted = dataclasses.replace(
            config,
            queries=dataclasses.replace(config.queries, num_queries=len(task_labels(labels))),
            outputs=dataclasses.replace(config.outputs, num_classes=len(labels)),
        )
        return super().fit(fitted, labels, {**settings, "labels": list(labels)})

    @classmethod
    def example(cls) -> "tuple[Self, Rows]":
        """Return a tiny task on a few texts: of two labels, of three, and of pairs with a score."""
        from perceivers.zoo import ZOO

        labels = ("mood/good", "mood/bad", "topic/sea", "topic/land", "topic/sky", "alike/score")
        texts = ("good morning", "été à la mer", "bad evening", "a blue sky")
        rows: list[dict[str, Any]] = [
            {"task": ("mood", "topic")[i % 2], "text": text, "text_pair": None, "label": float(i // 2)}
            for i, text in enumerate(texts)
        ]
        rows.insert(2, {"task": "alike", "text": "at sea", "text_pair": "on the sea", "label": 3.5})
        return cls.fit(ZOO[cls.default_model].config, labels, {}), rows

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names of all tasks."""
        return self.settings.labels

    def dataset(self, rows: Rows, *, training: bool) -> Dataset[dict[str, Any]]:
        """Return the prepared data set; for training with the tasks mixed as the settings say."""
        prepared = PreparedRows(self, rows)
        if not training or self.settings.mixing == "proportional":
            return prepared
        return Subset(prepared, equal_shares(column(rows, "task")).tolist())

    def input_of(self, row: Mapping[str, Any]) -> Any:
        """Return the row's text; with a second one, both by name."""
        return row["text"] if row.get("text_pair") is None else {name: row[name] for name in ("text", "text_pair")}

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ids of a text or of two, and, when the row has a label, the number of its task and the label."""
        special = self.settings.special_tokens
        item: dict[str, Any] = {
            "input_ids": read_texts(row["text"], row.get("text_pair"), self.max_length, special_tokens=special)
        }
        if row.get("label") is not None:
            item |= {"task": self.tasks.index(self._task(row["task"])), "label": float(row["label"])}
        return item

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return `input_ids` and `keep_mask` (B, M), and, when known, `task` and `label` (B,)."""
        batch = text_batch(items)
        if "label" in items[0]:
            batch["task"] = torch.tensor([item["task"] for item in items])
            batch["label"] = torch.tensor([item["label"] for item in items])
        return batch

    def augment(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Hide a share of the bytes while training."""
        share = self.settings.byte_dropout
        return with_bytes_hidden(batch, share) if training and share else batch

    def step(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        """Ask each text its own task's question, and return the mean loss over texts.

        The loss is the cross-entropy among the labels of the task, or the square of the error of a number.
        """
        answers = model(batch, where=batch["task"][:, None])[:, 0]  # (B, E)
        smoothing = self.settings.label_smoothing if model.training else 0.0
        loss = answers.new_zeros(())
        for i, task in enumerate(self.tasks):
            rows = batch["task"] == i
            own, wanted = answers[rows][:, task.outputs], batch["label"][rows]
            if task.labels:
                nats = functional.cross_entropy(own, wanted.long(), label_smoothing=smoothing, reduction="sum")
            else:
                nats = functional.mse_loss(own[:, 0], wanted.to(own), reduction="sum")
            loss = loss + self.settings.loss_weights.get(task.name, 1.0) * nats
        return Step(loss / len(answers), answers, {"task": batch["task"], "label": batch["label"]})

    def metrics(self) -> Metrics:
        """Return the scores of each task, and their mean; see `MultitaskScore`."""
        from torchmetrics import MetricCollection

        from perceivers.tasks.scores.several import MultitaskScore

        return MetricCollection({"tasks": MultitaskScore(self.tasks, self.scores)})

    def update(self, metrics: Metrics, step: Step) -> None:
        """Count one batch."""
        task, found = step.targets["task"], step.outputs.new_zeros(len(step.outputs), dtype=torch.float64)
        for i, one in enumerate(self.tasks):
            rows = task == i
            own = step.outputs[rows][:, one.outputs]
            found[rows] = (own.argmax(dim=-1) if one.labels else own[:, 0]).to(found)
        metrics.update(task, found, step.targets["label"].double())

    @torch.inference_mode()
    def predict(self, model: PerceiverIO, inputs: Sequence[Any], *, top_k: int = 5) -> list[Result]:
        """Answer what all tasks ask of each text.

        Args:
            model: The model.
            inputs: Texts, or mappings with `text` and perhaps `text_pair` and `task`, the name of the only task to
                answer.
            top_k: How many labels of each task.

        Returns:
            For each text a list for each task, by the task's name: its `top_k` likeliest labels, or its number as the
            `score` of the only label `score`.

        Raises:
            ValueError: A text is empty, or a task is unknown.
        """
        rows = [self.row_of(value) for value in inputs]
        check_not_empty((row["text"] for row in rows), self.name)
        wanted = [None if row.get("task") is None else self._task(row["task"]) for row in rows]
        every = torch.arange(len(self.tasks))
        results: list[Result] = []
        for start in range(0, len(rows), self.batch_size):
            chunk = rows[start : start + self.batch_size]
            batch = to_device(text_batch([self.prepare(row) for row in chunk]), model)
            answers = model(batch, where=every.to(batch["input_ids"].device))  # (B, O, E)
            for own, only in zip(answers, wanted[start : start + len(chunk)], strict=True):
                numbered = [(i, task) for i, task in enumerate(self.tasks) if only in (None, task)]
                results.append({task.name: _present(own[i, task.outputs], task, top_k) for i, task in numbered})
        return results

    def summary(self, result: Result) -> list[Any]:
        """Return the answers of all tasks."""
        return [result]

    def picture(self, value: Any, result: Result) -> Image.Image:
        """Draw the text beside the answers of each task."""
        panels = []
        for name, entries in result.items():
            if self._task(name).labels:
                panels.append(captioned(draw_bars(entries, _BARS), name))
            else:
                panels.append(captioned(draw_text(f"{entries[0]['score']:.3f}", _BARS), name))
        return beside(draw_texts(self.row_of(value)), below(panels))

    def draw_weights(self, item: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Image.Image:
        """Colour the text's bytes."""
        return draw_text_weights(item, weights[self.input_role])

    def _task(self, name: str) -> Subtask:
        found = next((task for task in self.tasks if task.name == name), None)
        if found is None:
            raise ValueError(f"task '{name}' not found; tasks = {[task.name for task in self.tasks]}")
        return found


def equal_shares(tasks: Sequence[str]) -> Int[np.ndarray, "R"]:
    """Return numbers of rows among which each task occurs as often as the largest one.

    Rows of smaller tasks come again, each about as often as another.

    Args:
        tasks: The task of each row.
    """
    names = np.asarray(tasks)
    own = [np.flatnonzero(names == name) for name in dict.fromkeys(tasks)]
    most = max(map(len, own), default=0)
    return np.concatenate([rows[np.arange(most) * len(rows) // most] for rows in own])


def _present(outputs: Float[Tensor, "E"], task: Subtask, top_k: int) -> list[dict[str, Any]]:
    if not task.labels:
        return [{"label": SCORE, "score": float(outputs[0])}]
    return present_classes(outputs[None], task.labels, top_k)[0]
