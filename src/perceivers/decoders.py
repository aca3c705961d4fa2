"""Decoders: how latents become answers. Perceiver IO's attends from queries; the original Perceiver's is a mean."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from einops import repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from perceivers.adapters import Queries
from perceivers.adapters.base import Ask
from perceivers.config import Variant
from perceivers.nn.absorption import Layer
from perceivers.nn.init import plain_linear
from perceivers.nn.layers import CrossAttention, LayerConfig
from perceivers.nn.linear import Linear
from perceivers.nn.mlp import Activation
from perceivers.nn.rows import Rows, Segment


class Decoder(nn.Module, ABC):
    """Answers queries from latents. `num_channels` is the width of an answer."""

    num_channels: int

    @abstractmethod
    def forward(self, queries: Queries, latents: Float[Tensor, "B N D"]) -> Float[Tensor, "B O E"]:
        """Return one row a query, each computed apart from the others."""

    def takes_very_many(self) -> bool:
        """Return whether `asker` may have a way at all, whatever the queries."""
        return False

    def asker(self, queries: Queries, latents: Float[Tensor, "B N D"], chunk_size: int | None = None) -> Ask | None:
        """Return a way of answering very many queries under the outputs' last layer, where there is one.

        Args:
            queries: All of them.
            latents: What is asked.
            chunk_size: Answer at most so many at a time; the way may take fewer.
        """
        return None

    @abstractmethod
    def numbers_per_answer(self, num_latents: int) -> int:
        """Return how many numbers are held at the same time for one answer, about."""

    @abstractmethod
    def weights(self, queries: Queries, latents: Float[Tensor, "B N D"]) -> Float[Tensor, "B O N"]:
        """Return how much each answer takes from each latent; a row sums to 1, or is 0 where it takes nothing."""


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(Variant, ABC):
    """How latents become answers."""

    @abstractmethod
    def build(self, query_channels: int, latent_channels: int) -> Decoder:
        """Make the module."""


@dataclass(frozen=True, kw_only=True)
class CrossAttentionDecoderConfig(DecoderConfig, kind="cross-attention"):
    """Queries attend to the latents (Perceiver IO).

    Args:
        num_heads: Heads.
        widening_factor: Hidden width of the MLP.
        qk_channels: Width of queries and keys; `None` takes the side named by `cross_attention_shape`.
        v_channels: Width of values; `None` takes `qk_channels`.
        cross_attention_shape: Which side gives the default width: queries (q) or latents (kv).
        query_residual: Add the query to what it reads.
        final_channels: Project the answers to this width; `None` leaves them as wide as the queries.
        activation: Form of the GELU.
        dropout: Dropout on results of attention and MLP.
        attention_dropout: Dropout on attention weights.
        attention_init_scale: Initialiser scale of attention weights.
        mlp_init_scale: Initialiser scale of MLP weights.
    """

    num_heads: int
    widening_factor: int = 1
    qk_channels: int | None = None
    v_channels: int | None = None
    cross_attention_shape: Literal["q", "kv"] = "kv"
    query_residual: bool = False
    final_channels: int | None = None
    activation: Activation = "gelu_tanh"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    attention_init_scale: float = 1.0
    mlp_init_scale: float = 1.0

    def build(self, query_channels: int, latent_channels: int) -> "CrossAttentionDecoder":
        """Make the module."""
        return CrossAttentionDecoder(self, query_channels, latent_channels)


class CrossAttentionDecoder(Decoder):
    """One cross-attention from queries to latents."""

    def __init__(self, config: CrossAttentionDecoderConfig, query_channels: int, latent_channels: int) -> None:
        super().__init__()
        self.cross_attend = CrossAttention(
            LayerConfig(
                num_heads=config.num_heads,
                qk_channels=config.qk_channels,
                v_channels=config.v_channels,
                widening_factor=config.widening_factor,
                activation=config.activation,
                dropout=config.dropout,
                attention_dropout=config.attention_dropout,
                attention_init_scale=config.attention_init_scale,
                mlp_init_scale=config.mlp_init_scale,
            ),
            q_channels=query_channels,
            kv_channels=latent_channels,
            shape_for_attention=config.cross_attention_shape,
            query_residual=config.query_residual,
        )
        self.final: nn.Module = nn.Identity()
        self.num_channels = query_channels
        if config.final_channels is not None:
            self.final = plain_linear(query_channels, config.final_channels)
            self.num_channels = config.final_channels

    def forward(self, queries: Queries, latents: Float[Tensor, "B N D"]) -> Float[Tensor, "B O E"]:
        """Let the queries read the latents."""
        return self.final(self.cross_attend(queries.values, latents, _rows_kept(queries)))

    def takes_very_many(self) -> bool:
        """Return whether the cross-attention can answer in pieces."""
        return self.cross_attend.can_answer()

    def numbers_per_answer(self, num_latents: int) -> int:
        """Count a query, its scores, what it reads, and the MLP's hidden layer with what stands beside them."""
        attention, mlp = self.cross_attend.attention, self.cross_attend.mlp
        widths = (attention.query.in_features, attention.query.out_features, attention.value.out_features)
        return 2 * attention.num_heads * num_latents + 3 * sum(widths) + 2 * mlp.widen.out_features + self.num_channels

    def asker(self, queries: Queries, latents: Float[Tensor, "B N D"], chunk_size: int | None = None) -> Ask | None:
        """Return answers in pieces, all layers after the attention folded, when the queries allow it."""
        in_parts = isinstance(queries.array, Rows) and queries.keep_mask is None
        if not in_parts or queries.array.shape[1] < 2 * latents.shape[1]:
            return None
        answers = [self.cross_attend.answers(one) for one in latents]
        final = Layer(self.final.dense_weight(), self.final.bias) if isinstance(self.final, Linear) else None

        def ask(segment: Segment, last: Layer) -> Tensor:
            layer = last if final is None else last.after(final)
            return torch.cat([answer(segment.element(i), layer, chunk_size) for i, answer in enumerate(answers)])

        return ask

    def weights(self, queries: Queries, latents: Float[Tensor, "B N D"]) -> Float[Tensor, "B O N"]:
        """Return the attention, mean over heads."""
        layer = self.cross_attend
        q, kv = layer.norm_q(queries.values), layer.norm_kv(latents)
        return layer.attention.weights(q, kv, _rows_kept(queries)).mean(dim=1)


