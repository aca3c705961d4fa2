"""Attention as in Perceiver IO (arXiv:2107.14795, section 3.1).

All attention of the library goes through `attend`. Shapes use the paper's letters: `B` batch,
`O` queries, `M` attended elements, `H` heads.
"""

import math
from collections.abc import Iterator
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from perceivers.nn.init import scaled_linear
from perceivers.nn.linear import added, is_free

# What a query gets that may attend to nothing: zeros, as in the original, or the mean of all values, as in ports.
EmptyRows = Literal["zeros", "mean"]

# From so many weights a head on, what fills keys up to the width of values costs less than keeping the weights.
_LARGE = 2**18


def attend(
    q: Float[Tensor, "B H O K"],
    k: Float[Tensor, "B H M K"],
    v: Float[Tensor, "B H M V"],
    keep_mask: Bool[Tensor, "B #O #M"] | None = None,
    dropout: float = 0.0,
    empty_rows: EmptyRows = "zeros",
    scale: float | None = None,
) -> Float[Tensor, "B H O V"]:
    """Scaled dot-product attention on PyTorch's fused kernels.

    Args:
        q: Queries, one row a head.
        k: Keys.
        v: Values.
        keep_mask: `True` = attend. `(B, 1, M)` hides inputs, `(B, O, 1)` hides queries.
        dropout: Probability of dropping an attention weight.
        empty_rows: What a query gets that may attend to nothing.
        scale: Factor of the products; `None` takes `1 / sqrt(K)`.

    Returns:
        One row a query.
    """
    if keep_mask is None and q.shape[-1] < v.shape[-1] and q.device.type == "cpu" and not dropout:
        return _attend_unequal(q, k, v, 1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if keep_mask is None:
        return functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scale)
    nothing = ~keep_mask.any(dim=-1, keepdim=True)  # (B, O | 1, 1)
    kernel_mask = None
    if keep_mask.shape[-1] == k.shape[-2] and k.shape[-2] > 1:
        # Rows without any key would be NaN in the kernel: they attend to all here, and are wiped below.
        kernel_mask = (keep_mask | nothing)[:, None]
    out = functional.scaled_dot_product_attention(q, k, v, attn_mask=kernel_mask, dropout_p=dropout, scale=scale)
    if empty_rows == "mean":
        return torch.where(nothing[:, None], v.mean(dim=-2, keepdim=True), out)
    return out.masked_fill(nothing[:, None], 0.0)


