"""The work of `perceivers train`: from what was asked to a recipe, a run and its report."""

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from perceivers.cli import show
from perceivers.config import from_json
from perceivers.tasks import TASKS
from perceivers.train import Recipe, Run, RunResult, by_folds, by_seeds, load_recipe, prepare_run, recipe_names, repeat
from perceivers.train.checkpoint import latest_checkpoint
from perceivers.train.recipe import RECIPE_FILE, change_recipe, load_splits, parse_yaml, recipe_text
from perceivers.train.repeat import SUMMARY_FILE, is_main_process

# What a run leaves in its folder: `--overwrite` removes these and nothing else.
_RUN_FILES = ("config.json", "model.safetensors", RECIPE_FILE, "history.jsonl", "metrics.json", SUMMARY_FILE)
_RUN_FOLDERS = ("checkpoints", "best", "curves", "seed-*", "fold-*")


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What `perceivers train` was asked.

    Args:
        recipe: Recipe to start from.
        changes: Fields that options change, by dotted path.
        sets: Fields that `--set` changes, as YAML by dotted path.
        columns: Which column plays a role.
        data_options: Options of a generated data set.
        seeds: Train so many times, with a seed each.
        folds: Train so many times, each on another part of the training split.
        output: Folder of the run.
        resume: Go on with the run in the folder.
        overwrite: Replace the run in the folder.
        quiet: Print the result only.
        as_json: Print the result as JSON.
        plugins: Files that were imported; part of the command that uses the model.
    """

    recipe: str | None
    changes: Mapping[str, Any]
    sets: Mapping[str, str]
    columns: Mapping[str, str]
    data_options: Mapping[str, Any]
    seeds: int | None
    folds: int | None
    output: Path | None
    resume: bool
    overwrite: bool
    quiet: bool
    as_json: bool
    plugins: tuple[Path, ...]


def train_model(request: TrainRequest) -> None:
    """Train, and report.

    Raises:
        ValueError: The request does not make a run, or the folder holds another one.
    """
    recipe = make_recipe(request)
    folder = request.output or Path("runs", _run_name(request, recipe))
    check_folder(folder, recipe, resume=request.resume, overwrite=request.overwrite)
    if request.seeds is not None or request.folds is not None:
        _train_again_and_again(request, recipe, folder)
        return
    run = prepare_run(recipe)
    trainer = run.trainer(folder, show_progress=not request.quiet)
    # With several processes, all have looked into the folder before the first one writes to it.
    trainer.accelerator.wait_for_everyone()
    is_main = trainer.accelerator.is_main_process
    if is_main:
        _begin(request, recipe, folder)
        if not request.quiet:
            _print_plan(show.err() if request.as_json else show.out(), run, folder, resume=request.resume)
    try:
        result = trainer.run(resume=request.resume)
    except KeyboardInterrupt:
        raise _stopped(folder) from None
    if is_main:
        _report(request, run, result, folder)


def _begin(request: TrainRequest, recipe: Recipe, folder: Path) -> None:
    if request.overwrite:
        _remove_run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECIPE_FILE).write_text(recipe_text(recipe), encoding="utf-8")


def _stopped(folder: Path, *words: str) -> typer.Exit:
    command = shlex.join(["perceivers", "train", "--output", str(folder), *words, "--resume"])
    show.err().print(f"stopped; go on with: {command}", soft_wrap=True)
    return typer.Exit(130)


def _train_again_and_again(request: TrainRequest, recipe: Recipe, folder: Path) -> None:
    """Train by seeds or by folds, and print what all runs came to."""
    if request.seeds is not None and request.folds is not None:
        raise ValueError("--seeds and --folds both say what differs between runs; give one of them")
    task = TASKS[recipe.task]
    splits = load_splits(recipe)
    if request.seeds is not None:
        parts, words = by_seeds(recipe, splits, request.seeds), ("--seeds", str(request.seeds))
    else:
        assert request.folds is not None
        parts, words = by_folds(recipe, splits, request.folds), ("--folds", str(request.folds))
    if is_main_process():
        _begin(request, recipe, folder)
    try:
        summary = repeat(parts, folder, resume=request.resume, show_progress=not request.quiet)
    except KeyboardInterrupt:
        raise _stopped(folder, *words) from None
    if not is_main_process():
        return
    if request.as_json:
        show.json_line({"folder": str(folder), "task": task.name, **vars(summary)}, indent=2)
        return
    show.repeated_scores(summary.runs, summary.mean, summary.deviation, task.score)
    show.out().print(f"folder  {folder}", markup=False)


def make_recipe(request: TrainRequest) -> Recipe:
    """Return the recipe that was named, or one made from the options alone, with all changes.

    Raises:
        ValueError: Neither recipe nor task was named, data is lacking, or a change does not fit.
    """
    changes = {**request.changes, **{path: parse_yaml(text, f"--set {path}") for path, text in request.sets.items()}}
    task, source = changes.get("task"), changes.get("data.source")
    recorded = (request.output or Path()) / RECIPE_FILE
    if request.recipe is not None:
        recipe = load_recipe(request.recipe)
    elif task is None and request.resume and request.output is not None and recorded.is_file():
        recipe = load_recipe(str(recorded))
    elif task is None:
        raise ValueError(f"name a task or a --recipe; tasks = {list(TASKS)}, recipes = {recipe_names()}")
    elif source is None:
        raise ValueError(f"name the data of '{TASKS[task].name}' with --data")
    else:
        recipe = from_json(Recipe, {"task": TASKS[task].name, "data": {"source": source}}, "recipe")
    if request.columns:
        changes["data.columns"] = {**recipe.data.columns, **request.columns}
    if request.data_options:
        changes["data.options"] = {**recipe.data.options, **request.data_options}
    return change_recipe(recipe, changes)


def check_folder(folder: Path, recipe: Recipe, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder with a run, unless it is to be replaced or this very run goes on.

    Raises:
        ValueError: The folder holds a run and nothing was said of it, or another run than the one to go on with.
    """
    if resume and overwrite:
        raise ValueError("--resume goes on with a run and --overwrite replaces it; give one of them")
    held = [path.name for name in (*_RUN_FILES, *_RUN_FOLDERS) for path in folder.glob(name)]
    if not held or overwrite:
        return
    if not resume:
        raise ValueError(f"'{folder}' already holds a run ({held[0]}); give --resume, --overwrite or another --output")
    if (folder / RECIPE_FILE).is_file():
        recorded = load_recipe(str(folder / RECIPE_FILE))
        for name in ("task", "model", "overrides", "data", "settings"):
            old, new = getattr(recorded, name), getattr(recipe, name)
            if old != new:
                raise ValueError(f"'{folder}' holds a run with {name} = {old}, not {new}; it cannot be resumed so")


