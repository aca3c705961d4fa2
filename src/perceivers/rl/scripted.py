"""Players of Skirmish that follow a rule: what a trained agent is compared with."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from perceivers.rl.skirmish import COLUMNS

Player = Callable[[Mapping[str, NDArray]], int]


def attack_nearest(observation: Mapping[str, NDArray]) -> int:
    """Return the place of the nearest of the others."""
    others, distances = _others(observation)
    return int(others[distances.argmin()])


def attack_weakest(observation: Mapping[str, NDArray]) -> int:
    """Return the place of that of the others within reach with the least health, or of the nearest when none is."""
    others, distances = _others(observation)
    units = observation["units"]
    reach = units[units[:, COLUMNS.index("its_turn")] > 0, COLUMNS.index("reach")][0]
    reached = distances <= reach
    if not reached.any():
        return int(others[distances.argmin()])
    return int(others[np.where(reached, units[others, COLUMNS.index("health")], np.inf).argmin()])


def _others(observation: Mapping[str, NDArray]) -> tuple[Int[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Return the places of the others, and how far they are from the unit whose turn it is."""
    units = observation["units"]
    others = np.flatnonzero((observation["units_keep_mask"] > 0) & (units[:, COLUMNS.index("own")] == 0))
    ways = units[others][:, [COLUMNS.index("right"), COLUMNS.index("up")]]
    return others, np.hypot(*ways.T)