def _attend_unequal(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Attend where values are wider than keys, which the fused kernel for CPUs refuses."""
    if q.shape[-2] * k.shape[-2] < _LARGE:
        queries, keys, values = (x.flatten(0, 1) for x in (q, k, v))
        # Within the product the factor costs nothing.
        scores = torch.baddbmm(q.new_zeros(1, 1, 1), queries, keys.mT, beta=0, alpha=scale)
        return scores.softmax(dim=-1).bmm(values).unflatten(0, q.shape[:2])
    missing = (0, v.shape[-1] - q.shape[-1])
    return functional.scaled_dot_product_attention(
        functional.pad(q, missing), functional.pad(k, missing), v, scale=scale
    )


def attention_weights(
    q: Float[Tensor, "B H O K"],
    k: Float[Tensor, "B H M K"],
    keep_mask: Bool[Tensor, "B #O #M"] | None = None,
    empty_rows: EmptyRows = "zeros",
) -> Float[Tensor, "B H O M"]:
    """Return the attention matrix, written out plainly: the reference for `attend`, and the source of maps.

    `attention_weights(q, k, keep_mask) @ v` equals `attend(q, k, v, keep_mask)`, with equal `empty_rows`.
    """
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if keep_mask is None:
        return scores.softmax(dim=-1)
    keep = keep_mask[:, None]
    lowest = torch.finfo(scores.dtype).min
    weights = scores.masked_fill(~keep, lowest).softmax(dim=-1)
    weights = weights.masked_fill(~keep, 0.0)
    if empty_rows == "mean":
        return weights.masked_fill(~keep.any(dim=-1, keepdim=True), 1 / k.shape[-2])
    return weights


class Attention(nn.Module):
    """Multi-head attention with query/key and value widths apart from the model's width.

    Args:
        q_channels: Width of the query side.
        kv_channels: Width of the attended side.
        qk_channels: Width in which queries and keys meet, over all heads.
        v_channels: Width of the values, over all heads.
        output_channels: Width of the result.
        num_heads: Number of heads; must divide `qk_channels` and `v_channels`.
        dropout: Probability of dropping an attention weight while training.
        init_scale: Scale of the variance-scaling initialiser.
        empty_rows: What a query gets that may attend to nothing.

    Raises:
        ValueError: A width is not divisible by `num_heads`.
    """

    def __init__(
        self,
        *,
        q_channels: int,
        kv_channels: int,
        qk_channels: int,
        v_channels: int,
        output_channels: int,
        num_heads: int,
        dropout: float = 0.0,
        init_scale: float = 1.0,
        empty_rows: EmptyRows = "zeros",
    ) -> None:
        super().__init__()
        for name, channels in (("qk_channels", qk_channels), ("v_channels", v_channels)):
            if channels % num_heads:
                raise ValueError(f"{name} ({channels}) must be divisible by num_heads ({num_heads})")
        self.num_heads = num_heads
        self.dropout = dropout
        self.empty_rows: EmptyRows = empty_rows
        self.query = scaled_linear(q_channels, qk_channels, init_scale)
        self.key = scaled_linear(kv_channels, qk_channels, init_scale)
        self.value = scaled_linear(kv_channels, v_channels, init_scale)
        self.output = scaled_linear(v_channels, output_channels, init_scale)

    def forward(
        self,
        x_q: Float[Tensor, "B O Q"],
        x_kv: Float[Tensor, "B M C"],
        keep_mask: Bool[Tensor, "B #O #M"] | None = None,
    ) -> Float[Tensor, "B O E"]:
        """Attend from `x_q` to `x_kv`; `keep_mask` as in `attend`."""
        return self.output(self._attend(x_q, x_kv, keep_mask))

    def added(
        self, x_q: Float[Tensor, "B O Q"], x_kv: Float[Tensor, "B M C"], residual: Float[Tensor, "B O E"]
    ) -> Float[Tensor, "B O E"]:
        """Return `residual` plus what `x_q` reads from `x_kv`."""
        return added(self.output, self._attend(x_q, x_kv), residual)

    def _attend(self, x_q: Tensor, x_kv: Tensor, keep_mask: Tensor | None = None) -> Float[Tensor, "B O V"]:
        return self.meet(self.query(x_q), self.key(x_kv), self.value(x_kv), keep_mask)

    def meet(
        self,
        q: Float[Tensor, "B O K"],
        k: Float[Tensor, "B M K"],
        v: Float[Tensor, "B M V"],
        keep_mask: Bool[Tensor, "B #O #M"] | None = None,
    ) -> Float[Tensor, "B O V"]:
        """Attend with queries, keys and values at hand, before the output projection."""
        dropout = self.dropout if self.training else 0.0
        out = attend(self._heads(q), self._heads(k), self._heads(v), keep_mask, dropout, self.empty_rows)
        return rearrange(out, "b h o v -> b o (h v)")

    def weights(
        self,
        x_q: Float[Tensor, "B O Q"],
        x_kv: Float[Tensor, "B M C"],
        keep_mask: Bool[Tensor, "B #O #M"] | None = None,
    ) -> Float[Tensor, "B H O M"]:
        """Return how much each query attends to each element, without dropout."""
        q, k = self._heads(self.query(x_q)), self._heads(self.key(x_kv))
        return attention_weights(q, k, keep_mask, self.empty_rows)

    def weight_rows(
        self,
        x_q: Float[Tensor, "B O Q"],
        x_kv: Float[Tensor, "B M C"],
        keep_mask: Bool[Tensor, "B #O #M"] | None = None,
        *,
        chunk_size: int,
    ) -> Iterator[Float[Tensor, "B H _o M"]]:
        """Yield `weights` piece by piece, `chunk_size` queries at a time; each piece may be dropped before the next."""
        # Of one head the keys' projection can be done to the few queries instead: keys would take as much memory as the
        # inputs. What a bias adds to a query's scores is the same for all inputs, and changes no weight.
        folds = self.num_heads == 1 and is_free(self.key)
        k = x_kv[:, None] if folds else self._heads(self.key(x_kv))
        for start in range(0, x_q.shape[1], chunk_size):
            rows = slice(start, start + chunk_size)
            q = self._heads(self.query(x_q[:, rows]))
            if folds:
                q = (q @ self.key.dense_weight()) * math.sqrt(k.shape[-1] / q.shape[-1])
            keep = keep_mask if keep_mask is None or keep_mask.shape[1] == 1 else keep_mask[:, rows]
            yield attention_weights(q, k, keep, self.empty_rows)

    def _heads(self, x: Tensor) -> Tensor:
        return rearrange(x, "b n (h c) -> b h n c", h=self.num_heads)
