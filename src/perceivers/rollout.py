"""Where answers come from: attention followed back from outputs, through the latents, to the input.

Attention rollout (Abnar and Zuidema 2020, arXiv:2005.00928) for Perceiver IO. An output takes its mass from latents
(the decoder's attention), each latent takes it from latents before it (self-attention), and the first latents take it
from input elements (the encoder's read). Heads are averaged; a layer with a residual passes on half of its mass by the
residual and half by attention.

Only input elements count in the end. What the residual of the encoder's first read leaves with the learned latents,
and what the residual of the decoder leaves with the queries, is no input: it is dropped, and rows are brought back to
a sum of 1. With a single read every latent drops the same share, so that the residual changes nothing; a model that
reads again gives later reads more weight, as half of what is left is taken at each.

No matrix is built as a whole: calls are kept as their arguments and multiplied from the left, piece by piece.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from perceivers.adapters.base import Batch, Grid, Tokens
from perceivers.model import Latents, PerceiverIO
from perceivers.nn.layers import CrossAttention
from perceivers.nn.maps import record_calls

# Queries asked at a time where the caller sets no size.
_QUERIES = 1024


@dataclass(frozen=True)
class InputWeights:
    """How much each of several rows takes from each input element.

    Args:
        weights: (B, R, M); a row sums to 1, or is 0 where nothing was read. Elements that are masked get 0, unless
            all are and the model then reads their mean (`EncoderConfig.empty_rows`).
        keep_mask: (B, M), `True` = was there to be read; `None` keeps everything.
        grid: The grid that the M elements form, or the grid of each modality when several are joined.
    """

    weights: Float[Tensor, "B R M"]
    keep_mask: Bool[Tensor, "B M"] | None
    grid: Grid

    def on_grid(self) -> Any:
        """Return the weights as (B, R, *grid), or name -> (B, R, *grid) when there are several modalities.

        Modalities are cut out, not scaled: the sum over a modality is its share of the whole.
        """
        if not isinstance(self.grid, Mapping):
            return self.weights.unflatten(-1, self.grid)
        parts = self.weights.split([prod(sides) for sides in self.grid.values()], dim=-1)
        return {name: part.unflatten(-1, self.grid[name]) for name, part in zip(self.grid, parts, strict=True)}


@torch.no_grad()
def attention_rollout(
    model: PerceiverIO, batch: Batch, where: Any = None, *, chunk_size: int | None = None
) -> InputWeights:
    """Follow attention from outputs back to the input elements.

    Memory is that of the model and of the result, B * R * M numbers, and of one piece of attention.

    Args:
        model: A model in evaluation mode.
        batch: What it reads.
        where: Which outputs, as in `PerceiverIO.decode`, one row each; `None` gives one row, the mean over all
            outputs that read anything.
        chunk_size: Rows of an attention matrix made at a time; `None` chooses so that pieces stay small. The
            result does not depend on it.

    Returns:
        The weights, R = 1 or the number of outputs asked for.

    Raises:
        ValueError: The model is in training mode, `where` names no output or one that does not exist, or
            `chunk_size` is not positive.
    """
    _check(model, chunk_size)
    with record_calls(model.encoder) as calls:
        latents = model.encode(batch)
    mass = _asked(model, latents, where, chunk_size or _QUERIES)  # (B, R, N)
    tokens = latents.tokens
    read = mass.new_zeros(*mass.shape[:2], tokens.array.shape[1])  # (B, R, M)
    residual_of_read = {layer.attention: layer.query_residual for layer in _reads(model)}
    while calls:
        call = calls.pop()
        pulled = call.pull(mass, chunk_size)
        if call.module not in residual_of_read:
            mass = (mass + pulled) / 2
        elif residual_of_read[call.module]:
            read, mass = read + pulled / 2, mass / 2
        else:
            read, mass = read + pulled, torch.zeros_like(mass)
    return _on_input(read, tokens)


@torch.no_grad()
def input_attention(
    model: PerceiverIO,
    batch: Batch,
    latents: Sequence[int] | None = None,
    *,
    read: int = 0,
    chunk_size: int | None = None,
) -> InputWeights:
    """Return what the latents read: the encoder's cross-attention, mean over heads.

    Args:
        model: A model in evaluation mode.
        batch: What it reads.
        latents: Which latents, one row each; `None` gives one row, the mean over all latents.
        read: Which of the model's reads, when it reads more than once.
        chunk_size: As in `attention_rollout`.

    Raises:
        ValueError: The model is in training mode, there is no such latent or read, or `chunk_size` is not positive.
    """
    _check(model, chunk_size)
    num_reads, num_latents = model.config.encoder.num_cross_attends, model.config.encoder.num_latents
    if not 0 <= read < num_reads:
        raise ValueError(f"read ({read}) must lie between 0 and {num_reads - 1}: the model reads {num_reads} times")
    if latents is not None and (not latents or not 0 <= min(latents) <= max(latents) < num_latents):
        raise ValueError(f"latents {list(latents)} must name at least one latent; they run from 0 to {num_latents - 1}")
    with record_calls(model.encoder.cross_attends) as calls:
        known = model.read(batch) if read == 0 else model.encode(batch)
    call = calls[read]
    if latents is not None:
        call = replace(call, x_q=call.x_q[:, list(latents)])
    count = call.x_q.shape[1]
    rows = torch.eye(count) if latents is not None else torch.full((1, count), 1 / count)
    mass = _exact(rows.to(call.x_q)).expand(len(call.x_q), -1, -1)
    return _on_input(call.pull(mass, chunk_size), known.tokens)


def _check(model: PerceiverIO, chunk_size: int | None) -> None:
    if model.training:
        raise ValueError("the model is in training mode, where it answers at random; call model.eval() first")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size ({chunk_size}) must be at least 1")


def _asked(model: PerceiverIO, latents: Latents, where: Any, chunk_size: int) -> Float[Tensor, "B R N"]:
    """Return what chosen outputs take from each latent, or the sum over all outputs."""
    pieces: list[Tensor] = []
    for piece in model.queries.split(latents.tokens, where, chunk_size):
        weights = model.decoder.weights(model.queries(latents.tokens, piece), latents.values)
        pieces.append(weights if where is not None else weights.sum(dim=1, keepdim=True))
    if not pieces:
        raise ValueError("where names no output; it must name at least one")
    rows = torch.cat(pieces, dim=1)
    return _exact(rows if where is not None else rows.sum(dim=1, keepdim=True))


def _reads(model: PerceiverIO) -> Iterator[CrossAttention]:
    for layer in model.encoder.cross_attends:
        assert isinstance(layer, CrossAttention)
        yield layer


def _exact(mass: Tensor) -> Tensor:
    """Return `mass` in float32 at least: many small shares are summed."""
    return mass.to(torch.promote_types(mass.dtype, torch.float32))


def _on_input(read: Float[Tensor, "B R M"], tokens: Tokens) -> InputWeights:
    """Bring each row that read anything to a sum of 1."""
    total = read.sum(dim=-1, keepdim=True)
    weights = torch.where(total > 0, read / total, 0.0)
    return InputWeights(weights, tokens.keep_mask, tokens.grid_shape if tokens.grids is None else tokens.grids)
