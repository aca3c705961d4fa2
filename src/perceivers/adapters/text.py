"""Text as bytes: embedding and positions in, one query a byte, tied embedding out."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from perceivers.adapters.base import (
    Batch,
    InputAdapter,
    InputConfig,
    OutputAdapter,
    OutputConfig,
    Queries,
    QueryAdapter,
    QueryConfig,
    RawTokens,
    Tokens,
    batch_entry,
    take_rows,
    without_full_mask,
)
from perceivers.nn.init import truncated_normal_
from perceivers.nn.positions import (
    LearnedPositionConfig,
    PositionConfig,
    Positioned,
    PositionedConfig,
)

NUM_BYTES_AND_SPECIALS = 262


@dataclass(frozen=True, kw_only=True)
class TextInputConfig(InputConfig, kind="text"):
    """Token ids -> embeddings with positions.

    Args:
        vocab_size: Number of ids: 6 special ones and 256 bytes.
        max_length: Longest text in tokens; positions are laid out for this length.
        num_channels: Width of an embedding.
        positioned: How positions join the embeddings.
        embedding_init_scale: Deviation of the truncated normal that embeddings start from.
    """

    vocab_size: int = NUM_BYTES_AND_SPECIALS
    max_length: int
    num_channels: int
    positioned: PositionedConfig
    embedding_init_scale: float = 1.0

    def build(self) -> "TextInput":
        """Make the module."""
        return TextInput(self)

    @classmethod
    def example(cls) -> "TextInputConfig":
        """Return a tiny config."""
        positions = PositionedConfig(positions=LearnedPositionConfig(num_channels=8), combine="add")
        return cls(max_length=12, num_channels=8, positioned=positions)


class TextInput(InputAdapter):
    """Reads `input_ids` (B, M) and, when there, `keep_mask` (B, M)."""

    entries = ("input_ids",)

    def __init__(self, config: TextInputConfig) -> None:
        super().__init__()
        self.max_length = config.max_length
        self.grid_shape = (config.max_length,)
        self.embedding = nn.Embedding(config.vocab_size, config.num_channels)
        truncated_normal_(self.embedding.weight, config.embedding_init_scale)
        self.positioned = Positioned(config.positioned, config.num_channels, (config.max_length,))
        self.num_channels = self.positioned.num_channels

    def forward(self, batch: Batch) -> Tokens:
        """Embed the ids.

        Raises:
            ValueError: The text is longer than `max_length`.
        """
        raw = self.raw(batch)
        content = self.embedding(raw.values)
        return Tokens(self.positioned(content, (self.max_length,)), raw.keep_mask, content, raw.grid_shape)

    def raw(self, batch: Batch) -> RawTokens:
        """Return the ids.

        Raises:
            ValueError: The text is longer than `max_length`.
        """
        input_ids = batch_entry(batch, "input_ids")
        length = input_ids.shape[1]
        if length > self.max_length:
            raise ValueError(f"text of {length} tokens is longer than max_length ({self.max_length})")
        keep_mask = batch.get("keep_mask")
        return RawTokens(input_ids, None if keep_mask is None else without_full_mask(keep_mask.bool()), (length,))

    def example_batch(self, batch_size: int) -> dict[str, Any]:
        """Return random ids in which the last token of each row is padding."""
        shape = (batch_size, self.max_length)
        keep_mask = torch.ones(shape, dtype=torch.bool)
        keep_mask[:, -1] = False
        return {"input_ids": torch.randint(self.embedding.num_embeddings, shape), "keep_mask": keep_mask}


@dataclass(frozen=True, kw_only=True)
class TextQueryConfig(QueryConfig, kind="text"):
    """One query a token: its position.

    Args:
        max_length: Longest text in tokens.
        positions: What tells the tokens apart.
        mask_padding: Let the queries of padding read nothing, as the original does.
    """

    max_length: int
    positions: PositionConfig
    mask_padding: bool = True

    def build(self, inputs: InputAdapter) -> "TextQueries":
        """Make the module."""
        return TextQueries(self)

    @classmethod
    def example(cls) -> "TextQueryConfig":
        """Return a tiny config."""
        return cls(max_length=12, positions=LearnedPositionConfig(num_channels=8))

    @classmethod
    def example_input(cls) -> InputConfig:
        """Return the text input that gives the tokens."""
        return TextInputConfig.example()


class TextQueries(QueryAdapter):
    """Positions of the tokens, padding masked."""

    def __init__(self, config: TextQueryConfig) -> None:
        super().__init__()
        self.max_length = config.max_length
        self.mask_padding = config.mask_padding
        self.positions = config.positions.build((config.max_length,))
        self.num_channels = self.positions.num_channels

    def forward(self, tokens: Tokens, where: Any = None) -> Queries:
        """Return one query for each token, or for those in `where`."""
        batch_size, length, _ = tokens.array.shape
        rows = self.positions((self.max_length,), tokens.like)[:length]
        keep_mask = tokens.keep_mask if self.mask_padding else None
        if where is None:
            return Queries(rows.expand(batch_size, -1, -1), keep_mask)
        values = take_rows(rows, where, batch_size)
        if keep_mask is not None:
            keep_mask = keep_mask.gather(1, where.expand(batch_size, -1))
        return Queries(values, keep_mask)

    def output_grid(self, tokens: Tokens) -> tuple[int, ...]:
        """Return the number of tokens."""
        return tokens.grid_shape


@dataclass(frozen=True, kw_only=True)
class TextNeighboursQueryConfig(QueryConfig, kind="text-neighbours"):
    """One query a token: its position, and what stands there and around it.

    Answers that belong to single places of a text need not be found again among the latents by the position alone.
    The paper's queries for optical flow are made in the same way: of the features of a pixel and its neighbours
    (arXiv:2107.14795, section 4.2).

    Args:
        max_length: Longest text in tokens.
        num_before: Tokens before it that count.
        num_after: Tokens behind it that count.
        positions: What tells the tokens apart; their width is that of a query.
    """

    max_length: int
    num_before: int
    num_after: int
    positions: PositionConfig

    def build(self, inputs: InputAdapter) -> "TextNeighboursQueries":
        """Make the module.

        Raises:
            ValueError: The input side is not text, or a number of neighbours is negative.
        """
        if not isinstance(inputs, TextInput):
            raise ValueError(f"text-neighbours queries need a text input, not {type(inputs).__name__}")
        for name in ("num_before", "num_after"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must not be negative")
        return TextNeighboursQueries(self, inputs.embedding.embedding_dim)

    @classmethod
    def example(cls) -> "TextNeighboursQueryConfig":
        """Return a tiny config."""
        return cls(max_length=12, num_before=1, num_after=2, positions=LearnedPositionConfig(num_channels=8))

    @classmethod
    def example_input(cls) -> InputConfig:
        """Return the text input whose embeddings are read."""
        return TextInputConfig.example()


class TextNeighboursQueries(QueryAdapter):
    """Positions of the tokens and a projection of the embeddings around each, padding masked."""

    def __init__(self, config: TextNeighboursQueryConfig, embedding_channels: int) -> None:
        super().__init__()
        self.max_length = config.max_length
        self.around = (config.num_before, config.num_after)
        self.positions = config.positions.build((config.max_length,))
        self.num_channels = self.positions.num_channels
        width = sum(self.around) + 1
        self.convolution = nn.Conv1d(embedding_channels, self.num_channels, width)
        truncated_normal_(self.convolution.weight, 1 / math.sqrt(width * embedding_channels))
        nn.init.zeros_(self.convolution.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, tokens: Tokens, where: Any = None) -> Queries:
        """Return one query for each token, or for those in `where`."""
        batch_size, length, _ = tokens.array.shape
        content = tokens.content
        if tokens.keep_mask is not None:
            content = content.masked_fill(~tokens.keep_mask[..., None], 0)
        padded = functional.pad(content, (0, 0, *self.around))  # (B, M + W - 1, C)
        rows = self.positions((self.max_length,), tokens.like)[:length]
        if where is None:
            return Queries(self.convolution(padded.transpose(1, 2)).transpose(1, 2) + rows, tokens.keep_mask)
        rows = take_rows(rows, where, batch_size) + self._around(padded, where.expand(batch_size, -1))
        keep_mask = None if tokens.keep_mask is None else tokens.keep_mask.gather(1, where.expand(batch_size, -1))
        return Queries(rows, keep_mask)

    def _around(self, padded: Float[Tensor, "B L C"], where: Int[Tensor, "B K"]) -> Float[Tensor, "B K F"]:
        """Return what the convolution gives at chosen places alone: a task may ask for one in ten."""
        width = sum(self.around) + 1
        places = where[..., None] + torch.arange(width, device=where.device)  # (B, K, W)
        places = places + padded.shape[1] * torch.arange(padded.shape[0], device=where.device)[:, None, None]
        near = padded.flatten(0, 1).index_select(0, places.flatten()).unflatten(0, places.shape)  # (B, K, W, C)
        weight = rearrange(self.convolution.weight, "f c w -> f (w c)")
        return functional.linear(near.flatten(2), weight, self.convolution.bias)

    def output_grid(self, tokens: Tokens) -> tuple[int, ...]:
        """Return the number of tokens."""
        return tokens.grid_shape


@dataclass(frozen=True, kw_only=True)
class TextOutputConfig(OutputConfig, kind="text"):
    """Decoded rows -> a score for each id, by the transposed input embedding and a bias."""

    def build(self, num_channels: int, inputs: InputAdapter) -> "TextOutput":
        """Make the module.

        Raises:
            ValueError: The input side is not text, or its embedding has another width.
        """
        if not isinstance(inputs, TextInput):
            raise ValueError(f"the text output shares the embedding of a text input, not of {type(inputs).__name__}")
        return TextOutput(num_channels, inputs.embedding)

    @classmethod
    def example(cls) -> "TextOutputConfig":
        """Return the config."""
        return cls()

    @classmethod
    def example_input(cls) -> InputConfig:
        """Return the text input whose embedding is shared."""
        return TextInputConfig.example()

    @classmethod
    def example_queries(cls) -> QueryConfig:
        """Return text queries as wide as the embedding."""
        return TextQueryConfig.example()


class TextOutput(OutputAdapter):
    """Scores over ids with the embedding of the input side."""

    def __init__(self, num_channels: int, embedding: nn.Embedding) -> None:
        super().__init__()
        if embedding.embedding_dim != num_channels:
            raise ValueError(
                f"decoded channels ({num_channels}) must equal the embedding's ({embedding.embedding_dim})"
            )
        self.embedding = embedding
        self.bias = nn.Parameter(torch.zeros(embedding.num_embeddings))

    def forward(self, decoded: Float[Tensor, "B O F"], queries: Queries) -> Float[Tensor, "B O V"]:
        """Return logits over ids."""
        return decoded @ self.embedding.weight.T + self.bias
