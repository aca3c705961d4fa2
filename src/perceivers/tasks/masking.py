"""Which bytes of a text to hide."""

import torch
from jaxtyping import Bool
from torch import Tensor


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
    starts = inside & ~torch.nn.functional.pad(inside, (1, 0))[:, :-1]
    word = starts.long().cumsum(dim=1)  # (B, M), the number of the word that a byte is in
    chosen = torch.rand(keep_mask.shape, generator=generator).to(keep_mask.device) < probability
    return torch.take_along_dim(chosen, (word - 1).clamp(min=0), dim=1) & inside
