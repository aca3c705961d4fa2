"""Games played to their end by an agent or a rule: many at a time, for scores, or one as pictures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import Env
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm

from perceivers.rl.scripted import Player

# Takes the entries of observations, one observation a row, to an action a row.
Act = Callable[[Mapping[str, NDArray]], Iterable[Any]]


@dataclass(frozen=True)
class Played:
    """How games ended.

    Args:
        returns: The sum of rewards of each game.
        won: Whether each was won: what `info` has as `is_success` at the end.
    """

    returns: Float[np.ndarray, " G"]
    won: Bool[np.ndarray, " G"]


def by_rule(player: Player) -> Act:
    """Return a rule for one observation as one for many."""
    return lambda rows: np.array(
        [player({name: row[i] for name, row in rows.items()}) for i in range(len(next(iter(rows.values()))))]
    )


def by_agent(agent: BaseAlgorithm) -> Act:
    """Return the most probable actions of an agent of Stable-Baselines3."""
    return lambda rows: agent.predict(dict(rows), deterministic=True)[0]


def at_random(seed: int = 0) -> Act:
    """Return what points at any unit that is there."""
    chance = np.random.default_rng(seed)
    return by_rule(lambda seen: int(chance.choice(np.flatnonzero(seen["units_keep_mask"]))))


def play_all(act: Act, games: Sequence[Env[Any, Any]], first_seed: int) -> Played:
    """Play each game to its end, a step of all that still go on at a time.

    Args:
        act: Who plays.
        games: Games with observations of equal form; that with number i begins from the seed `first_seed + i`.
        first_seed: Seed of the first.

    Raises:
        ValueError: There are no games.
    """
    if not games:
        raise ValueError("games (0) must be at least one")
    seen = [game.reset(seed=first_seed + i)[0] for i, game in enumerate(games)]
    returns, won = np.zeros(len(games)), np.zeros(len(games), dtype=bool)
    playing = list(range(len(games)))
    while playing:
        rows = {name: np.stack([seen[i][name] for i in playing]) for name in seen[0]}
        for i, action in zip(list(playing), act(rows), strict=True):
            seen[i], reward, done, broken_off, info = games[i].step(action)
            returns[i] += float(reward)
            if done or broken_off:
                won[i] = info["is_success"]
                playing.remove(i)
    return Played(returns, won)


def film(act: Act, game: Env[Any, Any], seed: int) -> tuple[NDArray[np.uint8], bool]:
    """Play a game and return its pictures, (T, H, W, 3), from before the first step to after the last, and who won.

    Args:
        act: Who plays.
        game: A game with `render_mode="rgb_array"`.
        seed: Of the game's beginning.

    Raises:
        ValueError: The game draws no pictures.
    """
    if game.render_mode != "rgb_array":
        raise ValueError(f"render_mode ({game.render_mode!r}) must be 'rgb_array' to film a game")
    seen, over, info = game.reset(seed=seed)[0], False, {}
    frames: list[Any] = [game.render()]
    while not over:
        (action,) = act({name: entry[None] for name, entry in seen.items()})
        seen, _, done, broken_off, info = game.step(action)
        over = done or broken_off
        frames.append(game.render())
    return np.stack(frames), bool(info["is_success"])