def _run_name(request: TrainRequest, recipe: Recipe) -> str:
    return recipe.task if request.recipe is None else Path(request.recipe).stem


def _remove_run(folder: Path) -> None:
    for name in _RUN_FILES:
        (folder / name).unlink(missing_ok=True)
    for path in [path for name in _RUN_FOLDERS for path in folder.glob(name)]:
        shutil.rmtree(path, ignore_errors=True)


def _num_parameters(run: Run) -> int:
    return sum(parameter.numel() for parameter in run.model.parameters())


def _print_plan(console: Console, run: Run, folder: Path, *, resume: bool) -> None:
    console.print(f"data    {run.splits.description}", markup=False)
    moving = sum(parameter.numel() for parameter in run.model.parameters() if parameter.requires_grad)
    part = "" if moving == _num_parameters(run) else f", {moving:,} of them trained ({run.config.trainable})"
    console.print(f"model   {_num_parameters(run):,} parameters{part}")
    if run.fresh:
        parts = dict.fromkeys(name.partition(".")[0] for name in run.fresh)
        console.print(f"start   trained weights; new are {', '.join(parts)}")
    console.print(f"folder  {folder}", markup=False)
    checkpoint = latest_checkpoint(folder / "checkpoints") if resume else None
    if checkpoint is not None:
        console.print(f"resume  {checkpoint.name}", markup=False)


def _report(request: TrainRequest, run: Run, result: RunResult, folder: Path) -> None:
    """Print scores, where the model is, and how to use it."""
    plugins = [word for path in request.plugins for word in ("--plugin", str(path))]
    use = shlex.join(["perceivers", "predict", str(folder), run.task.input_role.upper(), *plugins])
    if request.as_json:
        show.json_line(
            {
                "model": str(folder),
                "task": run.task.name,
                "parameters": _num_parameters(run),
                "metrics": result.metrics,
                "steps": result.steps,
                "seconds": round(result.seconds, 1),
                "stopped_early": result.stopped_early,
                "predict": use,
            },
            indent=2,
        )
        return
    show.score_table(result.metrics, run.task.score)
    early = ", stopped early" if result.stopped_early else ""
    show.out().print(f"{result.steps} steps in {result.seconds:.0f} s{early}")
    show.out().print(f"model   {folder}", markup=False)
    show.out().print(f"use it  {use}", markup=False)
