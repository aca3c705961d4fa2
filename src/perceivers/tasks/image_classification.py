"""Image classification: an image in, label scores out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from PIL import Image
from torch import Tensor

from perceivers.adapters.image import ImageInputConfig
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.nn.positions import LearnedPositionConfig
from perceivers.pretrained.resize import resize_positions
from perceivers.processing.heat_pictures import heat_on_image
from perceivers.processing.image import fit_image, read_image
from perceivers.tasks.augment import AugmentConfig, ImageAugmenter
from perceivers.tasks.base import TASKS, Result, Rows, stack
from perceivers.tasks.classes import Classification, ClassificationSettings, target_of
from perceivers.tasks.drawing import beside, draw_bars

if TYPE_CHECKING:
    from typing_extensions import Self

_PICTURE_HEIGHT, _PICTURE_WIDTH = 160, 640


@dataclass(frozen=True, kw_only=True)
class ImageClassificationSettings(ClassificationSettings):
    """Settings of image classification, besides those of every classification.

    Args:
        fit: How an image is brought to the model's size: cover and cut the middle, stretch, pad, or cut the
            middle square as the original or as the transformers library does; see `fit_image`.
        interpolation: Bicubic as in Pillow, or as in OpenCV, which the original used.
        image_size: Height and width that images are brought to; `None` takes the model's own. Fourier positions fit any
            size. Learned ones must be resized, see `resize_positions`; a pipeline does so and says it.
        augment: Random changes while training.
    """

    fit: Literal["crop", "stretch", "pad", "center", "center-transformers"] = "crop"
    interpolation: Literal["pillow", "opencv"] = "pillow"
    image_size: tuple[int, int] | None = None
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size is not None and min(self.image_size) < 1:
            raise ValueError(f"image_size {self.image_size} must be at least 1 x 1")


@TASKS.register("image-classification")
class ImageClassification(Classification[ImageClassificationSettings]):
    """One label an image."""

    Settings = ImageClassificationSettings
    roles: ClassVar[tuple[str, ...]] = ("image", "label")
    input_role = "image"
    default_model = "image-small"
    released_model = "image-fourier"

    def __init__(self, settings: ImageClassificationSettings, config: PerceiverConfig) -> None:
        super().__init__(settings, config)
        if not isinstance(config.inputs, ImageInputConfig):
            raise ValueError(f"image-classification needs a model with image inputs, not '{config.inputs.kind}'")
        self.image_size = settings.image_size or config.inputs.image_size
        own = config.inputs.image_size
        if self.image_size != own and _has_learned_positions(config):
            raise ValueError(
                f"image_size {self.image_size} does not fit this model: its learned positions hold the grid of {own} "
                f"images alone. Leave image_size out, or interpolate them with perceivers.pretrained.resize."
                f"resize_positions(model, {self.image_size}), whose answers are not those of the trained model"
            )
        self.channels = config.inputs.image_channels
        if settings.augment.randaugment_ops and self.channels not in (1, 3):
            raise ValueError(f"augment.randaugment_ops needs images of 1 or 3 channels, not {self.channels}")
        self.augmenter = ImageAugmenter(settings.augment, len(settings.labels))

    @classmethod
    def adapt(cls, model: PerceiverIO, settings: ImageClassificationSettings) -> tuple[PerceiverIO, str]:
        """Interpolate learned positions for images of another size than the model was trained for."""
        inputs, size = model.config.inputs, settings.image_size
        own = inputs.image_size if isinstance(inputs, ImageInputConfig) else size
        if size in (None, own) or not _has_learned_positions(model.config):
            return model, ""
        done = f"learned positions interpolated from {own} to {size}: its answers are not those of the trained model"
        return resize_positions(model, size), done

    @classmethod
    def example(cls) -> "tuple[Self, Rows]":
        """Return a tiny task on random images."""
        from perceivers.zoo import ZOO

        noise = np.random.default_rng(0)
        rows = [{"image": noise.integers(0, 255, (8, 8, 1), dtype=np.uint8), "label": i % 3} for i in range(6)]
        return cls.fit(ZOO["digits-small"].config, ("a", "b", "c"), {}), rows

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Read the image and bring it to the size wanted, `uint8` (H, W, C)."""
        image = fit_image(
            read_image(row["image"]),
            self.image_size,
            self.channels,
            how=self.settings.fit,
            interpolation=self.settings.interpolation,
        )
        return {"image": image, **target_of(row)}

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return `image` (B, H, W, C) and, when known, `label` (B,)."""
        return {key: stack(items, key) for key in items[0]}

    def augment(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Apply the random changes of `settings.augment` while training."""
        return self.augmenter(batch) if training else batch

    def draw_weights(self, item: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Image.Image:
        """Colour the image as the model read it."""
        return heat_on_image(item["image"], weights[self.input_role])

    def picture(self, value: Any, result: Result) -> Image.Image:
        """Draw the image beside its scores."""
        array = read_image(self.row_of(value)[self.input_role])
        image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).convert("RGB")
        # A strip is drawn less high, so that it does not become endlessly wide.
        scale = min(_PICTURE_HEIGHT / image.height, _PICTURE_WIDTH / image.width)
        resample = Image.Resampling.NEAREST if scale > 4 else Image.Resampling.BICUBIC
        size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
        return beside(image.resize(size, resample), draw_bars(result))


def _has_learned_positions(config: PerceiverConfig) -> bool:
    inputs = config.inputs
    return isinstance(inputs, ImageInputConfig) and isinstance(inputs.positioned.positions, LearnedPositionConfig)
