"""The layers of Perceiver IO (arXiv:2107.14795, section 3.1): attention, then an MLP, each after a layer norm."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from perceivers.nn import absorption
from perceivers.nn.absorption import Answers, Folded, Layer
from perceivers.nn.attention import Attention, EmptyRows, attend
from perceivers.nn.frugal import activated_product, can_be_frugal, normed_products, plain_product
from perceivers.nn.linear import Linear, is_free, is_watched
from perceivers.nn.mlp import MLP, Activation
from perceivers.nn.rows import Rows, as_array

LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True, kw_only=True)
class LayerConfig:
    """What a cross-attention and a self-attention layer have in common: attention, then an MLP.

    Args:
        num_heads: Number of heads.
        qk_channels: Width of queries and keys; `None` leaves it to the layer.
        v_channels: Width of the values; `None` takes `qk_channels`.
        widening_factor: Hidden width of the MLP.
        activation: Form of the GELU.
        dropout: Dropout on the results of attention and MLP.
        attention_dropout: Dropout on attention weights.
        attention_init_scale: Initialiser scale of the attention's weights.
        mlp_init_scale: Initialiser scale of the MLP's weights.
        empty_rows: What a query gets that may attend to nothing.
    """

    num_heads: int
    qk_channels: int | None = None
    v_channels: int | None = None
    widening_factor: int = 1
    activation: Activation = "gelu_tanh"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    attention_init_scale: float = 1.0
    mlp_init_scale: float = 1.0
    empty_rows: EmptyRows = "zeros"

    def attention(self, q_channels: int, kv_channels: int, default_channels: int) -> Attention:
        """Make the attention; `default_channels` is the width of queries and keys when none is set."""
        qk_channels = self.qk_channels or default_channels
        return Attention(
            q_channels=q_channels,
            kv_channels=kv_channels,
            qk_channels=qk_channels,
            v_channels=self.v_channels or qk_channels,
            output_channels=q_channels,
            num_heads=self.num_heads,
            dropout=self.attention_dropout,
            init_scale=self.attention_init_scale,
            empty_rows=self.empty_rows,
        )

    def mlp(self, channels: int) -> MLP:
        """Make the MLP."""
        return MLP(
            channels,
            widening_factor=self.widening_factor,
            activation=self.activation,
            dropout=self.dropout,
            init_scale=self.mlp_init_scale,
        )


class CrossAttention(nn.Module):
    """Pre-norm cross-attention and MLP: queries read an array of any length.

    Args:
        layer: Heads, widths and rates.
        q_channels: Width of the queries and of the result.
        kv_channels: Width of the array that is read.
        shape_for_attention: Which side gives the width of queries and keys when `layer` has none: `"q"` or `"kv"`.
        query_residual: Add the queries to what they have read.
    """

    def __init__(
        self,
        layer: LayerConfig,
        *,
        q_channels: int,
        kv_channels: int,
        shape_for_attention: Literal["q", "kv"] = "kv",
        query_residual: bool = True,
    ) -> None:
        super().__init__()
        self.query_residual = query_residual
        self.norm_q = nn.LayerNorm(q_channels, eps=LAYER_NORM_EPS)
        self.norm_kv = nn.LayerNorm(kv_channels, eps=LAYER_NORM_EPS)
        default_channels = q_channels if shape_for_attention == "q" else kv_channels
        self.attention = layer.attention(q_channels, kv_channels, default_channels)
        self.dropout = nn.Dropout(layer.dropout)
        self.norm_mlp = nn.LayerNorm(q_channels, eps=LAYER_NORM_EPS)
        self.mlp = layer.mlp(q_channels)

    def forward(
        self,
        x_q: Float[Tensor, "B O Q"],
        x_kv: Float[Tensor, "B M C"] | Rows,
        keep_mask: Bool[Tensor, "B #O #M"] | None = None,
    ) -> Float[Tensor, "B O Q"]:
        """Let `x_q` read `x_kv`; `keep_mask` as in `attend`."""
        if keep_mask is None and self._absorbs(x_q.shape[1], x_kv):
            read = self._read_absorbed(x_q, x_kv)
        else:
            read = self.attention(self.norm_q(x_q), self.norm_kv(as_array(x_kv)), keep_mask)
        read = self.dropout(read)
        x = x_q + read if self.query_residual else read
        return self.mlp.added(self.norm_mlp(x), x)

    def answers(self, latents: Float[Tensor, "N D"]) -> Answers:
        """Return what answers very many queries from `latents`; see `nn.absorption`."""
        attention = self.attention
        normed = self.norm_kv(latents)
        keys = attention.key(normed) / math.sqrt(attention.query.out_features)
        query = _layer(attention.query)
        layers = Folded(
            norm_q=(self.norm_q.weight, self.norm_q.bias),
            norm_mlp=(self.norm_mlp.weight, self.norm_mlp.bias),
            eps=LAYER_NORM_EPS,
            output=_layer(attention.output),
            widen=_layer(self.mlp.widen),
            approximate=self.mlp.approximate,
            narrow=_layer(self.mlp.narrow),
        )
        values = attention.output(attention.value(normed))
        return Answers(keys @ query.weight, keys @ query.bias, values, layers)

    def can_answer(self) -> bool:
        """Return whether `answers` is at hand: one head, no residual, nothing but inference."""
        free = self._one_free_head() and is_free(self.mlp.widen) and is_free(self.mlp.narrow)
        return free and not is_watched(self) and not (self.query_residual or self.training) and self._infers()

    def _absorbs(self, num_queries: int, x_kv: Tensor | Rows) -> bool:
        """Return whether projecting the queries only is cheaper than projecting what they read."""
        # Without memory (a plan is made) and while a graph is traced the model stands as it is written.
        if not self._one_free_head() or torch.compiler.is_compiling() or self.norm_q.weight.is_meta:
            return False
        attention = self.attention
        num_rows, width = x_kv.shape[1:]
        meeting = attention.query.out_features + attention.value.out_features
        plain = num_rows * meeting * (width + num_queries)
        absorbed = num_queries * width * (meeting + 2 * num_rows)
        return absorbed < plain

    def _one_free_head(self) -> bool:
        attention = self.attention
        layers = (attention.query, attention.key, attention.value, attention.output)
        return attention.num_heads == 1 and not is_watched(attention) and all(map(is_free, layers))

    def _infers(self) -> bool:
        return not torch.is_grad_enabled() and self._takes_pieces()

    def _takes_pieces(self) -> bool:
        """Return whether the algebra in pieces holds here: nothing random, full precision, no graph being traced."""
        weight, attention = self.norm_q.weight, self.attention
        return (
            not (self.training and attention.dropout)
            and weight.dtype in (torch.float32, torch.float64)
            and not (weight.is_meta or torch.compiler.is_compiling() or torch.is_autocast_enabled(weight.device.type))
        )

    def _read_absorbed(self, x_q: Float[Tensor, "B O Q"], x_kv: Tensor | Rows) -> Float[Tensor, "B O Q"]:
        attention, norm = self.attention, self.norm_kv
        queries = attention.query(self.norm_q(x_q)) / math.sqrt(attention.query.out_features)
        queries = (queries @ attention.key.dense_weight()) * norm.weight
        if torch.is_grad_enabled():
            # The key's bias adds the same to all scores of a query, which the softmax takes out again. It stays in
            # the graph, with the gradient of zero that it has: distributed training wants one for each parameter.
            queries = queries + 0.0 * attention.key.bias.sum()
        if isinstance(x_kv, Rows) and self._takes_pieces() and not (torch.is_grad_enabled() and x_kv.requires_grad):
            mean = absorption.read(queries, x_kv, norm.eps)
        else:
            normed = functional.layer_norm(as_array(x_kv), norm.normalized_shape, eps=norm.eps)[:, None]
            dropout = attention.dropout if self.training else 0.0
            mean = attend(queries[:, None], normed, normed, dropout=dropout, scale=1.0)[:, 0]
        return attention.output(attention.value(mean * norm.weight + norm.bias))


def _layer(linear: Linear) -> Layer:
    return Layer(linear.dense_weight(), linear.bias)


class SelfAttention(nn.Module):
    """Pre-norm self-attention and MLP: one layer of the latent transformer.

    Args:
        layer: Heads, widths and rates; queries and keys are as wide as the latents when it sets no width.
        channels: Width of the latents.
    """

    def __init__(self, layer: LayerConfig, *, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=LAYER_NORM_EPS)
        self.attention = layer.attention(channels, channels, channels)
        self.dropout = nn.Dropout(layer.dropout)
        self.norm_mlp = nn.LayerNorm(channels, eps=LAYER_NORM_EPS)
        self.mlp = layer.mlp(channels)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Let the latents attend to one another."""
        if self._can_be_frugal():
            return self._forward_frugally(x)
        normed = self.norm(x)
        # Hooks see the attention only when it is called.
        if self.training or is_watched(self.attention):
            x = x + self.dropout(self.attention(normed, normed))
        else:
            x = self.attention.added(normed, normed, x)
        return self.mlp.added(self.norm_mlp(x), x)

    def _can_be_frugal(self) -> bool:
        attention, mlp = self.attention, self.mlp
        if is_watched(attention) or is_watched(mlp):
            return False
        layers = (attention.query, attention.key, attention.value, mlp.widen, mlp.narrow)
        return can_be_frugal(layers, (self.norm, self.norm_mlp))

    def _forward_frugally(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        attention, mlp = self.attention, self.mlp
        q, k, v = normed_products(x, self.norm, (attention.query, attention.key, attention.value))
        attended = attention.meet(q, k, v)
        if self.dropout.p:
            x = x + self.dropout(plain_product(attended, attention.output))
        else:
            x = plain_product(attended, attention.output, x)
        (hidden,) = normed_products(x, self.norm_mlp, (mlp.widen,))
        if mlp.dropout.p:
            return x + mlp.dropout(activated_product(hidden, mlp.narrow, mlp.approximate))
        return activated_product(hidden, mlp.narrow, mlp.approximate, x)
