"""Random inputs for a model of any modality, and what they show of it: what it reads, what its queries are made of."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from perceivers.adapters.base import grid_size
from perceivers.adapters.text import TextInput
from perceivers.model import PerceiverIO

WHERE, TOKENS, KEEP_MASK = "where", "tokens", "keep_mask"
BATCH, LENGTH, QUERIES = "batch", "length", "queries"


class Examples:
    """Makes inputs for a model.

    Args:
        model: The model.

    Attributes:
        tokens: What the model makes of one example.
        max_length: The longest text, for a model that reads text; else `None`.
        entries: The entries of a batch that the answers depend on.
        queries_read: What of the tokens the queries are made of: `TOKENS` (their values), `KEEP_MASK`, or nothing.
    """

    def __init__(self, model: PerceiverIO) -> None:
        self.model = model
        self.max_length = model.inputs.max_length if isinstance(model.inputs, TextInput) else None
        batch = model.inputs.example_batch(1)
        self.tokens = model.inputs(batch)
        self.entries = tuple(name for name in batch if not self._makes_no_difference(batch, name))
        self.queries_read = self._queries_read()

    def batch(self, sizes: Mapping[str, int]) -> dict[str, Tensor]:
        """Return a random batch.

        Args:
            sizes: How long its axes are, by name; a text whose `LENGTH` is not among them is as long as it may be.
        """
        batch = self.model.inputs.example_batch(sizes[BATCH])
        if self.max_length is not None:
            length = sizes.get(LENGTH, self.max_length)
            # The end rather than the beginning: that is where padding is.
            # Cloned: a view remembers how long it was, and a graph would not take that length.
            batch = {
                name: torch.clone(value[:, -length:], memory_format=torch.contiguous_format)
                for name, value in batch.items()
            }
        return {name: batch[name] for name in self.entries}

    def where(self, sizes: Mapping[str, int]) -> dict[str, Tensor]:
        """Return random indices of outputs: as many as `sizes` says for the axis of each."""
        counts = self.output_counts(sizes.get(LENGTH))
        return {name: torch.randint(count, (sizes[queries_axis(name)],)) for name, count in counts.items()}

    def output_counts(self, length: int | None = None) -> dict[str, int]:
        """Return how many outputs there are, by the name of the input that takes their indices.

        Args:
            length: Of the text that is read; `None` takes the longest.
        """
        tokens = self.tokens
        if self.max_length is not None and length is not None:
            tokens = replace(tokens, grid_shape=(length,))
        grid = self.model.queries.output_grid(tokens)
        if isinstance(grid, Mapping):
            return {f"{WHERE}.{name}": grid_size(sides) for name, sides in grid.items()}
        return {WHERE: grid_size(grid)}

    def _makes_no_difference(self, batch: Mapping[str, Tensor], name: str) -> bool:
        """Return whether the model reads the same without an entry, as a modality that is always hidden is."""
        try:
            other = self.model.inputs({key: value for key, value in batch.items() if key != name})
        except ValueError:
            return False
        masks = self.tokens.keep_mask, other.keep_mask
        return torch.equal(self.tokens.values, other.values) and (
            masks[0] is masks[1] or (None not in masks and torch.equal(*masks))
        )

    def _queries_read(self) -> frozenset[str]:
        where = {name: torch.zeros(1, dtype=torch.long) for name in self.output_counts()}
        chosen = where[WHERE] if WHERE in where else {key.removeprefix(f"{WHERE}."): v for key, v in where.items()}
        queries = self.model.queries(self.tokens, chosen)
        noise = torch.rand_like(self.tokens.values)
        others = self.model.queries(replace(self.tokens, array=noise, features=noise), chosen)
        found = set() if torch.equal(queries.values, others.values) else {TOKENS}
        # Where there is an output for each token, the mask also says how many there are.
        one_each = self.output_counts(1) != self.output_counts(2)
        if self.tokens.keep_mask is not None and (queries.keep_mask is not None or one_each):
            found.add(KEEP_MASK)
        return frozenset(found)


def queries_axis(name: str) -> str:
    """Return the name of the axis of an input of indices, e.g. "queries_video" for "where.video"."""
    return name.replace(WHERE, QUERIES, 1).replace(".", "_")
