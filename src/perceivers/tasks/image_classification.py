"""Image classification: an image in, label scores out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchmetrics import MetricCollection

from perceivers.adapters.image import ImageInputConfig
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.processing.image import fit_image, read_image
from perceivers.tasks.augment import AugmentConfig, ImageAugmenter
from perceivers.tasks.base import TASKS, Result, Rows, Step, Task, stack, to_device
from perceivers.tasks.classes import (
    batches_of,
    beside,
    class_metrics,
    class_step,
    draw_bars,
    first_answers,
    fit_head,
    present_classes,
    target_of,
)

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, kw_only=True)
class ImageClassificationSettings:
    """Settings of image classification.

    Args:
        labels: Label names, in the order of the outputs.
        fit: How an image is brought to the model's size: cover and cut the middle, stretch, or pad.
        label_smoothing: Share of the target spread over all classes while training.
        augment: Random changes while training.
    """

    labels: tuple[str, ...] = ()
    fit: Literal["crop", "stretch", "pad"] = "crop"
    label_smoothing: float = 0.0
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@TASKS.register("image-classification")
class ImageClassification(Task[ImageClassificationSettings]):
    """One label an image."""

    Settings = ImageClassificationSettings
    roles: ClassVar[tuple[str, ...]] = ("image", "label")
    input_role = "image"
    default_model = "image-small"
    score = "accuracy"

    def __init__(self, settings: ImageClassificationSettings, config: PerceiverConfig) -> None:
        super().__init__(settings, config)
        if not isinstance(config.inputs, ImageInputConfig):
            raise ValueError(f"image-classification needs a model with image inputs, not '{config.inputs.kind}'")
        self.image_size = config.inputs.image_size
        self.channels = config.inputs.image_channels
        if settings.augment.randaugment_ops and self.channels not in (1, 3):
            raise ValueError(f"augment.randaugment_ops needs images of 1 or 3 channels, not {self.channels}")
        self.augmenter = ImageAugmenter(settings.augment, len(settings.labels))

    @classmethod
    def fit(cls, config: PerceiverConfig, labels: Sequence[str] | None, settings: Mapping[str, Any]) -> "Self":
        """Give the model one output a label; see `Task.fit`."""
        return super().fit(fit_head(config, labels, cls.name), labels, {**settings, "labels": list(labels or ())})

    @classmethod
    def example(cls) -> "tuple[Self, Rows]":
        """Return a tiny task on random images."""
        from perceivers.zoo import ZOO

        noise = np.random.default_rng(0)
        rows = [{"image": noise.integers(0, 255, (8, 8, 1), dtype=np.uint8), "label": i % 3} for i in range(6)]
        return cls.fit(ZOO["digits-small"].config, ("a", "b", "c"), {}), rows

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names."""
        return self.settings.labels

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Read the image and bring it to the model's size, `uint8` (H, W, C)."""
        image = fit_image(read_image(row["image"]), self.image_size, self.channels, how=self.settings.fit)
        return {"image": image, **target_of(row)}

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return `image` (B, H, W, C) and, when known, `label` (B,)."""
        return {key: stack(items, key) for key in items[0]}

    def augment(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Apply the random changes of `settings.augment` while training."""
        return self.augmenter(batch) if training else batch

    def step(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        """Return the cross-entropy of a batch; smoothing counts while training only."""
        smoothing = self.settings.label_smoothing if model.training else 0.0
        return class_step(first_answers(model(batch)), batch["label"], smoothing)

    def metrics(self) -> MetricCollection:
        """Return accuracy and F1."""
        return class_metrics(len(self.labels))

    def update(self, metrics: MetricCollection, step: Step) -> None:
        """Count one batch."""
        metrics.update(step.outputs, step.targets)

    @torch.inference_mode()
    def predict(self, model: PerceiverIO, inputs: Sequence[Any], *, top_k: int = 5) -> list[Result]:
        """Classify images (paths, PIL images or arrays)."""
        results: list[Result] = []
        for chunk in batches_of(inputs, 32):
            batch = self.collate([self.prepare({"image": image}) for image in chunk])
            logits = first_answers(model(to_device(batch, model)))
            results += present_classes(logits, self.labels, top_k)
        return results

    def picture(self, value: Any, result: Result) -> Image.Image:
        """Draw the image beside its scores."""
        array = read_image(value)
        image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).convert("RGB")
        scale = 160 / image.height
        resample = Image.Resampling.NEAREST if scale > 4 else Image.Resampling.BICUBIC
        return beside(image.resize((max(round(image.width * scale), 1), 160), resample), draw_bars(result))