@dataclass(frozen=True, kw_only=True)
class AverageDecoderConfig(DecoderConfig, kind="average"):
    """The mean of the latents answers every query (the original Perceiver's classifier)."""

    def build(self, query_channels: int, latent_channels: int) -> "AverageDecoder":
        """Make the module.

        Raises:
            ValueError: The queries have a width, which the mean would ignore.
        """
        if query_channels:
            raise ValueError(f"the 'average' decoder reads no queries ({query_channels} channels); use 'none' queries")
        return AverageDecoder(latent_channels)


class AverageDecoder(Decoder):
    """The mean over latents."""

    def __init__(self, latent_channels: int) -> None:
        super().__init__()
        self.num_channels = latent_channels

    def forward(self, queries: Queries, latents: Float[Tensor, "B N D"]) -> Float[Tensor, "B O E"]:
        """Return the mean latent once a query."""
        return repeat(latents.mean(dim=1), "b d -> b o d", o=queries.array.shape[1])

    def numbers_per_answer(self, num_latents: int) -> int:
        """Count the mean."""
        return self.num_channels

    def weights(self, queries: Queries, latents: Float[Tensor, "B N D"]) -> Float[Tensor, "B O N"]:
        """Return an equal share for each latent."""
        batch_size, num_latents, _ = latents.shape
        return latents.new_full((batch_size, queries.array.shape[1], num_latents), 1 / num_latents)


def _rows_kept(queries: Queries) -> Bool[Tensor, "B O 1"] | None:
    return None if queries.keep_mask is None else queries.keep_mask[:, :, None]
