"""The parts of a model as functions of named tensors: what a file takes and gives.

An exported function knows tensors only, so what the model takes as a mapping, or gives as one, is spread over names:
`where.video` is the entry "video" of `where`, `outputs.video` that of the outputs.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from perceivers.adapters import Tokens
from perceivers.exporting.examples import BATCH, KEEP_MASK, LENGTH, TOKENS, WHERE, Examples, queries_axis
from perceivers.model import Latents, PerceiverIO

LATENTS, OUTPUTS = "latents", "outputs"


@dataclass(frozen=True)
class Axis:
    """An axis whose size is the caller's choice.

    Args:
        name: What it counts; axes of one name are equally long.
        most: Its largest size, or `None` when there is none.
    """

    name: str
    most: int | None = None


Shape = tuple[int | Axis, ...]


@dataclass(frozen=True)
class Port:
    """A tensor that a file takes or gives.

    Args:
        name: Its name in the file.
        shape: Its size along each axis: a number, or an open axis.
        dtype: Its number format.
    """

    name: str
    shape: Shape
    dtype: torch.dtype

    @property
    def type_text(self) -> str:
        """Shape and number format, e.g. "(batch, 224, 224, 3) float32"."""
        sizes = [size.name if isinstance(size, Axis) else str(size) for size in self.shape]
        return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''}) {str(self.dtype).removeprefix('torch.')}"


class Part(nn.Module, ABC):
    """A part of a model as a function from named tensors to named tensors.

    Args:
        examples: Of the model.
        where: Whether indices of the wanted outputs are inputs; otherwise all outputs are given, in their form.
    """

    # The modules of the model that it needs: no others go into a file.
    needs: tuple[str, ...]

    def __init__(self, examples: Examples, where: bool) -> None:
        super().__init__()
        self.needed = nn.ModuleDict({name: getattr(examples.model, name) for name in self.needs})
        self.examples = examples
        self.where = where
        if not where:
            # Positions that are kept between calls must be there before the trace.
            self.model.queries(examples.tokens).values  # noqa: B018

    @property
    def model(self) -> PerceiverIO:
        """The model."""
        return self.examples.model

    @abstractmethod
    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the outputs."""

    @abstractmethod
    def example(self, sizes: Mapping[str, int]) -> dict[str, Tensor]:
        """Return random inputs whose open axes are as long as `sizes` says."""

    def queries_axes(self) -> list[str]:
        """Return the names of the axes of indices."""
        return [queries_axis(name) for name in self.examples.output_counts()] if self.where else []

    def shape(self, name: str, example: Tensor) -> Shape:
        """Return the shape of an input, its open axes by name."""
        if name in self.examples.output_counts():
            return (Axis(queries_axis(name)),)
        most = self.examples.max_length
        if most is not None and name in (*self.examples.entries, TOKENS):
            return (Axis(BATCH), Axis(LENGTH, most), *example.shape[2:])
        return (Axis(BATCH), *example.shape[1:])


class Whole(Part):
    """From a batch to outputs."""

    needs = ("inputs", "encoder", "queries", "decoder", "outputs")

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Encode and decode."""
        where = _where(inputs)
        batch = {name: value for name, value in inputs.items() if name in self.examples.entries}
        return _spread(OUTPUTS, self.model(batch, where=where))

    def example(self, sizes: Mapping[str, int]) -> dict[str, Tensor]:
        """Return a random batch and random indices."""
        return {**self.examples.batch(sizes), **(self.examples.where(sizes) if self.where else {})}


class Encode(Part):
    """From a batch to latents; with the tokens, where the queries are made of their values."""

    needs = ("inputs", "encoder")

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Read and process."""
        latents = self.model.encode(inputs)
        tokens = {TOKENS: latents.tokens.values} if TOKENS in self.examples.queries_read else {}
        return {LATENTS: latents.values, **tokens}

    def example(self, sizes: Mapping[str, int]) -> dict[str, Tensor]:
        """Return a random batch."""
        return self.examples.batch(sizes)

    def queries_axes(self) -> list[str]:
        """Return none: nothing is asked."""
        return []


class Decode(Part):
    """From latents, and what else the queries are made of, to outputs."""

    needs = ("queries", "decoder", "outputs")

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Ask the latents."""
        values, keep_mask = inputs[LATENTS], inputs.get(KEEP_MASK)
        known = self.examples.tokens
        length = known.array.shape[1] if keep_mask is None else keep_mask.shape[1]
        # Where the queries are not made of the tokens' values, only their number matters.
        nothing = values.new_zeros(()).expand(values.shape[0], length, known.array.shape[2])
        array = inputs.get(TOKENS, nothing)
        grid_shape = (length,) if len(known.grid_shape) == 1 else known.grid_shape
        tokens = Tokens(array, keep_mask, array, grid_shape, known.grids)
        return _spread(OUTPUTS, self.model.decode(Latents(values, tokens), where=_where(inputs)))

    def example(self, sizes: Mapping[str, int]) -> dict[str, Tensor]:
        """Return latents of a random batch, what else the queries are made of, and random indices."""
        batch = self.examples.batch(sizes)
        latents = self.model.encode(batch)
        found = {LATENTS: latents.values}
        if TOKENS in self.examples.queries_read:
            found[TOKENS] = latents.tokens.values
        if KEEP_MASK in self.examples.queries_read:
            found[KEEP_MASK] = batch[KEEP_MASK]
        return {**found, **(self.examples.where(sizes) if self.where else {})}


PARTS: dict[str, Callable[[Examples, bool], Part]] = {"whole": Whole, "encode": Encode, "decode": Decode}


def _where(inputs: Mapping[str, Tensor]) -> Any:
    if WHERE in inputs:
        return inputs[WHERE]
    start = f"{WHERE}."
    return {name.removeprefix(start): value for name, value in inputs.items() if name.startswith(start)} or None


def _spread(name: str, value: Any) -> dict[str, Tensor]:
    """Return a tensor, or the tensors of nested mappings, by name."""
    if isinstance(value, Mapping):
        return {n: tensor for key, item in value.items() for n, tensor in _spread(f"{name}.{key}", item).items()}
    if not isinstance(value, Tensor):
        raise ValueError(
            f"{name} is of type {type(value).__name__}; only tensors, and mappings of them, can be exported"
        )
    return {name: value}
