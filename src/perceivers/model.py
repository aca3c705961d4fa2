"""Perceiver IO: read any input into a few latents, process them, answer any query.

Also the original Perceiver (arXiv:2103.03206): repeated cross-attention and the averaged head are
fields of `EncoderConfig` and kinds of `DecoderConfig`.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from perceivers.adapters import Batch, InputConfig, OutputConfig, QueryConfig, Tokens
from perceivers.decoders import DecoderConfig
from perceivers.nn.attention import EmptyRows
from perceivers.nn.frugal import packed_while
from perceivers.nn.init import truncated_normal_
from perceivers.nn.layers import CrossAttention, LayerConfig, SelfAttention
from perceivers.nn.mlp import Activation
from perceivers.nn.rows import Rows


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Latents, the cross-attention that fills them and the self-attention that works on them.

    Args:
        num_latents: Number N of latents.
        latent_channels: Width D of a latent.
        num_blocks: How often the self-attention stack runs.
        num_layers_per_block: Self-attention layers in the stack.
        share_blocks: Use one stack's weights for all blocks (Perceiver IO), or a stack each.
        num_cross_attends: How many blocks, from the first, read the input before they run. Perceiver IO
            reads once; the original Perceiver reads before each block.
        share_cross_attends: Which reads share weights: all, all but the first (the original
            Perceiver's best), or none.
        num_cross_heads: Heads of the cross-attention.
        num_self_heads: Heads of the self-attention.
        cross_widening_factor: Hidden width of the cross-attention's MLP.
        self_widening_factor: Hidden width of the self-attention's MLP.
        qk_channels: Width of queries and keys in both; `None` takes the attended side's width.
        v_channels: Width of values in both; `None` takes `qk_channels`.
        cross_attention_shape: Which side gives the cross-attention's default width: latents (q) or inputs (kv).
        query_residual: Add the latents to what they read.
        dropout: Dropout on results of attention and MLP.
        attention_dropout: Dropout on attention weights.
        activation: Form of the GELU.
        latent_init_scale: Deviation of the truncated normal that latents start from.
        attention_init_scale: Initialiser scale of attention weights.
        mlp_init_scale: Initialiser scale of MLP weights.
        empty_rows: What latents read from an input that is masked as a whole: zeros, as in the original, or the
            mean of all its values.
    """

    num_latents: int
    latent_channels: int
    num_blocks: int
    num_layers_per_block: int
    share_blocks: bool = True
    num_cross_attends: int = 1
    share_cross_attends: Literal["all", "after_first", "none"] = "all"
    num_cross_heads: int
    num_self_heads: int
    cross_widening_factor: int = 1
    self_widening_factor: int = 1
    qk_channels: int | None = None
    v_channels: int | None = None
    cross_attention_shape: Literal["q", "kv"] = "kv"
    query_residual: bool = True
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation: Activation = "gelu_tanh"
    latent_init_scale: float = 0.02
    attention_init_scale: float = 1.0
    mlp_init_scale: float = 1.0
    empty_rows: EmptyRows = "zeros"

    def __post_init__(self) -> None:
        if not 1 <= self.num_cross_attends <= self.num_blocks:
            raise ValueError(
                f"num_cross_attends ({self.num_cross_attends}) must lie between 1 and num_blocks ({self.num_blocks})"
            )


