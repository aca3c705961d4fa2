"""Weight initialisers of the original code, under the names that its framework gives them."""

import math

from torch import Tensor, nn

from perceivers.nn.linear import Linear

# A normal truncated at two deviations has this deviation; dividing by it restores the wanted one.
TRUNCATED_STD = 0.87962566103423978


def truncated_normal_(weight: Tensor, std: float) -> None:
    """Fill with a normal of deviation `std` cut at two deviations (the result's own deviation is 12 % smaller)."""
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def variance_scaling_(weight: Tensor, scale: float, fan_in: int) -> None:
    """Fill so that the true variance is `scale / fan_in`: the rule of attention and MLP weights."""
    truncated_normal_(weight, math.sqrt(scale / fan_in) / TRUNCATED_STD)


def scaled_linear(in_channels: int, out_channels: int, init_scale: float) -> Linear:
    """Return a linear layer initialised by `variance_scaling_`, bias zero."""
    linear = Linear(in_channels, out_channels)
    variance_scaling_(linear.weight, init_scale, in_channels)
    nn.init.zeros_(linear.bias)
    return linear


def plain_linear(in_channels: int, out_channels: int, *, zeros: bool = False) -> Linear:
    """Return a linear layer as used outside attention: truncated normal of 1/sqrt(fan in), bias zero.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        zeros: Start with all weights zero (the flow model's output layer).
    """
    linear = Linear(in_channels, out_channels)
    if zeros:
        nn.init.zeros_(linear.weight)
    else:
        truncated_normal_(linear.weight, 1 / math.sqrt(in_channels))
    nn.init.zeros_(linear.bias)
    return linear
