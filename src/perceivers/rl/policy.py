"""An actor-critic policy of Stable-Baselines3 in which units are pointed at, or act themselves."""

import math
from typing import Any

import torch
from gymnasium import spaces
from jaxtyping import Float
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from perceivers.rl.extractors import UnitExtractor, UnitFeatures

# Probability 0, but a number: infinities would make NaNs of entropies.
_IMPOSSIBLE = -1e9


class UnitPolicy(MultiInputActorCriticPolicy):
    """For `PPO` or `A2C`: acts through the embeddings of units, judges a state by the summary.

    The order of units does not matter: where they change places, so do the actions. The weights do not depend on the
    number of places M either: `PPO.load(path, custom_objects={"observation_space": ..., "action_space": ...})` opens
    what was trained with one number for another.

    Args:
        observation_space: A Dict with `units` (M, C) and `units_keep_mask` (M,).
        action_space: `Discrete(M)` points at a unit, never at an empty place. In `MultiDiscrete([K] * M)` each unit
            chooses one of K actions; that of an empty place is always 0.
        lr_schedule: Learning rate.
        use_sde: Must be left `False`: there is no such exploration with discrete actions.
        value_channels: Widths of the hidden layers of the critic.
        features_extractor_kwargs: Arguments of `UnitExtractor`: model, width of embeddings.
        optimizer_class: The optimiser.
        optimizer_kwargs: Arguments of it; `None` takes those of Stable-Baselines3.

    Raises:
        ValueError: The spaces are of another form, or `use_sde` is set.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        use_sde: bool = False,
        value_channels: tuple[int, ...] = (64,),
        features_extractor_kwargs: dict[str, Any] | None = None,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        if use_sde:
            raise ValueError("use_sde (True) must be False: units are chosen, and choices are discrete")
        self.value_channels = value_channels
        super().__init__(
            observation_space,  # pyright: ignore[reportArgumentType]
            action_space,
            lr_schedule,
            # The encoder's layers start as they are meant to.
            ortho_init=False,
            features_extractor_class=UnitExtractor,
            features_extractor_kwargs=features_extractor_kwargs,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        known = super()._get_constructor_parameters()
        names = ("observation_space", "action_space", "lr_schedule", "features_extractor_kwargs")
        names += ("optimizer_class", "optimizer_kwargs")
        return {**{name: known[name] for name in names}, "value_channels": self.value_channels}

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = _Branches(self.features_dim, self.value_channels)  # pyright: ignore[reportAttributeAccessIssue]

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        assert isinstance(self.features_extractor, UnitExtractor)
        self.action_net = _actions_of_units(self.action_space, self.features_extractor)
        # That of the base class holds the layer that has just been replaced.
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # pyright: ignore[reportCallIssue]


class _Branches(nn.Module):
    """What Stable-Baselines3 has between features and answers: nothing for the actor, an MLP for the critic."""

    def __init__(self, summary_channels: int, value_channels: tuple[int, ...]) -> None:
        super().__init__()
        self.critic = nn.Sequential(*create_mlp(summary_channels, -1, list(value_channels), nn.Tanh))
        self.latent_dim_pi = summary_channels
        self.latent_dim_vf = (summary_channels, *value_channels)[-1]

    def forward(self, features: UnitFeatures) -> tuple[UnitFeatures, Float[Tensor, "B V"]]:
        """Return what the actor and what the critic's last layer are given."""
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: UnitFeatures) -> UnitFeatures:
        """Return the features."""
        return features

    def forward_critic(self, features: UnitFeatures) -> Float[Tensor, "B V"]:
        """Return what the MLP makes of the summary."""
        return self.critic(features.summary)


def _actions_of_units(space: spaces.Space, extractor: UnitExtractor) -> nn.Module:
    """Return the layer from features to the logits of actions.

    Raises:
        ValueError: The actions are none of units.
    """
    num_units = extractor.num_units
    if isinstance(space, spaces.Discrete) and space.n == num_units and space.start == 0:
        return _Pointer(extractor.num_channels, extractor.features_dim)
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1 and len(space.nvec) == num_units:
        counts = {int(count) for count in space.nvec}
        if len(counts) == 1 and not space.start.any():
            return _ActionEach(extractor.num_channels, counts.pop())
    raise ValueError(f"actions must be Discrete({num_units}) or MultiDiscrete([K] * {num_units}), not {space}")


class _Pointer(nn.Module):
    """Points at a unit: the summary asks, the units answer (a pointer network, Vinyals et al. 2015)."""

    def __init__(self, num_channels: int, summary_channels: int) -> None:
        super().__init__()
        self.query = nn.Linear(summary_channels, num_channels)
        self.key = nn.Linear(num_channels, num_channels)

    def forward(self, features: UnitFeatures) -> Float[Tensor, "B M"]:
        """Return a logit for each unit."""
        query, keys = self.query(features.summary), self.key(features.units)
        logits = (keys @ query[..., None])[..., 0] / math.sqrt(query.shape[-1])
        return logits.masked_fill(~features.keep_mask, _IMPOSSIBLE)


class _ActionEach(nn.Module):
    """One of K actions for each unit."""

    def __init__(self, num_channels: int, num_actions: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_channels, num_actions)

    def forward(self, features: UnitFeatures) -> Float[Tensor, "B A"]:
        """Return the logits of all units, one unit after the other."""
        logits = self.linear(features.units)  # (B, M, K)
        is_first = torch.arange(logits.shape[-1], device=logits.device) == 0
        possible = features.keep_mask[..., None] | is_first
        return logits.masked_fill(~possible, _IMPOSSIBLE).flatten(start_dim=1)
