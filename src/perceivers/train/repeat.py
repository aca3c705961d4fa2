"""The same run several times, by seeds or by folds of the training split: scores with their deviation."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from accelerate import PartialState
from datasets import ClassLabel

from perceivers.data import Splits
from perceivers.processing.files import write_whole
from perceivers.train.loop import METRICS_FILE
from perceivers.train.recipe import RECIPE_FILE, Recipe, prepare_run, recipe_text

SUMMARY_FILE = "summary.json"


@dataclass(frozen=True)
class Part:
    """One run of several.

    Args:
        name: Name of its folder.
        recipe: The run.
        splits: Its data.
    """

    name: str
    recipe: Recipe
    splits: Splits


@dataclass(frozen=True)
class Summary:
    """What several runs came to.

    Args:
        runs: Metrics of each run, by its name.
        mean: Their means.
        deviation: Their standard deviations, as a sample's.
    """

    runs: Mapping[str, Mapping[str, float]]
    mean: Mapping[str, float]
    deviation: Mapping[str, float]


def by_seeds(recipe: Recipe, splits: Splits, count: int) -> list[Part]:
    """Return runs with so many seeds, from the recipe's own on.

    Raises:
        ValueError: It is less than two.
    """
    _check_count("seeds", count)
    seeds = range(recipe.train.seed, recipe.train.seed + count)
    return [Part(f"seed-{seed}", replace(recipe, train=replace(recipe.train, seed=seed)), splits) for seed in seeds]


def by_folds(recipe: Recipe, splits: Splits, count: int) -> list[Part]:
    """Return runs that each hold out another part of the training split; the evaluation split is not touched.

    Each class has its share in each fold. Folds follow from the seed of the data.

    Raises:
        ValueError: There are less than two folds, or more than examples of a class.
    """
    _check_count("folds", count)
    parts, own_data = [], replace(recipe, data=replace(recipe.data, evaluation=None))
    for i, (train, held_out) in enumerate(_folds(recipe, splits, count)):
        sizes = f"{len(train)} to train on, {len(held_out)} held out"
        data = replace(
            splits,
            train=splits.rows.select(train),
            eval=splits.rows.select(held_out),
            description=f"{splits.description}; fold {i + 1} of {count}: {sizes}",
            held_out=True,
        )
        parts.append(Part(f"fold-{i}", own_data, data))
    return parts


def repeat(parts: Sequence[Part], folder: str | Path, *, resume: bool = False, show_progress: bool = True) -> Summary:
    """Train each part in a folder of its own, and write the summary beside them.

    Args:
        parts: The runs.
        folder: Where their folders lie.
        resume: Keep the runs that are finished, and go on with the one that is not.
        show_progress: Draw progress bars.
    """
    runs: dict[str, dict[str, float]] = {}
    for part in parts:
        place = Path(folder, part.name)
        finished = place / METRICS_FILE
        if not (resume and finished.is_file()):
            trainer = prepare_run(part.recipe, part.splits).trainer(place, show_progress=show_progress)
            if trainer.accelerator.is_main_process:
                place.mkdir(parents=True, exist_ok=True)
                write_whole(place / RECIPE_FILE, recipe_text(part.recipe))
            trainer.run(resume=resume)
            trainer.accelerator.wait_for_everyone()
        metrics = json.loads(finished.read_text(encoding="utf-8"))
        runs[part.name] = {name: value for name, value in metrics.items() if name not in ("steps", "seconds")}
    common = [name for name in next(iter(runs.values())) if all(name in metrics for metrics in runs.values())]
    values = {name: [metrics[name] for metrics in runs.values()] for name in common}
    summary = Summary(
        runs,
        {name: mean(found) for name, found in values.items()},
        {name: stdev(found) for name, found in values.items()},
    )
    if is_main_process():
        write_whole(Path(folder, SUMMARY_FILE), json.dumps(vars(summary), indent=2) + "\n")
    return summary


def is_main_process() -> bool:
    """Return whether this process, of those that train together, is the one that writes and prints."""
    return PartialState().is_main_process


def _check_count(name: str, count: int) -> None:
    if count < 2:
        raise ValueError(f"{name} ({count}) must be at least 2: one run has no deviation")


def _folds(recipe: Recipe, splits: Splits, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import KFold, StratifiedKFold

    size = len(splits.rows)
    # Labels of several tasks, or several of an example, are no classes of examples.
    if splits.labels is None or not isinstance(splits.rows.features.get("label"), ClassLabel):
        if size < count:
            raise ValueError(f"folds ({count}) must be at most the {size} training examples")
        return KFold(count, shuffle=True, random_state=recipe.data.seed).split(np.arange(size))
    labels = np.asarray(splits.rows["label"])
    least = int(np.bincount(labels)[np.unique(labels)].min())
    if least < count:
        raise ValueError(f"folds ({count}) must be at most the {least} training examples of the rarest class")
    return StratifiedKFold(count, shuffle=True, random_state=recipe.data.seed).split(np.zeros(size), labels)
