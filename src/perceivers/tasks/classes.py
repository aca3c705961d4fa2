"""What all classification tasks share: fitting the head, loss, metrics, prediction, and the bar picture."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from datasets import Dataset
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from perceivers.adapters.label import LabelOutputConfig
from perceivers.data.stream import Stream
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.tasks.base import Metrics, Part, Result, Rows, Step, Task, to_device

if TYPE_CHECKING:
    from typing_extensions import Self

_PREDICT_BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class ClassificationSettings:
    """Settings that every classification has.

    Args:
        labels: Label names, in the order of the outputs.
        label_smoothing: Share of the target spread over all classes while training.
        class_weights: What a mistake counts while training, for each class by its name (others count 1); "balanced"
            counts each class as much as any other, however often it occurs.
    """

    labels: tuple[str, ...] = ()
    label_smoothing: float = 0.0
    class_weights: Literal["balanced"] | dict[str, float] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.class_weights, dict):
            return
        unknown = [name for name in self.class_weights if name not in self.labels]
        if unknown:
            raise ValueError(f"class_weights name {unknown}, which are no labels; choices = {list(self.labels)}")
        wrong = {name: weight for name, weight in self.class_weights.items() if not 0 <= weight < math.inf}
        if wrong:
            raise ValueError(f"class_weights {wrong} must be numbers of at least 0")


ClassificationSettingsT = TypeVar("ClassificationSettingsT", bound=ClassificationSettings)


class Classification(Task[ClassificationSettingsT]):
    """One label an input. A subclass says how an input is prepared, batched and drawn."""

    score = "accuracy"
    # What a mistake counts, by class; `None` counts all alike.
    weights: Float[Tensor, "E"] | None = None

    @classmethod
    def fit(cls, config: PerceiverConfig, labels: Sequence[str] | None, settings: Mapping[str, Any]) -> "Self":
        """Give the model one output a label; see `Task.fit`.

        Raises:
            ValueError: There are fewer than two labels, or the model does not answer with labels.
        """
        if not labels or len(labels) < 2:
            raise ValueError(f"{cls.name} needs at least two label names; the data has {list(labels or ())}")
        if not isinstance(config.outputs, LabelOutputConfig):
            raise ValueError(f"{cls.name} needs a model with 'label' outputs, not '{config.outputs.kind}'")
        outputs = dataclasses.replace(config.outputs, num_classes=len(labels))
        return super().fit(dataclasses.replace(config, outputs=outputs), labels, {**settings, "labels": list(labels)})

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names."""
        return self.settings.labels

    def study(self, rows: Rows | Stream) -> None:
        """Find the weights of the classes.

        Raises:
            ValueError: They are to be balanced, and how often each occurs in a stream is not known.
        """
        wanted = self.settings.class_weights
        if isinstance(wanted, dict):
            self.weights = torch.tensor([float(wanted.get(name, 1.0)) for name in self.labels])
        elif wanted == "balanced":
            if isinstance(rows, Stream):
                raise ValueError(
                    "class_weights 'balanced' needs to know how often each class occurs, which a stream does not tell; "
                    "give the weights: {name: weight}"
                )
            self.weights = balanced_weights([int(label) for label in column(rows, "label")], len(self.labels))

    def step(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        """Return the cross-entropy of a batch; smoothing and weights of classes count while training only."""
        smoothing, weights = (self.settings.label_smoothing, self.weights) if model.training else (0.0, None)
        return class_step(first_answers(model(batch)), batch["label"], smoothing, weights)

    def metrics(self) -> Metrics:
        """Return accuracy over examples and F1 averaged over classes."""
        from torchmetrics import MetricCollection
        from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(len(self.labels), average="micro"),
                "f1": MulticlassF1Score(len(self.labels), average="macro"),
            }
        )

    def update(self, metrics: Metrics, step: Step) -> None:
        """Count one batch."""
        metrics.update(step.outputs, step.targets)

    @torch.inference_mode()
    def predict(self, model: PerceiverIO, inputs: Sequence[Any], *, top_k: int = 5) -> list[Result]:
        """Return the `top_k` most probable labels of each input, in batches."""
        results: list[Result] = []
        for start in range(0, len(inputs), _PREDICT_BATCH_SIZE):
            chunk = inputs[start : start + _PREDICT_BATCH_SIZE]
            batch = self.collate([self.prepare(self.row_of(value)) for value in chunk])
            logits = first_answers(model(to_device(batch, model)))
            results += self.present(logits, top_k)
        return results

    def present(self, logits: Float[Tensor, "B E"], top_k: int) -> list[Result]:
        """Return the `top_k` best labels of each row."""
        return present_classes(logits, self.labels, top_k)


