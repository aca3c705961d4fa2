"""Convolutional features of the original: SAME padding as its framework does it, and its batch norm."""

from itertools import pairwise

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from perceivers.nn.init import truncated_normal_


def space_to_depth(image: Float[Tensor, "B *T H W C"], spatial: int, temporal: int = 1) -> Float[Tensor, "B *t h w c"]:
    """Fold blocks of pixels (and frames) into channels.

    Args:
        image: An image, or a video with time before height.
        spatial: Side of a block in pixels.
        temporal: Frames a block; 1 for images.

    Raises:
        ValueError: A side is not divisible by the block.
    """
    height, width = image.shape[-3:-1]
    if height % spatial or width % spatial:
        raise ValueError(f"image of {height} x {width} pixels must be divisible by the block size {spatial}")
    if image.dim() == 4:
        return rearrange(image, "b (h x) (w y) c -> b h w (x y c)", x=spatial, y=spatial)
    if image.shape[1] % temporal:
        raise ValueError(f"{image.shape[1]} frames must be divisible by the temporal block {temporal}")
    return rearrange(image, "b (t z) (h x) (w y) c -> b t h w (z x y c)", z=temporal, x=spatial, y=spatial)


def depth_to_space(blocks: Float[Tensor, "B *t h w c"], spatial: int, temporal: int = 1) -> Float[Tensor, "B *T H W C"]:
    """Unfold channels into blocks of pixels (and frames): what `space_to_depth` folded.

    Args:
        blocks: Of an image, or of a video with time before height.
        spatial: Side of a block in pixels.
        temporal: Frames a block; 1 for images.
    """
    if blocks.dim() == 4:
        return rearrange(blocks, "b h w (x y c) -> b (h x) (w y) c", x=spatial, y=spatial)
    return rearrange(blocks, "b t h w (z x y c) -> b (t z) (h x) (w y) c", z=temporal, x=spatial, y=spatial)


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Pad (B, C, H, W) so that a strided window covers every pixel, the odd pixel going below and right."""
    pads: list[int] = []
    for size in (x.shape[-1], x.shape[-2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(x, pads, value=value)


class BatchNorm(nn.Module):
    """Batch normalisation with zero-debiased moving averages and biased variance.

    Parity: PyTorch's own keeps a plain moving average that starts at 1 and an unbiased variance.

    Args:
        num_channels: Channels of (B, C, H, W) inputs.
        decay: Weight of the past in the moving averages.
        eps: Added to the variance.
    """

    count: Tensor
    hidden_mean: Tensor
    hidden_var: Tensor
    mean: Tensor
    var: Tensor

    def __init__(self, num_channels: int, *, decay: float = 0.9, eps: float = 1e-5) -> None:
        super().__init__()
        self.decay = decay
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_buffer("hidden_mean", torch.zeros(num_channels))
        self.register_buffer("hidden_var", torch.zeros(num_channels))
        self.register_buffer("mean", torch.zeros(num_channels))
        self.register_buffer("var", torch.zeros(num_channels))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Normalise by the batch while training, by the moving averages otherwise."""
        if not self.training:
            return functional.batch_norm(x, self.mean, self.var, self.weight, self.bias, eps=self.eps)
        # At momentum 1 the statistics come out as the layer finds them: many times faster than asking for them apart.
        mean, var = torch.zeros_like(self.mean), torch.zeros_like(self.var)
        normed = functional.batch_norm(x, mean, var, self.weight, self.bias, training=True, momentum=1.0, eps=self.eps)
        count = x.numel() // x.shape[1]
        with torch.no_grad():
            self._remember(mean, var * ((count - 1) / count))
        return normed

    def _remember(self, mean: Tensor, var: Tensor) -> None:
        self.count += 1
        debias = 1 - self.decay ** self.count.to(mean.dtype)
        for hidden, average, new in ((self.hidden_mean, self.mean, mean), (self.hidden_var, self.var, var)):
            hidden.mul_(self.decay).add_(new, alpha=1 - self.decay)
            average.copy_(hidden / debias)


class ConvDownsample(nn.Module):
    """Stages of 7x7 convolution with stride 2, batch norm, ReLU and 3x3 max-pooling with stride 2.

    Args:
        in_channels: Channels of the image.
        num_channels: Channels of the result.
        num_stages: Stages; each halves the sides twice (rounding up).
        use_batch_norm: Normalise after each convolution.
        same_padding: Pad as the original does, every window's odd pixel below and right. `False` pads
            the convolution by 3 on every side and pooling not at all, as a port does.
    """

    def __init__(
        self, in_channels: int, num_channels: int, *, num_stages: int, use_batch_norm: bool, same_padding: bool
    ) -> None:
        super().__init__()
        self.same_padding = same_padding
        widths = [in_channels] + [num_channels] * num_stages
        convs = [nn.Conv2d(a, b, 7, stride=2, bias=False) for a, b in pairwise(widths)]
        for conv in convs:
            truncated_normal_(conv.weight, (49 * conv.in_channels) ** -0.5)
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(
            BatchNorm(num_channels) if use_batch_norm else nn.Identity() for _ in range(num_stages)
        )

    def forward(self, image: Float[Tensor, "B H W C"]) -> Float[Tensor, "B h w c"]:
        """Return the features of `image`."""
        x = rearrange(image, "b h w c -> b c h w")
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = pad_same(x, 7, 2) if self.same_padding else functional.pad(x, (3, 3, 3, 3))
            x = functional.relu(norm(conv(x)))
            x = functional.max_pool2d(pad_same(x, 3, 2, value=float("-inf")) if self.same_padding else x, 3, stride=2)
        return rearrange(x, "b c h w -> b h w c")

    def output_size(self, size: int) -> int:
        """Return the side of the result for an image of side `size`."""
        for _ in self.convs:
            size = -(-size // 2)
            size = -(-size // 2) if self.same_padding else (size - 3) // 2 + 1
        return size
