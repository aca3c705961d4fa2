"""Train agents for the game Skirmish with PPO, by a Perceiver that sees a set and by MLPs that see a row of numbers.

OMP_NUM_THREADS=1 python benchmarks/units.py runs/units --steps 100000 --seeds 0 1

All see the same observations for as many steps, with the same settings of PPO. What a run measured and learned lies in
the folder, and is not made again; `report.json`, `curves.png` and films are made from all that lies there.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from matplotlib.figure import Figure
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

import perceivers.rl  # The game is in Gymnasium's table by this.
from perceivers.processing.video_writing import write_gif
from perceivers.rl.playing import Act, at_random, by_agent, by_rule, film, play_all
from perceivers.rl.scripted import attack_nearest, attack_weakest

GAME = "perceivers/Skirmish-v0"
NUM_ENVS, NUM_EPISODES, FIRST_SEED = 16, 300, 1_000_000
# Episodes that are averaged for a point of the curve.
WINDOW = 200
PPO_SETTINGS: dict[str, Any] = {
    **{"n_steps": 64, "batch_size": 256, "n_epochs": 4, "learning_rate": 1e-3},
    **{"gamma": 0.99, "gae_lambda": 0.95, "ent_coef": 0.01},
}
# Small, as the game is.
ENCODER = {
    "num_channels": 32,
    "overrides": {
        **{"inputs.num_channels": 32, "encoder.num_latents": 8, "encoder.latent_channels": 32},
        "queries.num_channels": 32,
    },
}
POLICIES: dict[str, tuple[Any, dict[str, Any]]] = {
    "perceiver": (perceivers.rl.UnitPolicy, {"features_extractor_kwargs": ENCODER}),
    "mlp": ("MultiInputPolicy", {}),
    "mlp-256": ("MultiInputPolicy", {"net_arch": [256, 256]}),
}
COLOURS = {"perceiver": "#1f77b4", "mlp": "#d95f02", "mlp-256": "#7a5195"}


class Curve(BaseCallback):
    """Notes steps, seconds, and return and wins of the last `WINDOW` episodes, once a rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[list[float]] = []
        self._began = time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        last = list(self.model.ep_info_buffer or [])
        if last:
            means = [float(np.mean([episode[key] for episode in last])) for key in ("r", "is_success")]
            self.points.append([self.num_timesteps, time.perf_counter() - self._began, *means])


def play(act: Act, max_units: int) -> dict[str, float]:
    """Play `NUM_EPISODES` episodes that no agent was trained on, all at the same time.

    Args:
        act: Who plays.
        max_units: Most units of a group.

    Returns:
        Mean return, its standard error, and the share of games won.
    """
    games = [gymnasium.make(GAME, max_units=max_units) for _ in range(NUM_EPISODES)]
    played = play_all(act, games, FIRST_SEED)
    error = played.returns.std(ddof=1) / np.sqrt(NUM_EPISODES)
    return {"return": float(played.returns.mean()), "error": float(error), "wins": float(played.won.mean())}


def train(name: str, seed: int, steps: int, folder: Path) -> None:
    """Train one agent and write what it is and how it plays."""
    policy, arguments = POLICIES[name]
    games = make_vec_env(GAME, n_envs=NUM_ENVS, seed=seed, monitor_kwargs={"info_keywords": ("is_success",)})
    agent = PPO(
        policy, games, policy_kwargs=arguments, seed=seed, stats_window_size=WINDOW, device="cpu", **PPO_SETTINGS
    )
    curve, began = Curve(), time.perf_counter()
    agent.learn(steps, callback=curve)
    seconds = time.perf_counter() - began
    saved = folder / f"{name}-{seed}.zip"
    agent.save(saved)
    found = {
        **{"policy": name, "seed": seed, "steps": agent.num_timesteps, "seconds": seconds},
        "parameters": sum(parameter.numel() for parameter in agent.policy.parameters()),
        "score": play(by_agent(agent), max_units=4),
        # Twice as many units as it has ever seen. The weights of an MLP are made for one number of places.
        "score_with_16_units": play(by_agent(enlarged(saved)), max_units=8) if name == "perceiver" else None,
        "curve": curve.points,
    }
    (folder / f"{name}-{seed}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print({key: value for key, value in found.items() if key != "curve"}, flush=True)


def enlarged(path: Path) -> PPO:
    """Return the saved agent for games with up to 16 units."""
    game = gymnasium.make(GAME, max_units=8)
    spaces = {"observation_space": game.observation_space, "action_space": game.action_space}
    return PPO.load(path, device="cpu", custom_objects=spaces)


def report(folder: Path) -> None:
    """Write the curves, the scores beside those of rules, and an episode of each kind of agent."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*-[0-9]*.json"))]
    rules = {
        "random": at_random,
        "nearest": lambda: by_rule(attack_nearest),
        "weakest": lambda: by_rule(attack_weakest),
    }
    scores = {
        name: {"score": play(make(), max_units=4), "score_with_16_units": play(make(), max_units=8)}
        for name, make in rules.items()
    }
    found = {"game": GAME, "episodes": NUM_EPISODES, "ppo": PPO_SETTINGS, "rules": scores, "runs": runs}
    (folder / "report.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    for axes, column, what in zip(figure.subplots(1, 2), (2, 3), ("return", "wins"), strict=True):
        for name, colour in COLOURS.items():
            for i, run in enumerate(run for run in runs if run["policy"] == name):
                points = np.array(run["curve"])
                label = f"{name}, {run['parameters']:,} parameters" if i == 0 else None
                axes.plot(points[:, 0] / 1000, points[:, column], color=colour, label=label)
        for name, score in scores.items():
            value = score["score"][what]
            axes.axhline(value, color="#9aa3ad", linewidth=1, linestyle=":")
            axes.text(0.0, value, name, color="#5f6c7b", fontsize=8, va="bottom")
        axes.set(xlabel="thousand steps", title=f"{what}, mean of the last {WINDOW} episodes")
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=len(labels))
    figure.savefig(folder / "curves.png", dpi=120)
    for run in runs:
        if run["seed"] == runs[0]["seed"]:
            agent = PPO.load(folder / f"{run['policy']}-{run['seed']}", device="cpu")
            game = gymnasium.make(GAME, render_mode="rgb_array")
            frames, _ = film(by_agent(agent), game, FIRST_SEED + 4)
            write_gif(folder / f"{run['policy']}.gif", frames, game.metadata["render_fps"])


def main() -> None:
    """Train what was asked for and is not there, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything goes")
    parser.add_argument("--steps", type=int, default=100_000, help="steps of the game, for each agent")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.folder.mkdir(parents=True, exist_ok=True)
    for seed in asked.seeds:
        for name in asked.policies:
            if not (asked.folder / f"{name}-{seed}.json").is_file():
                train(name, seed, asked.steps, asked.folder)
    report(asked.folder)


if __name__ == "__main__":
    main()
