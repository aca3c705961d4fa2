"""Agents that see sets of units: an entity encoder, its use in Stable-Baselines3, and a game to try it on.

`EntityEncoder` needs nothing else; the rest needs `pip install 'perceivers[rl]'`. Importing this room enters the game
into Gymnasium's table, as "perceivers/Skirmish-v0", where Gymnasium is there.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perceivers.rl.encoder import EntityEncoder
    from perceivers.rl.extractors import SummaryExtractor, UnitExtractor
    from perceivers.rl.policy import UnitPolicy
    from perceivers.rl.skirmish import Skirmish

__all__ = ["EntityEncoder", "Skirmish", "SummaryExtractor", "UnitExtractor", "UnitPolicy"]

_HOMES = {
    "EntityEncoder": "perceivers.rl.encoder",
    "Skirmish": "perceivers.rl.skirmish",
    "SummaryExtractor": "perceivers.rl.extractors",
    "UnitExtractor": "perceivers.rl.extractors",
    "UnitPolicy": "perceivers.rl.policy",
}
_EXTRAS = ("gymnasium", "stable_baselines3")

if find_spec("gymnasium") is not None:
    from gymnasium.envs.registration import register

    register("perceivers/Skirmish-v0", entry_point="perceivers.rl.skirmish:Skirmish")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'perceivers.rl' has no attribute '{name}'")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in _EXTRAS:
            raise
        raise ImportError(f"perceivers.rl.{name} needs '{missing}': pip install 'perceivers[rl]'") from error


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