class Encoder(nn.Module):
    """Fills latents from tokens and works on them.

    Args:
        config: Sizes.
        input_channels: Width C of the tokens.

    Attributes:
        activation_checkpointing: Keep only what goes into each layer while training, and compute the rest of it again
            in the backward pass: far less memory for about a third more time, and the same gradients.
    """

    activation_checkpointing: bool = False

    def __init__(self, config: EncoderConfig, input_channels: int) -> None:
        super().__init__()
        self.config = config
        self.latents = nn.Parameter(torch.empty(config.num_latents, config.latent_channels))
        truncated_normal_(self.latents, config.latent_init_scale)
        shared_reads = {"all": 1, "after_first": 2, "none": config.num_cross_attends}[config.share_cross_attends]
        num_reads = min(shared_reads, config.num_cross_attends)
        self.cross_attends = nn.ModuleList(self._cross_attention(input_channels) for _ in range(num_reads))
        num_stacks = 1 if config.share_blocks else config.num_blocks
        self.blocks = nn.ModuleList(
            nn.Sequential(*(self._self_attention() for _ in range(config.num_layers_per_block)))
            for _ in range(num_stacks)
        )

    def read(self, tokens: Tokens) -> Float[Tensor, "B N D"]:
        """Return the learned latents after they have read `tokens` once."""
        latents = repeat(self.latents, "n d -> b n d", b=tokens.batch_size)
        return self._read_again(latents, tokens, 0)

    def process(self, latents: Float[Tensor, "B N D"], tokens: Tokens) -> Float[Tensor, "B N D"]:
        """Run the blocks on latents that have read once; blocks that read again do so from `tokens`."""
        with self._shared_weights_packed(latents):
            for i in range(self.config.num_blocks):
                if 0 < i < self.config.num_cross_attends:
                    latents = self._read_again(latents, tokens, i)
                block = self.blocks[min(i, len(self.blocks) - 1)]
                if self._recomputes():
                    for layer in block.children():
                        latents = checkpoint(layer, latents, use_reentrant=False)
                else:
                    latents = block(latents)
        return latents

    def _shared_weights_packed(self, latents: Float[Tensor, "B N D"]) -> AbstractContextManager[None]:
        """Pack the block that runs again and again, while it is trained."""
        times = self.config.num_blocks - len(self.blocks) + 1
        if times > 1 and torch.is_grad_enabled() and not self._recomputes():
            return packed_while(self.blocks[-1], times * latents.shape[0] * latents.shape[1])
        return nullcontext()

    def _read_again(self, latents: Tensor, tokens: Tokens, index: int) -> Tensor:
        cross_attention = self.cross_attends[min(index, len(self.cross_attends) - 1)]
        keep_mask = None if tokens.keep_mask is None else tokens.keep_mask[:, None, :]
        if self._recomputes():
            return checkpoint(cross_attention, latents, tokens.array, keep_mask, use_reentrant=False)
        return cross_attention(latents, tokens.array, keep_mask)

    def _recomputes(self) -> bool:
        return self.activation_checkpointing and self.training and torch.is_grad_enabled()

    def _cross_attention(self, input_channels: int) -> CrossAttention:
        config = self.config
        layer = self._layer(config.num_cross_heads, config.cross_widening_factor)
        return CrossAttention(
            replace(layer, empty_rows=config.empty_rows),
            q_channels=config.latent_channels,
            kv_channels=input_channels,
            shape_for_attention=config.cross_attention_shape,
            query_residual=config.query_residual,
        )

    def _self_attention(self) -> SelfAttention:
        layer = self._layer(self.config.num_self_heads, self.config.self_widening_factor)
        return SelfAttention(layer, channels=self.config.latent_channels)

    def _layer(self, num_heads: int, widening_factor: int) -> LayerConfig:
        config = self.config
        return LayerConfig(
            num_heads=num_heads,
            qk_channels=config.qk_channels,
            v_channels=config.v_channels,
            widening_factor=widening_factor,
            activation=config.activation,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            attention_init_scale=config.attention_init_scale,
            mlp_init_scale=config.mlp_init_scale,
        )


@dataclass(frozen=True, kw_only=True)
class PerceiverConfig:
    """A whole model: what it reads, how it thinks, what it is asked and how it answers."""

    inputs: InputConfig
    encoder: EncoderConfig
    queries: QueryConfig
    decoder: DecoderConfig
    outputs: OutputConfig


