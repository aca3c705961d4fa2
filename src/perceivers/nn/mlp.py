"""The multi-layer perceptron that follows each attention."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from perceivers.nn.init import scaled_linear
from perceivers.nn.linear import activated, added, is_watched

Activation = Literal["gelu_tanh", "gelu_erf"]
# The original uses the tanh approximation; ports exist that were trained with the exact form.
_APPROXIMATE = {"gelu_tanh": "tanh", "gelu_erf": "none"}


class MLP(nn.Module):
    """Two linear layers with a GELU between them.

    Args:
        channels: Width of input and output.
        widening_factor: Hidden width as a multiple of `channels`.
        activation: Form of the GELU.
        dropout: Probability of dropping an output while training.
        init_scale: Scale of the variance-scaling initialiser.
    """

    def __init__(
        self,
        channels: int,
        *,
        widening_factor: int,
        activation: Activation = "gelu_tanh",
        dropout: float = 0.0,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.widen = scaled_linear(channels, widening_factor * channels, init_scale)
        self.narrow = scaled_linear(widening_factor * channels, channels, init_scale)
        self.dropout = nn.Dropout(dropout)
        self.approximate = _APPROXIMATE[activation]

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Transform each element on its own."""
        return self.dropout(self.narrow(activated(self.widen, x, self.approximate)))

    def added(self, x: Float[Tensor, "B N D"], residual: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Return `residual` plus the transformed elements."""
        # Hooks see a module only when it is called.
        if self.training or is_watched(self):
            return residual + self(x)
        return added(self.narrow, activated(self.widen, x, self.approximate), residual)
