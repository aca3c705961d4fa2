"""Feature extractors of Stable-Baselines3 for observations that hold a set of units."""

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from gymnasium import spaces
from jaxtyping import Bool, Float
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from perceivers.rl.encoder import EntityEncoder

UNITS, KEEP_MASK = "units", "units_keep_mask"


@dataclass(frozen=True)
class UnitFeatures:
    """What an encoder makes of an observation.

    Args:
        units: An embedding of each unit, zeros where none is.
        summary: One of the whole observation.
        keep_mask: `True` where a unit is.
    """

    units: Float[Tensor, "B M E"]
    summary: Float[Tensor, "B S"]
    keep_mask: Bool[Tensor, "B M"]


class _Extractor(BaseFeaturesExtractor, ABC):
    """Encodes the entries `units` (M, C) and `units_keep_mask` (M,); others are laid beside the summary as they are.

    Args:
        observation_space: A Dict with these entries.
        num_channels: Width E of the embeddings.
        model: Name of a model for units in the zoo.
        overrides: Config fields of it to change, by dotted path.

    Raises:
        ValueError: The space has no such entries, or they do not fit each other.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        num_channels: int = 64,
        model: str = "units-small",
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        entries = _entries_of(observation_space)
        num_units, unit_channels = _size_of_set(entries[UNITS], entries[KEEP_MASK])
        others = {name: space for name, space in entries.items() if name not in (UNITS, KEEP_MASK)}
        odd = sorted(name for name, space in others.items() if not isinstance(space, spaces.Box))
        if odd:
            raise ValueError(f"entries beside '{UNITS}' and '{KEEP_MASK}' must be boxes, which {odd} are not")
        widths = [prod(space.shape or ()) for space in others.values()]
        super().__init__(observation_space, features_dim=num_channels + sum(widths))
        self.num_units, self.num_channels = num_units, num_channels
        self.others = tuple(others)
        self.encoder = EntityEncoder(unit_channels, num_channels, model=model, overrides=overrides)

    def with_others(self, summary: Float[Tensor, "B E"], observations: Mapping[str, Tensor]) -> Float[Tensor, "B S"]:
        """Return the summary, and beside it the entries that are no units."""
        return torch.cat([summary, *(observations[name].flatten(start_dim=1) for name in self.others)], dim=1)


class SummaryExtractor(_Extractor):
    """The embedding of the set, for any policy that takes features: "MultiInputPolicy" and the like.

    Pass `ortho_init=False` to the policy, which would else start the encoder's layers anew. An action that names a unit
    by its place cannot come from a summary, which knows no places: use `UnitPolicy` for such.
    """

    def forward(self, observations: Mapping[str, Tensor]) -> Float[Tensor, "B S"]:
        """Return the features of a batch of observations, as Stable-Baselines3 prepares them."""
        summary = self.encoder.summary(observations[UNITS], observations[KEEP_MASK].bool())
        return self.with_others(summary, observations)


class UnitExtractor(_Extractor):
    """The embeddings of the units as well, for `UnitPolicy`."""

    def forward(self, observations: Mapping[str, Tensor]) -> UnitFeatures:
        """Return the features of a batch of observations, as Stable-Baselines3 prepares them."""
        keep_mask = observations[KEEP_MASK].bool()
        units, summary = self.encoder(observations[UNITS], keep_mask)
        return UnitFeatures(units, self.with_others(summary, observations), keep_mask)


def _entries_of(space: spaces.Space) -> dict[str, spaces.Space]:
    if not isinstance(space, spaces.Dict) or not {UNITS, KEEP_MASK} <= set(space):
        raise ValueError(f"observations must be a Dict with '{UNITS}' and '{KEEP_MASK}', not {space}")
    return dict(space)


def _size_of_set(units: spaces.Space, keep_mask: spaces.Space) -> tuple[int, int]:
    """Return the number of places M and the properties of a unit C."""
    shape, of_mask = units.shape or (), keep_mask.shape
    if len(shape) != 2 or of_mask != shape[:1]:
        raise ValueError(f"'{UNITS}' of shape {shape} and '{KEEP_MASK}' of shape {of_mask} must be (M, C) and (M,)")
    return shape
