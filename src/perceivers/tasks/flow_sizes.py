"""Pairs of frames and the motion between them at another size."""

from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

Size = tuple[int, int]


def resize_frames(frames: Tensor, size: Size) -> Float[Tensor, "B T h w C"]:
    """Return frames (B, T, H, W, C), `uint8` or values in [0, 1], at another size, as values in [0, 1]."""
    scaled = frames.float() / 255 if not frames.is_floating_point() else frames
    if frames.shape[2:4] == size:
        return scaled
    flat = rearrange(scaled, "b t h w c -> (b t) c h w")
    small = functional.interpolate(flat, size, mode="bilinear", antialias=True)
    return rearrange(small, "(b t) c h w -> b t h w c", b=len(frames))


def resize_flow(flow: Float[Tensor, "B H W 2"], size: Size) -> Float[Tensor, "B h w 2"]:
    """Return motion at another size, in pixels of that size."""
    height, width = flow.shape[1:3]
    if (height, width) == size:
        return flow
    planes = rearrange(flow, "b h w c -> b c h w")
    resized = rearrange(functional.interpolate(planes, size, mode="bilinear", antialias=True), "b c h w -> b h w c")
    return resized * flow.new_tensor([size[1] / width, size[0] / height])


def resize_truth(
    flow: Float[Tensor, "B H W 2"], valid: Bool[Tensor, "B H W"], size: Size
) -> tuple[Float[Tensor, "B h w 2"], Bool[Tensor, "B h w"]]:
    """Return motion at another size where it is known; a pixel of which less than half is known is not."""
    if flow.shape[1:3] == size:
        return flow, valid
    known = valid.to(flow.dtype)[..., None]
    share = functional.interpolate(known[..., 0][:, None], size, mode="bilinear", antialias=True)[:, 0]
    resized = resize_flow(flow * known, size) / share.clamp(min=0.5)[..., None]
    return resized, share >= 0.5
