"""Random changes of pairs of frames together with the motion between them."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class FlowAugmentConfig:
    """Which random changes; the default is none. Each pair draws its own.

    Args:
        zoom: A part of the frames is enlarged to the whole, by 1 to `1 + zoom`, and motion with it.
        flip: Mirror left and right half of the time.
        flip_vertical: Mirror top and bottom half of the time.
        colour: Brightness, contrast and strength of each colour between `1 - colour` and `1 + colour`; a quarter of
            that differs between the frames.
        noise: Largest deviation of noise in each frame, 1 for all the way from black to white.
    """

    zoom: float = 0.0
    flip: bool = False
    flip_vertical: bool = False
    colour: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.zoom < 0:
            raise ValueError(f"zoom ({self.zoom}) must not be negative")
        for name in ("colour", "noise"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must lie between 0 and 1")


class FlowAugmenter:
    """Applies a `FlowAugmentConfig` to batches of `frames` (B, 2, H, W, C), `flow` (B, H, W, 2) and `valid` (B, H, W).

    All randomness comes from torch's global generator, so that a resumed run repeats it.

    Args:
        config: Which changes.
    """

    def __init__(self, config: FlowAugmentConfig) -> None:
        self.config = config

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the changed batch, with frames in [0, 1] where their values change."""
        config = self.config
        if config == FlowAugmentConfig():
            return batch
        frames, flow, valid = batch["frames"], batch["flow"], batch["valid"]
        frames = frames.float() / 255 if frames.dtype == torch.uint8 else frames
        count = len(frames)
        if config.zoom:
            zoom = 1 + config.zoom * torch.rand(count)
            frames, flow, valid = enlarge(frames, flow, valid, zoom, 2 * torch.rand(count, 2) - 1)
        if config.flip or config.flip_vertical:
            chosen = torch.rand(count, 2) < torch.tensor([config.flip, config.flip_vertical]) / 2
            frames, flow, valid = mirror(frames, flow, valid, chosen)
        if config.colour:
            frames = self._coloured(frames)
        if config.noise:
            strength = config.noise * torch.rand(count)[:, None, None, None, None]
            frames = frames + strength * torch.randn(frames.shape)
        return {**batch, "frames": frames.clamp(0, 1), "flow": flow, "valid": valid}

    def _coloured(self, frames: Tensor) -> Tensor:
        count, channels = len(frames), frames.shape[-1]
        common, own = _spread(count, 1, 2 + channels), _spread(count, 2, 2 + channels)
        factors = 1 + self.config.colour * (0.75 * common + 0.25 * own)[:, :, None, None]  # (B, 2, 1, 1, 2 + C)
        frames = frames * factors[..., :1] * factors[..., 2:]
        return torch.lerp(frames.mean(dim=(2, 3, 4), keepdim=True), frames, factors[..., 1:2])


def _spread(*shape: int) -> Tensor:
    return 2 * torch.rand(*shape) - 1


def enlarge(
    frames: Float[Tensor, "B 2 H W C"],
    flow: Float[Tensor, "B H W 2"],
    valid: Tensor,
    zoom: Float[Tensor, " B"],
    place: Float[Tensor, "B 2"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Enlarge a part of both frames to the whole, and the motion with it.

    Args:
        frames: The frames.
        flow: The motion in pixels.
        valid: Where it is known, (B, H, W).
        zoom: How many times as large things become, at least 1.
        place: Where the part lies, for x and y: -1 at the left or top, 1 at the right or bottom.
    """
    # What a pixel of the result shows, in coordinates from -1 to 1.
    back = torch.zeros(len(frames), 2, 3)
    back[:, 0, 0] = back[:, 1, 1] = 1 / zoom
    back[:, :, 2] = (1 - 1 / zoom)[:, None] * place
    known = valid[..., None].to(flow.dtype)
    planes = rearrange([frames[:, 0], frames[:, 1]], "t b h w c -> b (t c) h w")
    planes = torch.cat([planes, rearrange(torch.cat([flow, known], dim=-1), "b h w c -> b c h w")], dim=1)
    grid = functional.affine_grid(back, list(planes.shape), align_corners=False)
    moved = functional.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    pictures = rearrange(moved[:, :-3], "b (t c) h w -> b t h w c", t=2)
    motion = rearrange(moved[:, -3:-1], "b c h w -> b h w c") * zoom[:, None, None, None]
    # A motion that is mixed with an unknown one is not known.
    return pictures, motion, moved[:, -1] > 0.999


def mirror(frames: Tensor, flow: Tensor, valid: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror pairs left and right, top and bottom, and the motion with them.

    Args:
        frames: (B, 2, H, W, C).
        flow: (B, H, W, 2).
        valid: (B, H, W).
        chosen: Which are mirrored left and right, and which top and bottom, `bool` (B, 2).
    """
    for side, axis in ((0, -1), (1, -2)):
        rows = chosen[:, side]
        frames = torch.where(rows[:, None, None, None, None], frames.flip(axis - 1), frames)
        flow = torch.where(rows[:, None, None, None], flow.flip(axis - 1), flow)
        valid = torch.where(rows[:, None, None], valid.flip(axis), valid)
    sign = torch.where(chosen, -1.0, 1.0)
    return frames, flow * sign[:, None, None, :], valid
