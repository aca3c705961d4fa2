"""Random changes of image batches while training, by Kornia: affine, RandAugment, mixup and CutMix."""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Which random changes; the default is none.

    Each image draws its own, except that RandAugment picks its operations once a batch.

    Args:
        rotate_degrees: Largest rotation either way.
        shift: Largest shift as a share of each side.
        zoom: Scale between `1 - zoom` and `1 + zoom`.
        flip: Mirror left and right half of the time.
        randaugment_ops: How many operations of RandAugment are applied; 0 for none.
        randaugment_magnitude: Their strength, 1 to 29.
        mixup: Parameter of the Beta distribution of mixup; 0 for none. The paper uses 0.2.
        cutmix: Parameter of the Beta distribution of CutMix; 0 for none. The paper uses 1.0.
            With both, each batch gets one of them.
    """

    rotate_degrees: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    flip: bool = False
    randaugment_ops: int = 0
    randaugment_magnitude: int = 5
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rotate_degrees", "mixup", "cutmix", "randaugment_ops"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must not be negative")
        for name in ("shift", "zoom"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must lie between 0 and 1")
        if not 0 < self.randaugment_magnitude < 30:
            raise ValueError(f"randaugment_magnitude ({self.randaugment_magnitude}) must lie between 1 and 29")


class ImageAugmenter:
    """Applies an `AugmentConfig` to batches of `image` (B, H, W, C) and `label` (B,).

    All randomness comes from torch's global generator, so that a resumed run repeats it.

    Args:
        config: Which changes.
        num_classes: Width of the mixed targets.
    """

    def __init__(self, config: AugmentConfig, num_classes: int) -> None:
        self.config = config
        self.num_classes = num_classes
        self._single: list[Any] | None = None

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the changed batch: float images in [0, 1], and (B, E) targets when examples were mixed."""
        if self.config == AugmentConfig():
            return batch
        image = batch["image"]
        image = image.float() / 255 if image.dtype == torch.uint8 else image
        image = rearrange(image, "b h w c -> b c h w")
        for operation in self._operations():
            # RandAugment's colour operations are made for three channels.
            wide = image.expand(-1, 3, -1, -1) if image.shape[1] == 1 else image
            image = operation(wide)[:, : image.shape[1]]
        changed = dict(batch)
        # Without labels there is nothing to learn from a mixture.
        if "label" in batch:
            image, changed["label"] = self._mix(image, batch["label"])
        return {**changed, "image": rearrange(image, "b c h w -> b h w c").clamp(0, 1)}

    def _operations(self) -> list[Any]:
        """Return the Kornia modules that change each image on its own, made on first use."""
        if self._single is None:
            from kornia.augmentation import RandomAffine, RandomHorizontalFlip
            from kornia.augmentation.auto import RandAugment

            config = self.config
            self._single = []
            if config.rotate_degrees or config.shift or config.zoom:
                shift = (config.shift, config.shift) if config.shift else None
                zoom = (1 - config.zoom, 1 + config.zoom) if config.zoom else None
                self._single.append(RandomAffine(config.rotate_degrees, translate=shift, scale=zoom, p=1.0))
            if config.flip:
                self._single.append(RandomHorizontalFlip(p=0.5))
            if config.randaugment_ops:
                self._single.append(RandAugment(n=config.randaugment_ops, m=config.randaugment_magnitude))
        return self._single

    def _mix(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Mix each example with another of the batch, and their targets in the same proportion."""
        kinds = [(mix, alpha) for mix, alpha in ((mixup, self.config.mixup), (cutmix, self.config.cutmix)) if alpha]
        if not kinds:
            return image, label
        mix, alpha = kinds[int(torch.randint(len(kinds), ()))]
        share = torch.distributions.Beta(alpha, alpha).sample((len(image),))
        order = torch.randperm(len(image))
        mixed, share = mix(image, image[order], share)
        targets = self._one_hot(label) * (1 - share[:, None]) + self._one_hot(label[order]) * share[:, None]
        return mixed, targets

    def _one_hot(self, label: Tensor) -> Tensor:
        return functional.one_hot(label.long(), self.num_classes).float()


def mixup(own: Tensor, other: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Blend images (B, C, H, W); `share` (B,) is how much of `other` the result has. Returns both."""
    return torch.lerp(own, other, share[:, None, None, None]), share


def cutmix(own: Tensor, other: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Paste a box out of `other` at a random place of each image (B, C, H, W).

    Args:
        own: The images.
        other: Where the boxes come from.
        share: Wanted share of a box in the image, (B,).

    Returns:
        The images, and the shares that the boxes really have: their sides are whole pixels, and
        what juts out of the image is cut off.
    """
    inside = torch.ones(len(own), *own.shape[-2:], dtype=torch.bool)
    for axis, size in ((1, own.shape[-2]), (2, own.shape[-1])):
        half = size * share.sqrt() / 2
        middle = torch.rand(len(own)) * size
        start, stop = (middle - half).round(), (middle + half).round()
        cells = torch.arange(size)
        along = (cells >= start[:, None]) & (cells < stop[:, None])  # (B, size)
        inside &= along[:, :, None] if axis == 1 else along[:, None, :]
    return torch.where(inside[:, None], other, own), inside.float().mean(dim=(1, 2))
