"""Feature extractors and the policy inside of Stable-Baselines3."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

import perceivers.rl
from perceivers.rl import SummaryExtractor, UnitExtractor, UnitPolicy
from unit_games import LargestUnit

TINY = {
    "num_channels": 16,
    "overrides": {
        **{"inputs.num_channels": 16, "encoder.num_latents": 4, "encoder.latent_channels": 16},
        **{"encoder.num_layers_per_block": 1, "queries.num_channels": 16},
    },
}
SHORT: dict[str, Any] = {"n_steps": 10, "batch_size": 50, "n_epochs": 2, "seed": 0, "device": "cpu"}


def games(**arguments: Any) -> VecEnv:
    """Return ten games at a time: fewer, larger steps of the agent."""
    return make_vec_env(LargestUnit, n_envs=10, env_kwargs=arguments, seed=0)


def agent(env: Any, **arguments: Any) -> PPO:
    return PPO(UnitPolicy, env, policy_kwargs={"features_extractor_kwargs": TINY}, **{**SHORT, **arguments})


def observed(env: LargestUnit, count: int = 8) -> dict[str, np.ndarray]:
    rows = [env.reset(seed=seed)[0] for seed in range(count)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def logits(model: PPO, rows: dict[str, np.ndarray]) -> torch.Tensor:
    with torch.no_grad():
        tensors, _ = model.policy.obs_to_tensor(rows)
        return model.policy.get_distribution(tensors).distribution.probs


def test_the_summary_serves_policies_of_stable_baselines3(tmp_path: Path) -> None:
    env = LargestUnit(beside=True)
    arguments = {
        "features_extractor_class": SummaryExtractor,
        "features_extractor_kwargs": TINY,
        "ortho_init": False,
    }
    model = PPO("MultiInputPolicy", games(beside=True), policy_kwargs=arguments, **SHORT)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(200)
    changed = {name for name, value in model.policy.state_dict().items() if not torch.equal(value, before[name])}
    # A key's bias has no gradient, and units are not asked.
    idle = ("attention.key.bias", "queries.linear.weight", "queries.linear.bias")
    assert {name for name in before if not name.endswith(idle)} <= changed
    model.save(tmp_path / "agent")
    again = PPO.load(tmp_path / "agent", device="cpu")
    rows = observed(env)
    assert np.array_equal(model.predict(rows, deterministic=True)[0], again.predict(rows, deterministic=True)[0])


def test_features_are_the_embedding_and_what_stands_beside() -> None:
    env = LargestUnit(beside=True)
    extractor = SummaryExtractor(env.observation_space, **TINY)
    rows = {name: torch.from_numpy(value).float() for name, value in observed(env).items()}
    features = extractor(rows)
    assert features.shape == (8, extractor.features_dim) == (8, 19)
    assert torch.equal(features[:, 16:], rows["clock"])
    each = UnitExtractor(env.observation_space, **TINY)(rows)
    assert each.units.shape == (8, 4, 16)
    assert torch.equal(each.keep_mask, rows["units_keep_mask"] > 0)
    assert not each.units[~each.keep_mask].any()


@pytest.mark.parametrize("each_acts", [False, True])
def test_ppo_runs_and_is_saved(each_acts: bool, tmp_path: Path) -> None:
    model = agent(games(each_acts=each_acts)).learn(200)
    rows = observed(LargestUnit(each_acts=each_acts))
    model.save(tmp_path / "agent")
    again = PPO.load(tmp_path / "agent", env=games(each_acts=each_acts), device="cpu")
    assert torch_equal(model, again)
    assert np.array_equal(model.predict(rows, deterministic=True)[0], again.predict(rows, deterministic=True)[0])
    again.learn(100)
    model.policy.save(tmp_path / "policy")
    alone = UnitPolicy.load(tmp_path / "policy", device="cpu")
    assert np.array_equal(model.predict(rows, deterministic=True)[0], alone.predict(rows, deterministic=True)[0])


def torch_equal(ours: PPO, theirs: PPO) -> bool:
    first, second = ours.policy.state_dict(), theirs.policy.state_dict()
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_equal_seeds_make_equal_agents() -> None:
    assert torch_equal(agent(games()).learn(100), agent(games()).learn(100))
    assert not torch_equal(agent(games()).learn(100), agent(games(), seed=1).learn(100))


def test_a2c_runs_too() -> None:
    A2C(UnitPolicy, LargestUnit(), policy_kwargs={"features_extractor_kwargs": TINY}, device="cpu").learn(20)


def test_every_parameter_learns() -> None:
    model = agent(games())
    before = {name: value.clone() for name, value in model.policy.named_parameters()}
    model.learn(100)
    same = {name for name, value in model.policy.named_parameters() if torch.equal(value, before[name])}
    assert {name for name in same if not name.endswith("attention.key.bias")} == set()


def test_empty_places_are_never_pointed_at() -> None:
    model, rows = agent(games()), observed(LargestUnit(), 40)
    probabilities = logits(model, rows)
    assert not probabilities[torch.from_numpy(rows["units_keep_mask"]) == 0].any()
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(40))
    actions, _ = model.predict(rows)
    assert rows["units_keep_mask"][np.arange(40), actions].all()
    tensors, _ = model.policy.obs_to_tensor(rows)
    _, log_prob, entropy = model.policy.evaluate_actions(tensors, torch.from_numpy(actions))
    assert log_prob.isfinite().all()
    assert entropy is not None
    assert entropy.isfinite().all()


def test_units_that_are_not_there_do_nothing() -> None:
    rows = observed(LargestUnit(each_acts=True), 40)
    actions, _ = agent(games(each_acts=True)).predict(rows)
    assert not actions[rows["units_keep_mask"] == 0].any()
    assert actions[rows["units_keep_mask"] == 1].any()


def test_actions_follow_units_that_change_places() -> None:
    model, rows = agent(games()), observed(LargestUnit())
    order = np.array([2, 0, 3, 1])
    moved = {name: value[:, order] for name, value in rows.items()}
    torch.testing.assert_close(logits(model, moved), logits(model, rows)[:, order], rtol=1e-4, atol=1e-6)


def test_a_trained_policy_is_opened_for_more_units(tmp_path: Path) -> None:
    agent(games()).learn(100).save(tmp_path / "agent")
    larger = LargestUnit(9)
    names = ("observation_space", "action_space")
    model = PPO.load(tmp_path / "agent", device="cpu", custom_objects={name: getattr(larger, name) for name in names})
    assert logits(model, observed(larger)).shape == (8, 9)


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        (None, spaces.Discrete(5), r"actions must be Discrete\(4\) or MultiDiscrete\(\[K\] \* 4\), not Discrete\(5\)"),
        (None, spaces.MultiDiscrete([2, 2, 2, 3]), r"actions must be .* not MultiDiscrete\(\[2 2 2 3\]\)"),
        (None, spaces.Box(0, 1, (4,)), r"actions must be .* not Box"),
        ({"units": spaces.Box(0, 1, (4, 2))}, spaces.Discrete(4), r"a Dict with 'units' and 'units_keep_mask'"),
        (
            {"units": spaces.Box(0, 1, (4, 2)), "units_keep_mask": spaces.MultiBinary(3)},
            spaces.Discrete(4),
            r"'units' of shape \(4, 2\) and 'units_keep_mask' of shape \(3,\) must be \(M, C\) and \(M,\)",
        ),
        ({"goal": spaces.Discrete(3)}, spaces.Discrete(4), r"must be boxes, which \['goal'\] are not"),
    ],
)
def test_other_spaces_are_refused(observations: dict[str, Any] | None, actions: Any, message: str) -> None:
    env = LargestUnit()
    entries = dict(env.observation_space.spaces)  # pyright: ignore[reportAttributeAccessIssue]
    if observations is not None:
        entries = observations if "goal" not in observations else {**entries, **observations}
    with pytest.raises(ValueError, match=message):
        UnitPolicy(spaces.Dict(entries), actions, lambda _: 1e-3, features_extractor_kwargs=TINY)


def test_state_dependent_exploration_is_refused() -> None:
    env = LargestUnit()
    with pytest.raises(ValueError, match=r"use_sde \(True\) must be False"):
        UnitPolicy(env.observation_space, env.action_space, lambda _: 1e-3, use_sde=True)


@pytest.mark.parametrize(("name", "missing"), [("Skirmish", "gymnasium"), ("UnitPolicy", "stable_baselines3")])
def test_what_is_missing_is_named(name: str, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [key for key in sys.modules if key.startswith(("perceivers.rl.", missing))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"perceivers\.rl\.{name} needs '{missing}': pip install 'perceivers\[rl\]'"):
        getattr(perceivers.rl, name)
    importlib.import_module("perceivers.rl.encoder")


def test_other_names_are_not_there() -> None:
    assert set(perceivers.rl.__all__) <= set(dir(perceivers.rl))
    with pytest.raises(AttributeError, match=r"module 'perceivers\.rl' has no attribute 'Transformer'"):
        perceivers.rl.Transformer  # noqa: B018


@pytest.mark.slow
def test_ppo_learns_to_point_at_the_largest() -> None:
    model = agent(games(), n_steps=50, batch_size=100, n_epochs=4, learning_rate=3e-3, gamma=0.0).learn(5000)
    env = LargestUnit()
    rewards = []
    for seed in range(1000, 1300):
        seen, _ = env.reset(seed=seed)
        rewards.append(env.step(model.predict(seen, deterministic=True)[0])[1])
    # Of four places 2.9 are full in the mean: chance has less than 0.45.
    assert np.mean(rewards) > 0.75
