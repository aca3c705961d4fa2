"""Object detection: an image in, a set of labelled boxes out, in the manner of DETR (arXiv:2005.12872)."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from perceivers.adapters.base import grid_size
from perceivers.adapters.boxes import BoxOutputConfig
from perceivers.adapters.image import ImageInputConfig
from perceivers.adapters.label import LearnedQueryConfig
from perceivers.data.objects import read_objects
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.processing.box_pictures import draw_boxes
from perceivers.processing.heat_pictures import heat_on_image
from perceivers.processing.image import fit_image, read_image
from perceivers.tasks.base import TASKS, Metrics, Result, Rows, Step, Task, stack, to_device
from perceivers.tasks.box_arithmetic import keep_best, to_corners
from perceivers.tasks.box_augment import BoxAugmentConfig, BoxAugmenter
from perceivers.tasks.box_matching import BoxLossConfig, box_loss

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, kw_only=True)
class ObjectDetectionSettings:
    """Settings of object detection.

    Args:
        labels: Label names, in the order of the outputs.
        threshold: Least score of an object that prediction returns; evaluation counts all.
        most_overlap: Of answers of one class that overlap by more than this (intersection over union) the surest alone
            is kept, in prediction and evaluation; `None` keeps all, as DETR does. DETR's queries attend to each other
            and learn to leave an object to one of them; those of Perceiver IO are answered each apart, and several
            may answer with the same object.
        loss: How answers are matched to objects and what of them counts.
        augment: Random changes while training.
    """

    labels: tuple[str, ...] = ()
    threshold: float = 0.5
    most_overlap: float | None = None
    loss: BoxLossConfig = field(default_factory=BoxLossConfig)
    augment: BoxAugmentConfig = field(default_factory=BoxAugmentConfig)

    def __post_init__(self) -> None:
        for name in ("threshold", "most_overlap"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} ({value}) must lie between 0 and 1")


@TASKS.register("object-detection")
class ObjectDetection(Task[ObjectDetectionSettings]):
    """The objects in an image: what they are and where."""

    Settings = ObjectDetectionSettings
    roles: ClassVar[tuple[str, ...]] = ("image", "objects")
    input_role = "image"
    default_model = "boxes-small"
    score = "map"

    def __init__(self, settings: ObjectDetectionSettings, config: PerceiverConfig) -> None:
        super().__init__(settings, config)
        if not isinstance(config.inputs, ImageInputConfig):
            raise ValueError(f"object-detection needs a model with image inputs, not '{config.inputs.kind}'")
        self.image_size = config.inputs.image_size
        self.channels = config.inputs.image_channels
        self.num_queries = _num_queries(config)
        self.augmenter = BoxAugmenter(settings.augment)

    @classmethod
    def fit(cls, config: PerceiverConfig, labels: Sequence[str] | None, settings: Mapping[str, Any]) -> "Self":
        """Give the model one score a label and one for "no object"; see `Task.fit`.

        Raises:
            ValueError: There are no labels, or the model does not answer with boxes.
        """
        if not labels:
            raise ValueError("object-detection needs label names; the data has none")
        if not isinstance(config.outputs, BoxOutputConfig):
            raise ValueError(f"object-detection needs a model with 'boxes' outputs, not '{config.outputs.kind}'")
        outputs = dataclasses.replace(config.outputs, num_classes=len(labels))
        return super().fit(dataclasses.replace(config, outputs=outputs), labels, {**settings, "labels": list(labels)})

    @classmethod
    def example(cls) -> "tuple[Self, Rows]":
        """Return a tiny task on random images."""
        from perceivers.config import override
        from perceivers.zoo import ZOO

        noise = np.random.default_rng(0)
        rows = []
        for i in range(6):
            objects = [{"label": j % 2, "box": [2 + i, 3 + j, 12 + i + j, 20]} for j in range(i % 3 + 1)]
            rows.append({"image": noise.integers(0, 255, (24, 32, 3), dtype=np.uint8), "objects": objects})
        changes = {
            "inputs.image_size": [24, 32],
            "encoder.num_latents": 4,
            "encoder.num_layers_per_block": 1,
            "inputs.num_channels": 8,
        }
        return cls.fit(override(ZOO["boxes-small"].config, changes), ("dark", "light"), {"threshold": 0.0}), rows

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names."""
        return self.settings.labels

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Bring the image to the model's size, `uint8` (H, W, C), and its boxes to (centre, size) in [0, 1].

        Raises:
            ValueError: The image cannot be read, an object is wrong, or there are more of them than queries.
        """
        array = read_image(row["image"])
        image = fit_image(array, self.image_size, self.channels, how="stretch")
        if "objects" not in row:
            return {"image": image}
        classes, corners, crowd = read_objects(row["objects"], self.labels, array.shape[:2])
        if (~crowd).sum() > self.num_queries:
            raise ValueError(
                f"an image has {(~crowd).sum()} objects, more than the model has queries ({self.num_queries}); raise "
                + _more_queries(self.config)
            )
        low, high = corners[:, :2], corners[:, 2:]
        sides = np.array([array.shape[1], array.shape[0]] * 2)
        boxes = np.concatenate([(low + high) / 2, high - low], axis=1) / sides
        return {"image": image, "classes": classes, "boxes": boxes.astype(np.float32), "crowd": crowd}

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return `image` (B, H, W, C) and, when known, `classes` (B, K), `boxes` (B, K, 4) and `crowd` (B, K).

        K is the largest number of objects; rows of class -1 are none.
        """
        batch = {"image": stack(items, "image")}
        if "classes" not in items[0]:
            return batch
        most = max(len(item["classes"]) for item in items)
        classes = torch.full((len(items), most), -1)
        boxes, crowd = torch.zeros(len(items), most, 4), torch.zeros(len(items), most, dtype=torch.bool)
        for i, item in enumerate(items):
            count = len(item["classes"])
            for padded, name in ((classes, "classes"), (boxes, "boxes"), (crowd, "crowd")):
                padded[i, :count] = torch.from_numpy(item[name])
        return {**batch, "classes": classes, "boxes": boxes, "crowd": crowd}

    def augment(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Apply the random changes of `settings.augment` while training."""
        return self.augmenter(batch) if training else batch

    def step(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        """Return the loss of a batch; crowds are not learned from."""
        outputs = model(batch)
        single = batch["classes"].masked_fill(batch["crowd"], -1)
        naming, placing = box_loss(outputs["scores"], outputs["boxes"], single, batch["boxes"], self.settings.loss)
        targets = {name: batch[name] for name in ("classes", "boxes", "crowd")}
        return Step(naming.mean + placing.mean, outputs, targets, (naming, placing))

    def metrics(self) -> Metrics:
        """Return COCO's average precisions; see `AveragePrecision`."""
        from torchmetrics import MetricCollection

        from perceivers.tasks.scores.boxes import AveragePrecision

        return MetricCollection({"boxes": AveragePrecision(self.labels)})

    def update(self, metrics: Metrics, step: Step) -> None:
        """Count one batch."""
        targets, objects = step.targets, []
        for classes, boxes, crowd in zip(targets["classes"], targets["boxes"], targets["crowd"], strict=True):
            there = classes >= 0
            objects.append((to_corners(boxes[there]), classes[there], crowd[there]))
        metrics.update(self._found(step.outputs), objects)

    @torch.inference_mode()
    def predict(self, model: PerceiverIO, inputs: Sequence[Any], *, top_k: int = 5) -> list[Result]:
        """Return the objects of each input, the surest first: all that reach `settings.threshold`, not `top_k`."""
        results: list[Result] = []
        for start in range(0, len(inputs), self.batch_size):
            images = [read_image(self.row_of(value)["image"]) for value in inputs[start : start + self.batch_size]]
            batch = self.collate([self.prepare({"image": image}) for image in images])
            found = self._found(model(to_device(batch, model)))
            results += [self._present(*one, image.shape[:2]) for one, image in zip(found, images, strict=True)]
        return results

    def _found(self, outputs: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return corners in [0, 1], classes and scores of each image, the surest first: one an answer, or fewer."""
        scores, classes = outputs["scores"].double().softmax(dim=-1)[..., :-1].max(dim=-1)
        found = []
        for corners, ids, sure in zip(to_corners(outputs["boxes"]).clamp(0, 1), classes, scores, strict=True):
            order = sure.argsort(descending=True, stable=True)
            corners, ids, sure = corners[order], ids[order], sure[order]
            if self.settings.most_overlap is not None:
                kept = keep_best(corners, ids, sure, self.settings.most_overlap)
                corners, ids, sure = corners[kept], ids[kept], sure[kept]
            found.append((corners, ids, sure))
        return found

    def _present(self, corners: Tensor, classes: Tensor, scores: Tensor, size: tuple[int, int]) -> Result:
        sides = corners.new_tensor([size[1], size[0]] * 2)
        rows = zip((corners * sides).round().int().tolist(), classes.tolist(), scores.tolist(), strict=True)
        return [
            {
                "score": score,
                "label": self.labels[label],
                "box": dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)),
            }
            for box, label, score in rows
            if score >= self.settings.threshold
        ]

    def draw_weights(self, item: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Image.Image:
        """Colour the image as the model read it."""
        return heat_on_image(item["image"], weights[self.input_role])

    def picture(self, value: Any, result: Result) -> Image.Image:
        """Draw the image with the boxes of what was found, a colour a label."""
        return draw_boxes(read_image(self.row_of(value)[self.input_role]), result, self.labels)


def _num_queries(config: PerceiverConfig) -> int:
    """Return how many objects the model can answer with in an image."""
    with torch.device("meta"):
        inputs = config.inputs.build()
        tokens = inputs(inputs.example_batch(1))
        return grid_size(config.queries.build(inputs).output_grid(tokens))


def _more_queries(config: PerceiverConfig) -> str:
    if isinstance(config.queries, LearnedQueryConfig):
        return "overrides.queries.num_queries"
    return "overrides.inputs.image_size: each token of the image asks once"
