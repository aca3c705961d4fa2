"""Random changes of images together with the boxes in them."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from perceivers.tasks.box_arithmetic import areas, to_centres, to_corners


@dataclass(frozen=True, kw_only=True)
class BoxAugmentConfig:
    """Which random changes; the default is none. Each image draws its own.

    Args:
        zoom: Scale between `1 - zoom` and `1 + zoom`: what grows beyond the border is cropped.
        shift: Largest shift as a share of each side.
        flip: Mirror left and right half of the time.
        flip_vertical: Mirror top and bottom half of the time.
        colour: Brightness, contrast and saturation between `1 - colour` and `1 + colour`.
        least_visible: Objects of which a smaller share of the box is left in the image are no objects any more.
    """

    zoom: float = 0.0
    shift: float = 0.0
    flip: bool = False
    flip_vertical: bool = False
    colour: float = 0.0
    least_visible: float = 0.3

    def __post_init__(self) -> None:
        for name in ("zoom", "shift", "colour", "least_visible"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must lie between 0 and 1")


class BoxAugmenter:
    """Applies a `BoxAugmentConfig` to batches of `image` (B, H, W, C), `classes` (B, K) and `boxes` (B, K, 4).

    All randomness comes from torch's global generator, so that a resumed run repeats it.

    Args:
        config: Which changes.
    """

    def __init__(self, config: BoxAugmentConfig) -> None:
        self.config = config

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the changed batch: float images in [0, 1]; objects that left the image have class -1."""
        config = self.config
        if config == BoxAugmentConfig(least_visible=config.least_visible):
            return batch
        image = batch["image"]
        image = image.float() / 255 if image.dtype == torch.uint8 else image
        if config.zoom or config.shift or config.flip or config.flip_vertical:
            scale, shift = self._places(len(image))
            image = move_images(image, scale, shift)
            batch = {**batch, **move_boxes(batch["classes"], batch["boxes"], scale, shift, config.least_visible)}
        if config.colour:
            image = self._coloured(image)
        return {**batch, "image": image}

    def _places(self, count: int) -> tuple[Tensor, Tensor]:
        """Draw a scale, negative where it mirrors, and a shift for x and y: (B, 2) each."""
        config = self.config
        scale = 1 + config.zoom * _spread(count, 1).expand(-1, 2)
        mirror = torch.rand(count, 2) < torch.tensor([config.flip, config.flip_vertical]) / 2
        return torch.where(mirror, -scale, scale), config.shift * _spread(count, 2)

    def _coloured(self, image: Tensor) -> Tensor:
        factors = 1 + self.config.colour * _spread(len(image), 3)
        brightness, contrast, saturation = factors[..., None, None, None].unbind(1)
        image = image * brightness
        image = torch.lerp(image.mean(dim=(1, 2, 3), keepdim=True), image, contrast)
        return torch.lerp(image.mean(dim=3, keepdim=True), image, saturation).clamp(0, 1)


def _spread(*shape: int) -> Tensor:
    return 2 * torch.rand(*shape) - 1


def move_images(
    image: Float[Tensor, "B H W C"], scale: Float[Tensor, "B 2"], shift: Float[Tensor, "B 2"]
) -> Float[Tensor, "B H W C"]:
    """Scale images about their middle and shift them; what comes in from outside repeats the border.

    Args:
        image: The images.
        scale: Of x and y; a negative one mirrors.
        shift: Of x and y, as a share of the sides.
    """
    # What a pixel of the result shows: the way back, in coordinates from -1 to 1.
    back = torch.zeros(len(image), 2, 3)
    back[:, 0, 0], back[:, 1, 1] = (1 / scale).unbind(1)
    back[:, :, 2] = -2 * shift / scale
    pixels = rearrange(image, "b h w c -> b c h w")
    grid = functional.affine_grid(back, list(pixels.shape), align_corners=False)
    moved = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    return rearrange(moved, "b c h w -> b h w c")


def move_boxes(
    classes: Tensor, boxes: Float[Tensor, "B K 4"], scale: Tensor, shift: Tensor, least_visible: float
) -> dict[str, Tensor]:
    """Move boxes (centre x, centre y, width, height) as `move_images` does what they hold, and cut them at the border.

    Returns:
        `boxes`, and `classes` with -1 for objects of which less than `least_visible` is left.
    """
    centre = scale[:, None] * (boxes[..., :2] - 0.5) + 0.5 + shift[:, None]
    moved = to_corners(torch.cat([centre, scale.abs()[:, None] * boxes[..., 2:]], dim=-1))
    cut = moved.clamp(0, 1)
    visible = areas(cut) / areas(moved).clamp(min=torch.finfo(moved.dtype).tiny)
    return {"classes": classes.masked_fill(visible < max(least_visible, 1e-6), -1), "boxes": to_centres(cut)}
