"""Skirmish: a small game of two groups of units, told as a set, in which one points at units to act.

Units stand on a square and take turns. Whom to attack depends on relations: who is in whose reach, who is of the type
that one's own hits harder, who is nearly dead, and whom the units that come next can reach.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import Env, spaces
from jaxtyping import Float, Int
from numpy.typing import NDArray

from perceivers.rl.drawing import draw_units


@dataclass(frozen=True, kw_only=True)
class UnitType:
    """What units of one type can do.

    Args:
        name: Name.
        health: Health at the beginning.
        damage: Health that an attack takes; twice that from units of the next type in `UNIT_TYPES`.
        reach: Greatest distance of an attack. The square's sides are 2 long.
        speed: Distance of a move.
    """

    name: str
    health: float
    damage: float
    reach: float
    speed: float


UNIT_TYPES = (
    UnitType(name="soldier", health=1.0, damage=0.2, reach=0.3, speed=0.25),
    UnitType(name="archer", health=0.6, damage=0.15, reach=0.8, speed=0.2),
    UnitType(name="giant", health=1.6, damage=0.3, reach=0.25, speed=0.15),
)
# What the columns of an observed unit say; places are as seen from the unit whose turn it is.
COLUMNS = (
    *("right", "up", "health", "damage", "reach", "speed", "own", "its_turn"),
    *(f"is_{unit_type.name}" for unit_type in UNIT_TYPES),
)
_HEALTH, _DAMAGE, _REACH, _SPEED = np.array([[t.health, t.damage, t.reach, t.speed] for t in UNIT_TYPES]).T
# Damage by the types of who attacks and who is attacked.
_DAMAGES = _DAMAGE[:, None] * (1.0 + np.roll(np.eye(len(UNIT_TYPES)), 1, axis=1))
# What the observation says of a type, in the order of `COLUMNS`.
_ABILITIES = np.stack([_DAMAGE, _REACH, _SPEED], axis=1)
_IS_TYPE = np.eye(len(UNIT_TYPES))
_NEARLY_NOTHING = 1e-6

Observation = dict[str, Any]


class Skirmish(Env[Observation, np.int64]):
    """Two groups with the same types of units fight until one is gone.

    Own units act one after the other, one step each. When all have, the others act: each attacks the nearest unit that
    it reaches, or walks towards it. Nothing is left to chance but the beginning.

    An observation is a set: `units` (M, C), with `COLUMNS`, and `units_keep_mask` (M,), 1 where a unit is. Own units
    have the first half of the places, the others the second, and keep theirs; the dead are taken out.

    An action points at a place. At one of the others in reach: attack it. At one out of reach: walk towards it. At
    another own unit: walk towards that. At itself: step away from the nearest of the others. At no unit: wait.

    The reward is the share of the others' health that was taken less the share of one's own that was lost, and 1 for
    the last of the others, -1 for the last of one's own. At the end `info` has `is_success`: whether the game was won.

    Args:
        min_units: Fewest units of a group.
        max_units: Most units of a group; there are M = 2 `max_units` places.
        max_rounds: The game is broken off after so many.
        render_mode: "rgb_array", or `None` for no pictures.

    Raises:
        ValueError: An argument is out of its range.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012 (Gymnasium says so)

    def __init__(
        self, *, min_units: int = 2, max_units: int = 4, max_rounds: int = 30, render_mode: str | None = None
    ) -> None:
        if not 1 <= min_units <= max_units:
            raise ValueError(f"min_units ({min_units}) must lie between 1 and max_units ({max_units})")
        if max_rounds < 1:
            raise ValueError(f"max_rounds ({max_rounds}) must be at least 1")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode '{render_mode}' not found; choices = {self.metadata['render_modes']}")
        self.min_units, self.max_units, self.max_rounds = min_units, max_units, max_rounds
        self.render_mode = render_mode
        num_places = 2 * max_units
        bound = np.full((num_places, len(COLUMNS)), 2.0, np.float32)
        self.observation_space = spaces.Dict(
            {"units": spaces.Box(-bound, bound), "units_keep_mask": spaces.MultiBinary(num_places)}
        )
        self.action_space = spaces.Discrete(num_places)
        self._is_own = np.arange(num_places) < max_units
        self.places: Float[np.ndarray, "M 2"] = np.zeros((num_places, 2))
        self.health: Float[np.ndarray, " M"] = np.zeros(num_places)
        self.types: Int[np.ndarray, " M"] = np.zeros(num_places, dtype=np.int64)
        self._at_first: Float[np.ndarray, " 2"] = np.ones(2)
        # The place of the own unit that acts next, and those of the units that act after it in this round.
        self.turn = 0
        self._waiting: list[int] = []
        self._num_rounds = 0
        # Who attacked whom in the last step, for the picture.
        self._attacks: list[tuple[int, int]] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Set up both groups, own to the left and the others to the right."""
        super().reset(seed=seed)
        count = int(self.np_random.integers(self.min_units, self.max_units + 1))
        types = self.np_random.integers(len(UNIT_TYPES), size=count)
        self.health[:] = 0.0
        for first, side in ((0, -1.0), (self.max_units, 1.0)):
            group = slice(first, first + count)
            self.places[group] = self.np_random.uniform((0.2, -0.9), (0.9, 0.9), (count, 2)) * (side, 1.0)
            self.types[group] = types
            self.health[group] = _HEALTH[types]
        self._at_first = self._health_of_groups()
        self._attacks, self._num_rounds = [], 0
        self._begin_round()
        return self._observe(), {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Let the unit whose turn it is act, and the others when it was the last of its group.

        Raises:
            ValueError: The action is no place.
        """
        if not 0 <= action < len(self.health):
            raise ValueError(f"action ({action}) must lie between 0 and {len(self.health) - 1}")
        before = self._health_of_groups()
        self._attacks = []
        self._act(self.turn, int(action))
        if self._waiting:
            self.turn = self._waiting.pop(0)
        else:
            self._others_act()
            self._num_rounds += 1
            self._begin_round()
        after = self._health_of_groups()
        lost, taken = (before - after) / self._at_first
        beaten, won = (bool(left <= 0) for left in after)
        truncated = self._num_rounds >= self.max_rounds and not (won or beaten)
        info = {"is_success": won} if won or beaten or truncated else {}
        return self._observe(), float(taken - lost + won - beaten), won or beaten, truncated, info

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a picture, (H, W, 3), or nothing without a render mode."""
        if self.render_mode is None:
            return None
        there = np.flatnonzero(self.health > 0)
        return draw_units(
            places=self.places[there],
            types=self.types[there],
            health=self.health[there] / _HEALTH[self.types[there]],
            own=self._is_own[there],
            next_to_act=there == self.turn,
            attacks=[(self.places[i], self.places[j]) for i, j in self._attacks],
        )

    def _health_of_groups(self) -> Float[np.ndarray, "2"]:
        return self.health.reshape(2, -1).sum(axis=1)

    def _begin_round(self) -> None:
        self._waiting = np.flatnonzero(self.health[: self.max_units] > 0).tolist()
        if self._waiting:
            self.turn = self._waiting.pop(0)

    def _act(self, actor: int, target: int) -> None:
        """Let an own unit do what pointing at `target` means."""
        if self.health[target] <= 0:
            return
        if target == actor:
            others = self.places[(self.health > 0) & ~self._is_own]
            ways = self.places[actor] - others
            self._walk(actor, ways[np.hypot(*ways.T).argmin()])
            return
        kind = self.types[actor]
        way = self.places[target] - self.places[actor]
        distance = np.hypot(*way)
        if self._is_own[target] or distance > _REACH[kind]:
            self._walk(actor, way, at_most=distance)
        else:
            self._hit(actor, target)

    def _others_act(self) -> None:
        """Let each of the others attack the nearest own unit, or walk towards it, all at the same time."""
        own, others = (np.flatnonzero((self.health > 0) & group) for group in (self._is_own, ~self._is_own))
        if not (len(own) and len(others)):
            return
        ways = self.places[own][None] - self.places[others][:, None]  # (others, own, 2)
        distances = np.hypot(ways[..., 0], ways[..., 1])
        targets = own[distances.argmin(axis=1)]
        reached = distances.min(axis=1) <= _REACH[self.types[others]]
        for actor, target, attacks in zip(others.tolist(), targets.tolist(), reached, strict=True):
            if attacks:
                self._hit(actor, target)
            else:
                self._walk(actor, self.places[target] - self.places[actor])

    def _hit(self, actor: int, target: int) -> None:
        self._attacks.append((actor, target))
        left = self.health[target] - _DAMAGES[self.types[actor], self.types[target]]
        # Whoever has lost all is dead, whatever the rounding leaves.
        self.health[target] = left if left > _NEARLY_NOTHING else 0.0

    def _walk(self, actor: int, way: Float[np.ndarray, "2"], at_most: float = np.inf) -> None:
        """Go along `way` as far as a move goes, `at_most` so far, and not off the square."""
        length = np.hypot(*way)
        if length > 0:
            step = min(_SPEED[self.types[actor]], at_most)
            self.places[actor] = np.clip(self.places[actor] + way * (step / length), -1.0, 1.0)

    def _observe(self) -> Observation:
        there = self.health > 0
        units = np.zeros((len(there), len(COLUMNS)), np.float32)
        units[:, :2] = self.places - self.places[self.turn]
        units[:, 2] = self.health
        units[:, 3:6] = _ABILITIES[self.types]
        units[:, 6] = self._is_own
        units[self.turn, 7] = 1.0
        units[:, 8:] = _IS_TYPE[self.types]
        units[~there] = 0.0
        return {"units": units, "units_keep_mask": there.astype(np.int8)}
