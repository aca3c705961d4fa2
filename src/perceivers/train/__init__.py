"""Training: the loop, optimisers, schedules, checkpoints and evaluation. Needs the `train` extra."""

from perceivers.train.config import OptimizerConfig, ScheduleConfig, TrainConfig
from perceivers.train.evaluate import evaluate
from perceivers.train.loop import RunResult, Trainer
from perceivers.train.recipe import Recipe, Run, load_recipe, prepare_run, recipe_names

__all__ = [
    "OptimizerConfig",
    "Recipe",
    "Run",
    "RunResult",
    "ScheduleConfig",
    "TrainConfig",
    "Trainer",
    "evaluate",
    "load_recipe",
    "prepare_run",
    "recipe_names",
]
