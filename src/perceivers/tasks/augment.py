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

    Args:
        rotate_degrees: Largest rotation either way.
        shift: Largest shift as a share of each side.
        zoom: Scale between `1 - zoom` and `1 + zoom`.
        flip: Mirror left and right half of the time.
        randaugment_ops: Operations of RandAugment an image; 0 for none.
        randaugment_magnitude: Their strength, 0 to 30.
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
        image, label = self._mix(image, batch["label"])
        return {**batch, "image": rearrange(image, "b c h w -> b h w c").clamp(0, 1), "label": label}

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
        """Mix pairs of examples by mixup or CutMix, and their targets in the same proportion."""
        kinds = [kind for kind in ("mixup", "cutmix") if getattr(self.config, kind)]
        if not kinds:
            return image, label
        from kornia.augmentation import RandomCutMixV2, RandomMixUpV2

        kind = kinds[int(torch.randint(len(kinds), ()))]
        alpha = torch.tensor(float(getattr(self.config, kind)))
        if kind == "cutmix":
            mixed, pairs = RandomCutMixV2(p=1.0, beta=alpha, data_keys=["input", "class"])(image, label)
            own, other, share = pairs[0].unbind(dim=-1)
        else:
            # Kornia draws mixup's share uniformly; the Beta distribution of the paper is drawn here.
            share = torch.distributions.Beta(alpha, alpha).sample((len(image),)).to(image)
            order = torch.randperm(len(image))
            mixed = torch.lerp(image, image[order], share[:, None, None, None])
            own, other = label, label[order]
        share = share[:, None]
        targets = self._one_hot(own) * (1 - share) + self._one_hot(other) * share
        return mixed, targets

    def _one_hot(self, label: Tensor) -> Tensor:
        return functional.one_hot(label.long(), self.num_classes).float()
