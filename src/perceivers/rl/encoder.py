"""A Perceiver IO in the place of an agent's entity transformer (section 4.4 and appendix B)."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from perceivers.config import override
from perceivers.model import PerceiverIO
from perceivers.zoo import find_spec


class EntityEncoder(nn.Module):
    """Embeds a set of units: each of them, knowing the others, and the set as a whole.

    Cost is linear in the number of units, and the weights do not depend on it.

    Args:
        unit_channels: Properties C of a unit, as numbers.
        output_channels: Width E of the embeddings.
        num_types: Types of units that have an embedding of their own; 0 reads no types.
        model: Name in the zoo of a model for units: "units" as in the StarCraft II agent, "units-small" for a CPU.
        overrides: Further config fields to change, by dotted path, e.g. `{"encoder.num_latents": 32}`.

    Raises:
        ValueError: The model is not for units, or a path or value does not fit.
    """

    def __init__(
        self,
        unit_channels: int,
        output_channels: int,
        *,
        num_types: int = 0,
        model: str = "units-small",
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        config = find_spec(model).config
        kinds = {part.kind for part in (config.inputs, config.queries, config.outputs)}
        if kinds != {"units"}:
            raise ValueError(f"model '{model}' does not read and answer 'units', but {sorted(kinds)}")
        changes = {
            "inputs.unit_channels": unit_channels,
            "inputs.num_types": num_types,
            "outputs.num_channels": output_channels,
        }
        self.model = PerceiverIO(override(config, {**changes, **(overrides or {})}))

    def forward(
        self,
        units: Float[Tensor, "B M C"],
        keep_mask: Bool[Tensor, "B M"] | None = None,
        types: Int[Tensor, "B M"] | None = None,
    ) -> tuple[Float[Tensor, "B M E"], Float[Tensor, "B E"]]:
        """Return the embeddings of the units, zeros where none is, and that of the set.

        Args:
            units: Properties of each unit.
            keep_mask: `True` where a unit is; `None` when all are. All may be absent.
            types: Type of each unit, with `num_types`.
        """
        found = self.model(_batch(units, keep_mask, types))
        return found["units"], found["summary"]

    def summary(
        self,
        units: Float[Tensor, "B M C"],
        keep_mask: Bool[Tensor, "B M"] | None = None,
        types: Int[Tensor, "B M"] | None = None,
    ) -> Float[Tensor, "B E"]:
        """Return the embedding of the set alone, without asking for those of the units; arguments as in `forward`."""
        whole = torch.zeros(1, dtype=torch.long, device=units.device)
        return self.model(_batch(units, keep_mask, types), where=whole)[:, 0]


def _batch(units: Tensor, keep_mask: Tensor | None, types: Tensor | None) -> dict[str, Tensor]:
    entries = {"units": units, "units_keep_mask": keep_mask, "unit_types": types}
    return {name: entry for name, entry in entries.items() if entry is not None}