def column(rows: Rows, role: str) -> Sequence[Any]:
    """Return what all rows have for a role, without reading anything else of a data set."""
    return rows[role] if isinstance(rows, Dataset) else [row[role] for row in rows]


def balanced_weights(labels: Sequence[int], num_classes: int) -> Float[Tensor, "E"]:
    """Return weights by which each class that occurs counts as much as any other, and an example 1 on average."""
    counts = torch.bincount(torch.tensor(labels), minlength=num_classes)
    return len(labels) / (int((counts > 0).sum()) * counts.clamp(min=1))


def class_step(
    logits: Float[Tensor, "B E"], targets: Tensor, label_smoothing: float, weights: Float[Tensor, "E"] | None = None
) -> Step:
    """Return the cross-entropy; `targets` are class ids (B,) or, after mixing, probabilities (B, E)."""
    weights = None if weights is None else weights.to(logits)
    loss = functional.cross_entropy(logits, targets, weight=weights, label_smoothing=label_smoothing)
    mixed = targets.dim() == 2
    ids = targets.argmax(dim=-1) if mixed else targets
    if weights is None:
        return Step(loss, logits, ids)
    # Of mixed examples it is a mean over examples, whatever their classes weigh.
    return Step(loss, logits, ids, (Part(loss, loss.new_tensor(len(ids)) if mixed else weights[ids].sum()),))


def present_classes(logits: Float[Tensor, "B E"], labels: Sequence[str], top_k: int) -> list[Result]:
    """Return the `top_k` most probable labels of each row, the likeliest first."""
    return _best(logits.double().softmax(dim=-1), labels, top_k)


def tag_step(logits: Float[Tensor, "B E"], targets: Float[Tensor, "B E"], label_smoothing: float) -> Step:
    """Return the binary cross-entropy of labels that stand each for itself.

    Args:
        logits: One a label.
        targets: 1 where an example has the label, else 0.
        label_smoothing: Share of each target that is moved to a half.
    """
    smoothed = targets * (1 - label_smoothing) + label_smoothing / 2
    return Step(functional.binary_cross_entropy_with_logits(logits, smoothed), logits.sigmoid(), targets.long())


def present_tags(logits: Float[Tensor, "B E"], labels: Sequence[str], top_k: int) -> list[Result]:
    """Return the `top_k` likeliest labels of each row, each with a probability of its own."""
    return _best(logits.double().sigmoid(), labels, top_k)


def _best(probabilities: Float[Tensor, "B E"], labels: Sequence[str], top_k: int) -> list[Result]:
    best = probabilities.topk(min(top_k, len(labels)), dim=-1)
    return [
        [{"label": labels[i], "score": score} for i, score in zip(ids, scores, strict=True)]
        for ids, scores in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def target_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row's class id, when it has one.

    Raises:
        ValueError: The row has a list of labels.
    """
    label = row.get("label")
    if isinstance(label, Sequence):
        raise ValueError(f"a row has the labels {label}, but the task takes one; a setting multi_label takes several")
    return {} if label is None else {"label": int(label)}


def tags_of(row: Mapping[str, Any], num_classes: int) -> dict[str, Any]:
    """Return which labels the row has, (E,) of 0 and 1, when its labels are known.

    Raises:
        ValueError: The row has one label rather than a list.
    """
    labels = row.get("label")
    if labels is None:
        return {}
    if not isinstance(labels, Sequence):
        raise ValueError(f"a row has the label {labels}; with multi_label, labels are lists")
    tags = np.zeros(num_classes, np.float32)
    tags[list(labels)] = 1
    return {"label": tags}


def first_answers(logits: Float[Tensor, "B E"] | Float[Tensor, "B O E"]) -> Float[Tensor, "B E"]:
    """Return (B, E) logits of models that answer one or several queries: the first is the label's."""
    return logits if logits.dim() == 2 else logits[:, 0]