@dataclass(frozen=True)
class Latents:
    """What the model knows of a batch: everything that `decode` needs.

    Args:
        values: The latents, (B, N, D).
        tokens: What they were read from; some queries are made from it.
    """

    values: Float[Tensor, "B N D"]
    tokens: Tokens


class PerceiverIO(nn.Module):
    """Perceiver IO, made of the parts that `config` names.

    Args:
        config: The model.
    """

    def __init__(self, config: PerceiverConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs = config.inputs.build()
        self.encoder = Encoder(config.encoder, self.inputs.num_channels)
        self.queries = config.queries.build(self.inputs)
        self.decoder = config.decoder.build(self.queries.num_channels, config.encoder.latent_channels)
        self.outputs = config.outputs.build(self.decoder.num_channels, self.inputs)

    def forward(self, batch: Batch, where: Any = None) -> Any:
        """Return all outputs for `batch`, or those in `where`."""
        return self.decode(self.encode(batch), where=where)

    def encode(self, batch: Batch) -> Latents:
        """Read and process: everything whose cost does not depend on the outputs."""
        return self.process(self.read(batch))

    def read(self, batch: Batch) -> Latents:
        """Let the learned latents attend to the inputs once."""
        tokens = self.inputs(batch)  # (B, M, C)
        return Latents(self.encoder.read(tokens), tokens)

    def process(self, latents: Latents) -> Latents:
        """Run the self-attention blocks."""
        return Latents(self.encoder.process(latents.values, latents.tokens), latents.tokens)

    def decode(self, latents: Latents, *, where: Any = None, chunk_size: int | None = None) -> Any:
        """Ask the latents, as often as wanted; the answers do not depend on how the asking is cut up.

        Args:
            latents: From `encode`.
            where: Which outputs: row-major indices, (K,) for all rows of the batch or (B, K) row by
                row; `None` asks for all and gives them the form of the modality.
            chunk_size: Ask for at most so many outputs at a time, which bounds the memory. A decoder that answers all
                outputs piece by piece anyway (one head, nothing masked) takes the smaller pieces of the two.

        Raises:
            ValueError: `where` names an output that does not exist, or `chunk_size` is not positive.
        """
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size ({chunk_size}) must be at least 1")
        outputs = self._ask_for_all(latents, chunk_size) if where is None else None
        if outputs is None:
            outputs = (
                self._ask(latents, where) if chunk_size is None else self._ask_in_chunks(latents, where, chunk_size)
            )
        return self.outputs.arrange(outputs, self.queries.output_grid(latents.tokens)) if where is None else outputs

    def chunk_size_within(self, memory: int) -> int:
        """Return how many outputs of one example may be asked for at a time.

        Args:
            memory: Bytes that asking may take on top of the model, its input and its answers, about.

        Raises:
            ValueError: It does not suffice for a single output.
        """
        weight = self.encoder.latents
        each = self.decoder.numbers_per_answer(len(weight)) * weight.element_size()
        if memory < each:
            raise ValueError(f"memory ({memory} bytes) must suffice for one output, which takes about {each} bytes")
        return memory // each

    def _ask_for_all(self, latents: Latents, chunk_size: int | None) -> Any:
        """Return all outputs in the way for very many, or `None` where there is none."""
        if not self.decoder.takes_very_many():
            return None
        queries = self.queries(latents.tokens)
        ask = self.decoder.asker(queries, latents.values, chunk_size)
        if ask is None:
            return None
        assert isinstance(queries.array, Rows)
        return self.outputs.answer(ask, queries.array.segments, queries)

    def _ask_in_chunks(self, latents: Latents, where: Any, chunk_size: int) -> Any:
        pieces = self.queries.split(latents.tokens, where, chunk_size)
        return self.outputs.join([self._ask(latents, piece) for piece in pieces])

    def _ask(self, latents: Latents, where: Any) -> Any:
        queries = self.queries(latents.tokens, where)  # (B, O, F)
        return self.outputs(self.decoder(queries, latents.values), queries)
