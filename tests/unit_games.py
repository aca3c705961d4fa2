"""Games of one move over sets of units, for tests of agents."""

from typing import Any

import numpy as np
from gymnasium import Env, spaces
from numpy.typing import NDArray

Observation = dict[str, NDArray[Any]]


class LargestUnit(Env[Any, Any]):
    """Units are numbers in random places; pointing at the largest is worth 1.

    Args:
        num_places: Places M.
        each_acts: Each unit says instead whether it is the largest (action 1); worth the share of units that are right.
        beside: Observe a vector `clock` as well.
    """

    def __init__(self, num_places: int = 4, *, each_acts: bool = False, beside: bool = False) -> None:
        entries: dict[str, spaces.Space[Any]] = {
            "units": spaces.Box(-1.0, 1.0, (num_places, 2)),
            "units_keep_mask": spaces.MultiBinary(num_places),
        }
        if beside:
            entries["clock"] = spaces.Box(0.0, 1.0, (3,))
        self.observation_space = spaces.Dict(entries)
        self.each_acts, self.num_places = each_acts, num_places
        self.action_space = spaces.MultiDiscrete([2] * num_places) if each_acts else spaces.Discrete(num_places)
        self.seen: Observation = {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        there = self.np_random.random(self.num_places) < 0.7
        there[self.np_random.integers(self.num_places)] = True
        units = self.np_random.uniform(-1, 1, (self.num_places, 2)).astype(np.float32)
        self.seen = {"units": units * there[:, None], "units_keep_mask": there.astype(np.int8)}
        if "clock" in self.observation_space.spaces:  # pyright: ignore[reportAttributeAccessIssue]
            self.seen["clock"] = self.np_random.random(3, dtype=np.float32)
        return self.seen, {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        there = self.seen["units_keep_mask"] > 0
        is_largest = np.arange(self.num_places) == np.where(there, self.seen["units"][:, 0], -2.0).argmax()
        reward = np.mean(action == is_largest, where=there) if self.each_acts else is_largest[action]
        return self.seen, float(reward), True, False, {}
