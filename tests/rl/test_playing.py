"""Games played to their end: the same games one by one and all at a time, by rules and by agents, and filmed."""

import gymnasium
import numpy as np
import pytest
from stable_baselines3 import PPO

from perceivers.rl import Skirmish, UnitPolicy
from perceivers.rl.playing import at_random, by_agent, by_rule, film, play_all
from perceivers.rl.scripted import attack_weakest

NUM_GAMES = 12


def test_games_end_as_they_do_one_by_one() -> None:
    games = [gymnasium.make("perceivers/Skirmish-v0") for _ in range(NUM_GAMES)]
    played = play_all(by_rule(attack_weakest), games, 100)
    game = Skirmish()
    for seed, (total, won) in enumerate(zip(played.returns, played.won, strict=True), start=100):
        seen, alone, over, info = game.reset(seed=seed)[0], 0.0, False, {}
        while not over:
            seen, reward, done, broken_off, info = game.step(np.int64(attack_weakest(seen)))
            alone, over = alone + reward, done or broken_off
        assert (alone, info["is_success"]) == (pytest.approx(total), won)
    assert 0 < played.won.sum() < NUM_GAMES


def test_chance_is_seeded_and_points_at_units_that_are_there() -> None:
    rows = {"units_keep_mask": np.array([[0, 1, 0, 1], [1, 0, 0, 0]] * 20, dtype=np.int8)}
    actions = list(at_random(3)(rows))
    assert actions == list(at_random(3)(rows)) != list(at_random(4)(rows))
    assert set(actions[::2]) == {1, 3}
    assert set(actions[1::2]) == {0}


def test_an_agent_is_filmed() -> None:
    game = gymnasium.make("perceivers/Skirmish-v0", render_mode="rgb_array")
    agent = PPO(UnitPolicy, game, n_steps=2, batch_size=2, device="cpu", seed=0)
    frames, won = film(by_agent(agent), game, 5)
    again, _ = film(by_agent(agent), game, 5)
    assert frames.dtype == np.uint8
    assert frames.shape[1:] == (320, 320, 3)
    assert np.array_equal(frames, again)
    assert (frames[0] != frames[-1]).any()
    assert won == bool(play_all(by_agent(agent), [gymnasium.make("perceivers/Skirmish-v0")], 5).won[0])


def test_what_cannot_be_played_is_refused() -> None:
    with pytest.raises(ValueError, match=r"games \(0\) must be at least one"):
        play_all(at_random(), [], 0)
    with pytest.raises(ValueError, match=r"render_mode \(None\) must be 'rgb_array'"):
        film(at_random(), Skirmish(), 0)
