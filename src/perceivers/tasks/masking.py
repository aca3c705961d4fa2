"""What to hide of an input, and how a model reads what is left."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from perceivers.adapters import InputAdapter, Tokens


def random_mask(
    keep_mask: Bool[Tensor, "B M"], probability: float, generator: torch.Generator | None = None
) -> Bool[Tensor, "B M"]:
    """Choose each kept byte on its own with `probability`."""
    return (torch.rand(keep_mask.shape, generator=generator).to(keep_mask.device) < probability) & keep_mask


def random_word_mask(
    is_space: Bool[Tensor, "B M"],
    keep_mask: Bool[Tensor, "B M"],
    probability: float,
    generator: torch.Generator | None = None,
) -> Bool[Tensor, "B M"]:
    """Choose each word with `probability` and all its bytes with it; words end at white space.

    This is the rule of Perceiver IO's pre-training: each word is masked on its own, with word
    boundaries at white space.
    """
    inside = keep_mask & ~is_space
    starts = inside & ~nn.functional.pad(inside, (1, 0))[:, :-1]
    word = starts.long().cumsum(dim=1)  # (B, M), the number of the word that a byte is in
    chosen = torch.rand(keep_mask.shape, generator=generator).to(keep_mask.device) < probability
    return torch.take_along_dim(chosen, (word - 1).clamp(min=0), dim=1) & inside


def grid_blocks(grid_shape: tuple[int, ...], size: int) -> Int[Tensor, "M"]:
    """Return the number of the block that each cell of a grid, row-major, lies in.

    Args:
        grid_shape: Cells along each axis.
        size: Cells of a block along each axis; those at the end may be smaller.
    """
    axes = [torch.arange(side) // size for side in grid_shape]
    blocks = torch.zeros((), dtype=torch.long)
    for axis in axes:
        blocks = blocks[..., None] * (int(axis[-1]) + 1) + axis
    return blocks.flatten()


def share_mask(
    keep_mask: Bool[Tensor, "B M"], blocks: Int[Tensor, "M"], share: float, seeds: Sequence[int] | None = None
) -> Bool[Tensor, "B M"]:
    """Choose a share of the kept tokens of each row, block by block, at least one and never all.

    Args:
        keep_mask: `True` = a token that may be chosen; a row with a single one has none chosen.
        blocks: The block that each token lies in; blocks are chosen as a whole, but for the last one.
        share: How many of a row's tokens, to the nearest number.
        seeds: One for each row, whose choice then depends on it and on the number of kept tokens alone; `None` draws
            from the global generator.
    """
    hidden = torch.zeros(keep_mask.shape, dtype=torch.bool)
    for i, keep in enumerate(keep_mask.cpu()):
        own = keep.nonzero()[:, 0]
        count = min(max(round(share * len(own)), 1), len(own) - 1)
        generator = None if seeds is None else torch.Generator().manual_seed(seeds[i])
        names, block = blocks[own].unique(return_inverse=True)
        noise = torch.rand(len(names), generator=generator)[block]
        hidden[i, own[noise.argsort(stable=True)[: max(count, 0)]]] = True
    return hidden.to(keep_mask.device)


def places_of(mask: Bool[Tensor, "B M"]) -> tuple[Int[Tensor, "B K"], Bool[Tensor, "B K"]]:
    """Return where a mask is `True`, row by row, and which of these places count: rows with fewer are filled up."""
    counts = mask.sum(dim=1)
    width = max(int(counts.max()), 1)
    where = mask.long().argsort(dim=1, descending=True, stable=True)[:, :width]
    return where, torch.arange(width, device=mask.device)[None] < counts[:, None]


@contextmanager
def left_out(inputs: InputAdapter, hidden: Bool[Tensor, "B M"]) -> Iterator[None]:
    """Let an input side leave out its `hidden` tokens: the encoder reads the others alone, which costs less too.

    A hook, so that the model runs by its `forward`, which is where several processes join their gradients.
    """

    def take_the_others(module: nn.Module, args: object, tokens: Tokens) -> Tokens:
        keep = ~hidden if tokens.keep_mask is None else tokens.keep_mask & ~hidden
        where, counts = places_of(keep)
        values, content = (
            array.take_along_dim(where[..., None].expand(-1, -1, array.shape[-1]), dim=1)
            for array in (tokens.values, tokens.content)
        )
        return Tokens(values, None if bool(counts.all()) else counts, content, (where.shape[1],))

    handle = inputs.register_forward_hook(take_the_others)
    try:
        yield
    finally:
        handle.remove()
