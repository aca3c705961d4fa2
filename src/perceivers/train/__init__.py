"""Training: the loop, optimisers, schedules, checkpoints and evaluation. Needs the `train` extra."""

from perceivers.train.config import LoraConfig, OptimizerConfig, ScheduleConfig, TrainConfig
from perceivers.train.evaluate import evaluate
from perceivers.train.loop import RunResult, Trainer
from perceivers.train.recipe import Recipe, Run, load_recipe, prepare_run, recipe_names
from perceivers.train.repeat import Summary, by_folds, by_seeds, repeat

__all__ = [
    "LoraConfig",
    "OptimizerConfig",
    "Recipe",
    "Run",
    "RunResult",
    "ScheduleConfig",
    "Summary",
    "TrainConfig",
    "Trainer",
    "by_folds",
    "by_seeds",
    "evaluate",
    "load_recipe",
    "prepare_run",
    "recipe_names",
    "repeat",
]
