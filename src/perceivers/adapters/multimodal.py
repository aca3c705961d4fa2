"""Several modalities at once: each keeps its own sides; here they are brought to one width and joined.

As in the original's multimodal auto-encoder (section 4.3): tokens of all modalities are padded with learned
vectors to a common width and put one after the other; a modality can be hidden behind a learned mask token.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from perceivers.adapters.audio import AudioInputConfig, AudioOutputConfig
from perceivers.adapters.base import (
    Ask,
    Batch,
    Grid,
    InputAdapter,
    InputConfig,
    OutputAdapter,
    OutputConfig,
    Queries,
    QueryAdapter,
    QueryConfig,
    Tokens,
    grid_size,
)
from perceivers.adapters.image import GridQueryConfig, PixelOutputConfig
from perceivers.adapters.label import LabelInputConfig, LabelOutputConfig, LearnedQueryConfig
from perceivers.adapters.video import VideoInputConfig
from perceivers.nn.init import truncated_normal_
from perceivers.nn.positions import FourierPositionConfig
from perceivers.nn.rows import Constant, Content, Rows, Segment, as_rows, behind, joined

_INIT_SCALE = 0.02


@dataclass(frozen=True, kw_only=True)
class MultimodalInputConfig(InputConfig, kind="multimodal"):
    """Input sides by name, in the order in which their tokens are joined.

    Args:
        inputs: The input side of each modality.
        mask_probabilities: For modalities that can be hidden, the share of their tokens that the mask token
            replaces while training. At 1 all are hidden in evaluation too, otherwise none. A modality of this
            table may be absent from a batch: it is then hidden.
        min_padding: Width of the padding of the widest modality.
    """

    inputs: dict[str, InputConfig]
    mask_probabilities: dict[str, float] = field(default_factory=dict)
    min_padding: int = 4

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("inputs must name at least one modality")
        for name, probability in self.mask_probabilities.items():
            if name not in self.inputs:
                raise ValueError(f"mask_probabilities names '{name}'; modalities = {list(self.inputs)}")
            if not 0 <= probability <= 1:
                raise ValueError(f"mask_probabilities.{name} ({probability}) must lie between 0 and 1")

    def build(self) -> "MultimodalInput":
        """Make the module."""
        return MultimodalInput(self)

    @classmethod
    def example(cls) -> "MultimodalInputConfig":
        """Return a tiny config."""
        return cls(
            inputs={
                "audio": AudioInputConfig.example(),
                "video": VideoInputConfig.example(),
                "label": LabelInputConfig.example(),
            },
            mask_probabilities={"audio": 0.5},
        )


class MultimodalInput(InputAdapter):
    """Reads what its modalities read; their entries of the batch keep their names."""

    def __init__(self, config: MultimodalInputConfig) -> None:
        super().__init__()
        self.mask_probabilities = config.mask_probabilities
        self.inputs = nn.ModuleDict({name: part.build() for name, part in config.inputs.items()})
        widths = {name: part.num_channels for name, part in self.parts()}
        self.num_channels = max(widths.values()) + config.min_padding
        self.padding = nn.ParameterDict({name: _vector(self.num_channels - width) for name, width in widths.items()})
        self.mask_token = nn.ParameterDict({name: _vector(self.num_channels) for name in config.mask_probabilities})

    def parts(self) -> Iterator[tuple[str, InputAdapter]]:
        """Yield the input side of each modality."""
        for name, part in self.inputs.items():
            assert isinstance(part, InputAdapter)
            yield name, part

    def forward(self, batch: Batch) -> Tokens:
        """Read, pad, hide and join.

        Raises:
            ValueError: A modality that cannot be hidden is absent, or nothing of the batch is of any modality.
        """
        read: dict[str, Tokens | None] = {}
        for name, part in self.parts():
            absent = name in self.mask_token and not any(key in batch for key in part.entries)
            read[name] = None if absent else part(batch)
        known = next((tokens for tokens in read.values() if tokens is not None), None)
        if known is None:
            raise ValueError(f"the batch has none of the modalities {list(self.inputs)}; it has {sorted(batch)}")
        arrays: list[Rows] = []
        keeps: list[Tensor] = []
        grids: dict[str, tuple[int, ...]] = {}
        for name, part in self.parts():
            tokens = read[name]
            padded = self._masked(name, part, known) if tokens is None else self._padded(name, tokens)
            keep = None if tokens is None else tokens.keep_mask
            keeps.append(known.like.new_ones(padded.shape[:2], dtype=torch.bool) if keep is None else keep)
            arrays.append(padded)
            grid_shape = part.grid_shape if tokens is None else tokens.grid_shape
            assert grid_shape is not None
            grids[name] = grid_shape
        everything = joined(arrays)
        some_left_out = any(tokens is not None and tokens.keep_mask is not None for tokens in read.values())
        keep_mask = torch.cat(keeps, dim=1) if some_left_out else None
        return Tokens(everything, keep_mask, everything, (everything.shape[1],), grids)

    def example_batch(self, batch_size: int) -> dict[str, Any]:
        """Return a random batch of all modalities."""
        batch: dict[str, Any] = {}
        for _, part in self.parts():
            batch.update(part.example_batch(batch_size))
        return batch

    def _padded(self, name: str, tokens: Tokens) -> Rows:
        probability = self.mask_probabilities.get(name, 0.0)
        if probability == 1:
            return self._hidden(name, tokens.batch_size, tokens.grid_shape)
        padded = behind(tokens.array, tokens.grid_shape, self.padding[name])
        if not self.training or not probability:
            return padded
        values = padded.dense()
        hidden = torch.rand(values.shape[:2], device=values.device) < probability
        return as_rows(
            len(values), tokens.grid_shape, [Content(torch.where(hidden[..., None], self.mask_token[name], values))]
        )

    def _masked(self, name: str, part: InputAdapter, known: Tokens) -> Rows:
        if part.grid_shape is None:
            raise ValueError(f"the batch has no '{name}', and its input side does not say how many tokens it makes")
        return self._hidden(name, known.batch_size, part.grid_shape)

    def _hidden(self, name: str, batch_size: int, grid_shape: tuple[int, ...]) -> Rows:
        return as_rows(batch_size, grid_shape, [Constant(self.mask_token[name])])


@dataclass(frozen=True, kw_only=True)
class MultimodalQueryConfig(QueryConfig, kind="multimodal"):
    """Query sides by name, in the order in which their rows are joined.

    Args:
        queries: The query side of each modality.
        min_padding: Width of the padding of the widest.
    """

    queries: dict[str, QueryConfig]
    min_padding: int = 2

    def build(self, inputs: InputAdapter) -> "MultimodalQueries":
        """Make the module."""
        return MultimodalQueries(self, inputs)

    @classmethod
    def example(cls) -> "MultimodalQueryConfig":
        """Return a tiny config."""
        fourier = FourierPositionConfig(num_bands=2, endpoint=False)
        return cls(
            queries={
                "audio": GridQueryConfig(grid_shape=(6,), positions=fourier),
                "video": GridQueryConfig(grid_shape=(2, 3, 4), positions=fourier),
                "label": LearnedQueryConfig(num_channels=9),
            }
        )


class MultimodalQueries(QueryAdapter):
    """The queries of all modalities, padded to one width; `where` is a mapping from name to indices."""

    def __init__(self, config: MultimodalQueryConfig, inputs: InputAdapter) -> None:
        super().__init__()
        self.queries = nn.ModuleDict({name: part.build(inputs) for name, part in config.queries.items()})
        widths = {name: part.num_channels for name, part in self.parts()}
        self.num_channels = max(widths.values()) + config.min_padding
        self.padding = nn.ParameterDict({name: _vector(self.num_channels - width) for name, width in widths.items()})

    def parts(self) -> Iterator[tuple[str, QueryAdapter]]:
        """Yield the query side of each modality."""
        for name, part in self.queries.items():
            assert isinstance(part, QueryAdapter)
            yield name, part

    def forward(self, tokens: Tokens, where: Any = None) -> Queries:
        """Return the queries of all modalities, or those in `where`; modalities that it leaves out are not asked for.

        Raises:
            ValueError: `where` is no mapping, is empty or names an unknown modality.
        """
        if where is not None:
            self._check(where)
        arrays: list[Rows] = []
        keeps: list[Tensor | None] = []
        counts: dict[str, int] = {}
        for name, part in self.parts():
            if where is not None and name not in where:
                continue
            queries = part(tokens, None if where is None else where[name])
            count = queries.array.shape[1]
            arrays.append(behind(queries.array, (count,), self.padding[name]))
            keeps.append(queries.keep_mask)
            counts[name] = count
        keep_mask = None
        if any(keep is not None for keep in keeps):
            every = [tokens.like.new_ones(rows.shape[:2], dtype=torch.bool) for rows in arrays]
            keep_mask = torch.cat([e if k is None else k for e, k in zip(every, keeps, strict=True)], dim=1)
        return Queries(joined(arrays), keep_mask, counts)

    def output_grid(self, tokens: Tokens) -> Grid:
        """Return the grid of each modality."""
        grids: dict[str, tuple[int, ...]] = {}
        for name, part in self.parts():
            grid = part.output_grid(tokens)
            assert isinstance(grid, tuple)
            grids[name] = grid
        return grids

    def split(self, tokens: Tokens, where: Any, chunk_size: int) -> Iterator[Any]:
        """Yield `where`, or all outputs, in pieces of at most `chunk_size` outputs of all modalities together."""
        if where is not None:
            self._check(where)
        piece: dict[str, Tensor] = {}
        room = chunk_size
        for name, part in self.parts():
            if where is not None and name not in where:
                continue
            count = grid_size(part.output_grid(tokens))
            indices = torch.arange(count, device=tokens.like.device) if where is None else where[name]
            start = 0
            while start < indices.shape[-1]:
                piece[name] = indices[..., start : start + room]
                start, room = start + room, room - piece[name].shape[-1]
                if not room:
                    yield piece
                    piece, room = {}, chunk_size
        if piece:
            yield piece

    def _check(self, where: Any) -> None:
        if not isinstance(where, Mapping) or not where:
            raise ValueError(f"where must map modalities to indices, not {where!r}; modalities = {list(self.queries)}")
        unknown = sorted(set(where) - set(self.queries))
        if unknown:
            raise ValueError(f"where names {unknown}; modalities = {list(self.queries)}")


@dataclass(frozen=True, kw_only=True)
class MultimodalOutputConfig(OutputConfig, kind="multimodal"):
    """Output sides by name.

    Args:
        outputs: The output side of each modality.
    """

    outputs: dict[str, OutputConfig]

    def build(self, num_channels: int, inputs: InputAdapter) -> "MultimodalOutput":
        """Make the module."""
        return MultimodalOutput(self, num_channels, inputs)

    @classmethod
    def example(cls) -> "MultimodalOutputConfig":
        """Return a tiny config."""
        return cls(
            outputs={
                "audio": AudioOutputConfig.example(),
                "video": PixelOutputConfig.example(),
                "label": LabelOutputConfig.example(),
            }
        )

    @classmethod
    def example_queries(cls) -> QueryConfig:
        """Return queries of the same modalities."""
        return MultimodalQueryConfig.example()


class MultimodalOutput(OutputAdapter):
    """The outputs of all modalities that were asked for, by name."""

    def __init__(self, config: MultimodalOutputConfig, num_channels: int, inputs: InputAdapter) -> None:
        super().__init__()
        self.outputs = nn.ModuleDict({name: part.build(num_channels, inputs) for name, part in config.outputs.items()})

    def part(self, name: str) -> OutputAdapter:
        """Return the output side of one modality.

        Raises:
            ValueError: It has none.
        """
        if name not in self.outputs:
            raise ValueError(f"there are queries for '{name}' but no outputs; outputs = {list(self.outputs)}")
        part = self.outputs[name]
        assert isinstance(part, OutputAdapter)
        return part

    def forward(self, decoded: Float[Tensor, "B O F"], queries: Queries) -> dict[str, Any]:
        """Cut the rows into modalities and turn each into its outputs.

        Raises:
            ValueError: The queries are not multimodal.
        """
        if queries.counts is None:
            raise ValueError("multimodal outputs need 'multimodal' queries")
        rows = decoded.split(list(queries.counts.values()), dim=1)
        return {name: self.part(name)(piece, queries) for name, piece in zip(queries.counts, rows, strict=True)}

    def answer(self, ask: Ask, segments: Sequence[Segment], queries: Queries) -> dict[str, Any] | None:
        """Ask for each modality on its own.

        Raises:
            ValueError: The queries are not multimodal.
        """
        if queries.counts is None:
            raise ValueError("multimodal outputs need 'multimodal' queries")
        parts = [self.part(name) for name in queries.counts]
        if len(segments) != len(parts) or any(part.last_layer() is None for part in parts):
            return None
        pairs = zip(queries.counts, parts, segments, strict=True)
        return {name: part.answer(ask, [segment], queries) for name, part, segment in pairs}

    def join(self, pieces: list[Any]) -> dict[str, Any]:
        """Put the pieces of each modality together."""
        names = list(dict.fromkeys(name for piece in pieces for name in piece))
        return {name: self.part(name).join([piece[name] for piece in pieces if name in piece]) for name in names}

    def arrange(self, outputs: Any, grid: Grid) -> dict[str, Any]:
        """Give each modality its form."""
        assert isinstance(grid, Mapping)
        return {name: self.part(name).arrange(value, grid[name]) for name, value in outputs.items()}


def _vector(width: int) -> nn.Parameter:
    vector = nn.Parameter(torch.empty(width))
    truncated_normal_(vector, _INIT_SCALE)
    return vector
