"""The work of `perceivers demo`: train, score, save, load and use a small model, and report all of it."""

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from perceivers.cli import show
from perceivers.cli.demo_page import Answers, Baseline, Findings, build_page
from perceivers.cli.pictures import Gaze, Grey
from perceivers.cli.report import write_whole
from perceivers.cli.runs import RECIPE_FILE
from perceivers.model import PerceiverIO
from perceivers.nn.maps import record_attention
from perceivers.processing.image import read_image
from perceivers.tasks import Result, Rows
from perceivers.tasks.pipeline import Pipeline, pipeline
from perceivers.train.recipe import Run, load_recipe, prepare_run, recipe_text

NUM_SAMPLES = 12
NUM_GAZES = 3
# A run that only shows that everything works: the score means nothing.
QUICK = {"train.max_steps": 12, "train.eval_every": 6}


def run_demo(output: Path, quick: bool = False) -> None:
    """Train on the digits, use the saved model as a user would, and leave a report in `output`.

    Writes `model/`, `samples/`, `pictures/`, `report.html` and `metrics.json`; an older demo there is replaced.

    Args:
        output: Folder, made when absent.
        quick: Train for a few steps only.
    """
    recipe = load_recipe("digits", QUICK if quick else None)
    run = prepare_run(recipe)
    folder = output / "model"
    # Curves of an older demo would be drawn over those of this one.
    shutil.rmtree(folder / "curves", ignore_errors=True)
    write_whole(folder / RECIPE_FILE, recipe_text(recipe))
    _print_plan(run, output)
    trainer = run.trainer(folder)
    result = trainer.run()

    trained = trainer.averaged.eval()
    images, targets = as_arrays(run.splits.eval)
    served = pipeline("image-classification", model=folder, device=str(next(trained.parameters()).device))
    answers = answer(served, images)
    difference = check_loaded(run.task.predict(trained, list(images), top_k=len(run.splits.labels or ())), answers)
    chosen = choose_samples(len(images), recipe.train.seed)
    sample_paths = write_samples(output / "samples", images, targets, chosen)
    findings = Findings(
        output=output,
        recipe=recipe,
        config=run.task.config,
        data=run.splits.description,
        labels=served.task.labels or (),
        images=images,
        targets=targets,
        answers=answers,
        difference=difference,
        baseline=fit_baseline(as_arrays(run.splits.train), (images, targets)),
        history=result.history,
        steps=result.steps,
        seconds=result.seconds,
        parameters=count_parameters(trained),
        num_tokens=len(token_positions(served.model, images[:1])),
        sample_paths=sample_paths,
        sample_rows=chosen,
        sample_results=served(sample_paths, top_k=2),
        gazes=look(served.model, images, targets, run.splits.labels or ()),
    )
    for picture in build_page(findings):
        picture.save(output / "pictures")
