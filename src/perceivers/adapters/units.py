"""Sets of units, such as those of a game: any number in, an embedding of each and of the whole set out.

After the entity encoder of Perceiver IO's StarCraft II agent (section 4.4 and appendix B). No side knows an order: when
units change places, their embeddings do, and nothing else changes.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from perceivers.adapters.base import (
    Batch,
    Grid,
    InputAdapter,
    InputConfig,
    LinearOutput,
    OutputConfig,
    Queries,
    QueryAdapter,
    QueryConfig,
    Tokens,
    batch_entry,
    grid_size,
    take_rows,
    without_full_mask,
)
from perceivers.nn.init import plain_linear, truncated_normal_

# As many as AlphaStar's entity encoder takes (appendix B), for plans and benchmarks; the model itself reads any number.
_EXAMPLE_UNITS = 512


@dataclass(frozen=True, kw_only=True)
class UnitInputConfig(InputConfig, kind="units"):
    """Properties of each unit -> one token, by a linear layer.

    Args:
        unit_channels: Properties of a unit, as numbers.
        num_types: Types of units that have an embedding of their own, which is added; 0 reads no types.
        num_channels: Width of a token.
        type_init_scale: Deviation of the truncated normal that embeddings of types start from.
    """

    unit_channels: int
    num_types: int = 0
    num_channels: int
    type_init_scale: float = 0.02

    def __post_init__(self) -> None:
        if self.unit_channels < 1 or self.num_types < 0:
            raise ValueError(
                f"unit_channels ({self.unit_channels}) must be positive, num_types ({self.num_types}) not negative"
            )

    def build(self) -> "UnitInput":
        """Make the module."""
        return UnitInput(self)

    @classmethod
    def example(cls) -> "UnitInputConfig":
        """Return a tiny config."""
        return cls(unit_channels=5, num_types=3, num_channels=8)


class UnitInput(InputAdapter):
    """Reads `units` (B, M, C), one token a unit.

    When there, `units_keep_mask` (B, M) says in which places a unit is (`True`); what stands in the others is not
    looked at. All may be empty. With `num_types`, `unit_types` (B, M) are read as well.
    """

    def __init__(self, config: UnitInputConfig) -> None:
        super().__init__()
        self.config = config
        self.entries = ("units", "unit_types") if config.num_types else ("units",)
        self.linear = plain_linear(config.unit_channels, config.num_channels)
        if config.num_types:
            self.types = nn.Parameter(torch.empty(config.num_types, config.num_channels))
            truncated_normal_(self.types, config.type_init_scale)
        self.num_channels = config.num_channels

    def forward(self, batch: Batch) -> Tokens:
        """Embed each unit.

        Raises:
            ValueError: An entry has another shape than this class says, or a type does not exist.
        """
        units = batch_entry(batch, "units")
        if units.dim() != 3 or units.shape[2] != self.config.unit_channels:
            raise ValueError(f"units of shape {tuple(units.shape)} must be (B, M, {self.config.unit_channels})")
        keep_mask = batch.get("units_keep_mask")
        keep_mask = (
            units.new_ones(units.shape[:2], dtype=torch.bool)
            if keep_mask is None
            else _fitting(keep_mask, "units_keep_mask", units).bool()
        )
        # Zeros rather than trust in the mask alone: what stands in an empty place may be no number. Not `torch.where`,
        # by whose name an exported graph would have two things: indices of outputs are called so too.
        values = self.linear(units.masked_fill(~keep_mask[..., None], 0.0).to(self.linear.weight.dtype))
        if self.config.num_types:
            values = values + self.types[self._types(batch, units, keep_mask)]
        # To attend to a set without places is to attend to nothing, which only a mask can say.
        mask = keep_mask if units.shape[1] == 0 else without_full_mask(keep_mask)
        return Tokens(values, mask, values, (units.shape[1],))

    def example_batch(self, batch_size: int) -> dict[str, Any]:
        """Return random units in about half of the places."""
        places = (batch_size, _EXAMPLE_UNITS)
        batch = {
            "units": torch.randn(*places, self.config.unit_channels),
            "units_keep_mask": torch.rand(places) < 0.5,
        }
        if self.config.num_types:
            batch["unit_types"] = torch.randint(self.config.num_types, places)
        return batch

    def _types(self, batch: Batch, units: Tensor, keep_mask: Bool[Tensor, "B M"]) -> Int[Tensor, "B M"]:
        types = _fitting(batch_entry(batch, "unit_types"), "unit_types", units)
        if types.is_floating_point():
            raise ValueError(f"unit_types must be integers, not {types.dtype}")
        types = types.masked_fill(~keep_mask, 0).long()
        if not torch.compiler.is_compiling() and types.numel() and not types.is_meta:
            low, high = int(types.min()), int(types.max())
            if low < 0 or high >= self.config.num_types:
                wrong = low if low < 0 else high
                raise ValueError(f"unit_types has {wrong}; types run from 0 to {self.config.num_types - 1}")
        return types


def _fitting(entry: Tensor, name: str, units: Tensor) -> Tensor:
    """Return `entry`, which must have one value a unit."""
    if entry.shape != units.shape[:2]:
        raise ValueError(f"{name} of shape {tuple(entry.shape)} must be (B, M) = {tuple(units.shape[:2])}")
    return entry


@dataclass(frozen=True, kw_only=True)
class UnitQueryConfig(QueryConfig, kind="units"):
    """A learned query for the set as a whole, and one a unit, made from its token.

    Output 0 is that of the set, however many units there are; output i + 1 is that of unit i.

    Args:
        num_channels: Width of a query.
        init_scale: Deviation of the truncated normal that the learned query starts from.
    """

    num_channels: int
    init_scale: float = 0.02

    def build(self, inputs: InputAdapter) -> "UnitQueries":
        """Make the module."""
        return UnitQueries(self, inputs.num_channels)

    @classmethod
    def example(cls) -> "UnitQueryConfig":
        """Return a tiny config."""
        return cls(num_channels=8)

    @classmethod
    def example_input(cls) -> InputConfig:
        """Return a set of units."""
        return UnitInputConfig.example()


class UnitQueries(QueryAdapter):
    """One query for all, then the tokens, projected; empty places ask for nothing."""

    def __init__(self, config: UnitQueryConfig, token_channels: int) -> None:
        super().__init__()
        self.num_channels = config.num_channels
        self.summary = nn.Parameter(torch.empty(1, config.num_channels))
        truncated_normal_(self.summary, config.init_scale)
        self.linear = plain_linear(token_channels, config.num_channels)

    def forward(self, tokens: Tokens, where: Any = None) -> Queries:
        """Return all queries, or those in `where`."""
        batch_size = tokens.batch_size
        rows = torch.cat([self.summary.expand(batch_size, -1, -1), self.linear(tokens.values)], dim=1)
        keep_mask = tokens.keep_mask
        if keep_mask is not None:
            keep_mask = torch.cat([keep_mask.new_ones(batch_size, 1), keep_mask], dim=1)
        if where is None:
            return Queries(rows, keep_mask)
        rows = take_rows(rows, where, batch_size)
        return Queries(rows, None if keep_mask is None else keep_mask.gather(1, where.expand(batch_size, -1)))

    def output_grid(self, tokens: Tokens) -> tuple[int, ...]:
        """Return the number of units and one more."""
        return (1 + grid_size(tokens.grid_shape),)


@dataclass(frozen=True, kw_only=True)
class UnitOutputConfig(OutputConfig, kind="units"):
    """Decoded rows -> embeddings.

    Args:
        num_channels: Width E of the embedding of a unit, and of that of the set.
    """

    num_channels: int

    def build(self, num_channels: int, inputs: InputAdapter) -> "UnitOutput":
        """Make the module."""
        return UnitOutput(num_channels, self.num_channels)

    @classmethod
    def example(cls) -> "UnitOutputConfig":
        """Return a tiny config."""
        return cls(num_channels=6)

    @classmethod
    def example_queries(cls) -> QueryConfig:
        """Return the queries whose order of answers it knows."""
        return UnitQueryConfig.example()


class UnitOutput(LinearOutput):
    """An embedding a row; zeros where no unit is."""

    def forward(self, decoded: Float[Tensor, "B O F"], queries: Queries) -> Float[Tensor, "B O E"]:
        """Return the embeddings."""
        embeddings = super().forward(decoded, queries)
        keep_mask = queries.keep_mask
        return embeddings if keep_mask is None else embeddings.masked_fill(~keep_mask[..., None], 0.0)

    def arrange(self, outputs: Any, grid: Grid) -> Any:
        """Return `summary` (B, E) and `units` (B, M, E) by name."""
        return {"summary": outputs[:, 0], "units": outputs[:, 1:]}
