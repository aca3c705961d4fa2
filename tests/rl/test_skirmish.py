"""The game: the interface of Gymnasium, its rules by hand, chance, and players by rule."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_for_sb3

import perceivers.rl
from perceivers.rl import Skirmish
from perceivers.rl.scripted import Player, attack_nearest, attack_weakest
from perceivers.rl.skirmish import COLUMNS

SOLDIER, ARCHER, GIANT = range(3)


def game(*units: tuple[int, float, float, bool]) -> Skirmish:
    """Return a game of two places a group with units of (type, right, up, own); the first own unit is to act."""
    env = Skirmish(min_units=2, max_units=2)
    env.reset(seed=0)
    env.health[:] = 0.0
    free = {True: iter((0, 1)), False: iter((2, 3))}
    for kind, right, up, own in units:
        place = next(free[own])
        env.types[place], env.places[place], env.health[place] = kind, (right, up), 1.0
    return env


def played(player: Player, num_episodes: int = 60) -> tuple[float, float]:
    """Return mean return and share of wins."""
    env, returns, wins = Skirmish(), [], []
    for seed in range(num_episodes):
        seen, total, over = env.reset(seed=seed)[0], 0.0, False
        while not over:
            seen, reward, done, broken_off, info = env.step(np.int64(player(seen)))
            total, over = total + reward, done or broken_off
        returns.append(total)
        wins.append(info["is_success"])
    return float(np.mean(returns)), float(np.mean(wins))


def test_it_is_in_the_table_and_passes_the_checks_of_gymnasium() -> None:
    env = gymnasium.make("perceivers/Skirmish-v0", render_mode="rgb_array")
    assert isinstance(env.unwrapped, perceivers.rl.Skirmish)
    check_env(env.unwrapped)


# Stable-Baselines3 would rather have rows than sets.
@pytest.mark.filterwarnings("ignore:Your observation units has an unconventional shape")
def test_it_passes_the_checks_of_stable_baselines3() -> None:
    check_for_sb3(Skirmish())


def test_equal_seeds_and_actions_are_equal_games() -> None:
    def history(seed: int) -> list[Any]:
        env, chance = Skirmish(), np.random.default_rng(0)
        steps: list[Any] = [env.reset(seed=seed)[0]]
        for _ in range(20):
            steps.append(env.step(chance.integers(8)))
            if steps[-1][2] or steps[-1][3]:
                break
        return steps

    np.testing.assert_equal(history(5), history(5))
    assert not np.array_equal(history(5)[0]["units"], history(6)[0]["units"])


def test_numbers_vary_and_groups_are_of_equal_types() -> None:
    env, counts = Skirmish(min_units=1, max_units=3), set()
    for seed in range(30):
        seen, _ = env.reset(seed=seed)
        there = seen["units_keep_mask"].astype(bool)
        assert np.array_equal(there[:3], there[3:])
        assert np.array_equal(env.types[:3][there[:3]], env.types[3:][there[3:]])
        assert not seen["units"][~there].any()
        counts.add(int(there.sum()))
    assert counts == {2, 4, 6}


def test_what_is_observed() -> None:
    env = game((ARCHER, 0.1, 0.2, True), (GIANT, -0.5, 0.2, False))
    env.turn, env.health[2] = 0, 0.5
    seen = env._observe()
    assert seen["units_keep_mask"].tolist() == [1, 0, 1, 0]
    mine, its = (dict(zip(COLUMNS, seen["units"][i].tolist(), strict=True)) for i in (0, 2))
    assert mine == pytest.approx(
        {**dict.fromkeys(COLUMNS, 0.0), "health": 1.0, "damage": 0.15, "reach": 0.8, "speed": 0.2}
        | {"own": 1.0, "its_turn": 1.0, "is_archer": 1.0}
    )
    assert its == pytest.approx(
        {**dict.fromkeys(COLUMNS, 0.0), "right": -0.6, "health": 0.5, "damage": 0.3, "reach": 0.25, "speed": 0.15}
        | {"is_giant": 1.0}
    )


@pytest.mark.parametrize(
    ("target", "distance", "left", "moved"),
    [
        (ARCHER, 0.25, 0.6, 0.0),  # A soldier hits archers twice as hard.
        (GIANT, 0.25, 0.8, 0.0),
        (ARCHER, 0.9, 1.0, 0.25),  # Out of reach.
    ],
)
def test_pointing_at_one_of_the_others(target: int, distance: float, left: float, moved: float) -> None:
    env = game((SOLDIER, 0.0, 0.0, True), (SOLDIER, -0.9, 0.9, True), (target, distance, 0.0, False))
    env.turn, env._waiting = 0, [1]
    _, reward, done, _, _ = env.step(np.int64(2))
    assert env.health[2] == pytest.approx(left)
    assert env.places[0].tolist() == pytest.approx([moved, 0.0])
    assert reward == pytest.approx((1.0 - left) / env._at_first[1])
    assert not done
    assert env.turn == 1


@pytest.mark.parametrize(
    ("action", "place"),
    [
        (0, (-0.25, 0.0)),  # Itself: away from the other at the right.
        (1, (0.0, 0.1)),  # An own unit near by: there, and not beyond.
        (3, (0.0, 0.0)),  # No unit: waits.
    ],
)
def test_pointing_elsewhere(action: int, place: tuple[float, float]) -> None:
    env = game((SOLDIER, 0.0, 0.0, True), (SOLDIER, 0.0, 0.1, True), (GIANT, 0.9, 0.0, False))
    env.turn, env._waiting = 0, [1]
    env.step(np.int64(action))
    assert env.places[0].tolist() == pytest.approx(place)


def test_nobody_leaves_the_square() -> None:
    env = game((SOLDIER, -0.9, 0.0, True), (SOLDIER, 0.0, 0.9, True), (GIANT, 0.9, 0.0, False))
    env.turn, env._waiting = 0, [1]
    env.step(np.int64(0))
    assert env.places[0].tolist() == pytest.approx([-1.0, 0.0])


def test_the_others_attack_the_nearest_when_all_own_have_acted() -> None:
    env = game((GIANT, 0.0, 0.0, True), (SOLDIER, 0.0, 0.5, True), (ARCHER, 0.3, 0.0, False), (GIANT, 0.9, 0.0, False))
    env.turn, env._waiting = 0, [1]
    env.step(np.int64(0))
    assert env.health[:2].tolist() == [1.0, 1.0]
    before = env.places[3].copy()
    env.step(np.int64(1))
    # The archer hits the giant twice as hard, and the giant walks.
    assert env.health[:2].tolist() == pytest.approx([0.7, 1.0])
    assert np.hypot(*(env.places[3] - before)) == pytest.approx(0.15)
    assert env.turn == 0


def test_the_last_one_standing_wins() -> None:
    env = game((SOLDIER, 0.0, 0.0, True), (ARCHER, 0.1, 0.0, False))
    env.turn, env._waiting, env.health[2] = 0, [], 0.3
    _, reward, done, truncated, info = env.step(np.int64(2))
    assert (done, truncated, info) == (True, False, {"is_success": True})
    assert reward == pytest.approx(1.0 + 0.3 / env._at_first[1])
    env = game((SOLDIER, 0.0, 0.0, True), (ARCHER, 0.1, 0.0, False))
    env.turn, env._waiting, env.health[0] = 0, [], 0.1
    _, reward, done, truncated, info = env.step(np.int64(3))
    assert (done, truncated, info) == (True, False, {"is_success": False})
    assert reward == pytest.approx(-1.0 - 0.1 / env._at_first[0])


def test_five_fifths_are_all() -> None:
    env = game((SOLDIER, 0.0, 0.0, True), (SOLDIER, 0.1, 0.0, False), (SOLDIER, 0.2, 0.0, False))
    for _ in range(5):
        env.turn, env._waiting = 0, [0]
        env.step(np.int64(2))
    assert env.health[2] == 0.0


def test_a_game_without_end_is_broken_off() -> None:
    env = Skirmish(min_units=1, max_units=1, max_rounds=1)
    env.reset(seed=0)
    _, _, done, truncated, info = env.step(np.int64(0))
    assert (done, truncated, info) == (False, True, {"is_success": False})


def test_players_by_rule_are_far_better_than_chance_and_not_perfect() -> None:
    chance = np.random.default_rng(0)
    random = played(lambda seen: int(chance.choice(np.flatnonzero(seen["units_keep_mask"]))))
    nearest, weakest = played(attack_nearest), played(attack_weakest)
    assert random[0] < -1.3 < -0.3 < nearest[0] < weakest[0] < 1.2
    assert random[1] < 0.1 < 0.4 < nearest[1] < weakest[1] < 0.9


def test_a_picture_shows_who_is_there() -> None:
    env = Skirmish(render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    assert before is not None
    assert before.shape == (320, 320, 3)
    env.health[env.health.argmax()] = 0.0
    after = env.render()
    assert after is not None
    assert not np.array_equal(before, after)
    env = Skirmish()
    env.reset(seed=0)
    assert env.render() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_units": 5}, r"min_units \(5\) must lie between 1 and max_units \(4\)"),
        ({"min_units": 0}, r"min_units \(0\) must lie between 1"),
        ({"max_rounds": 0}, r"max_rounds \(0\) must be at least 1"),
        ({"render_mode": "human"}, r"render_mode 'human' not found; choices = \['rgb_array'\]"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Skirmish(**arguments)


@pytest.mark.parametrize("action", [-1, 8])
def test_actions_that_are_no_place_are_refused(action: int) -> None:
    env = Skirmish()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=rf"action \({action}\) must lie between 0 and 7"):
        env.step(np.int64(action))
