"""The work of `perceivers demo`: ask the shipped models, train and use one more, and report all of it."""

import json
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from perceivers.cli import show
from perceivers.cli.demo_minis import ask_minis
from perceivers.cli.demo_page import Answers, Baseline, Findings, Sample, build_page
from perceivers.cli.pictures import Gaze, Grey
from perceivers.nn.maps import record_attention
from perceivers.processing.files import write_whole
from perceivers.processing.image import read_image
from perceivers.tasks import Result
from perceivers.tasks.pipeline import Pipeline, pipeline
from perceivers.train.recipe import RECIPE_FILE, Recipe, Run, load_recipe, prepare_run, recipe_text
from perceivers.train.threads import compute_threads

NUM_SAMPLES = 12
# Digits whose shapes differ, so that it shows what all maps have in common.
GAZED_AT = ("0", "4", "7")
# A run that only shows that everything works: its score means nothing.
QUICK = {"train.max_steps": 12, "train.eval_every": 6}


def run_demo(output: Path, quick: bool = False) -> None:
    """Ask the shipped models, train on the digits, use what was saved as a user would, and leave a report in `output`.

    Writes `model/`, `samples/`, `answers/`, `pictures/`, `report.html` and `metrics.json` over those of an older demo.

    Args:
        output: Folder, made when absent.
        quick: Train for a few steps only.
    """
    recipe = load_recipe("digits", QUICK if quick else None)
    with compute_threads(recipe.train.num_threads):
        shown = ask_minis(output)
    show.out().print("what the models answer that ship with the package:")
    show.table(["model", "answer"], [[one.model, one.answer] for one in shown])
    show.out().print("\nand one more, trained here and now:")
    run = prepare_run(recipe)
    show.out().print(f"data    {run.splits.description}", markup=False)
    show.out().print(f"folder  {output}", markup=False)
    with compute_threads(recipe.train.num_threads):
        findings = _find(recipe, run, output, quick)
    _print_scores(findings)
    _print_samples(findings)
    page, pictures = build_page(findings, shown)
    for picture in pictures:
        picture.save(output / "pictures")
    write_whole(output / "report.html", page)
    write_whole(output / "metrics.json", json.dumps(_metrics(findings), indent=2) + "\n")
    show.out().print(f"report  {output / 'report.html'}", markup=False)


def fit_baseline(
    train: tuple[NDArray[np.uint8], NDArray[np.int64]], test: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> Baseline:
    """Score logistic regression on the same split: pixels / 255, no tuning.

    Args:
        train: Images (T, H, W) and labels (T,).
        test: The same of the held-out split.
    """
    from sklearn.linear_model import LogisticRegression

    flat = [images.reshape(len(images), -1) / 255 for images, _ in (train, test)]
    began = time.perf_counter()
    model = LogisticRegression(C=1.0, max_iter=2000).fit(flat[0], train[1])
    seconds = time.perf_counter() - began
    accuracy = float(np.mean(model.predict(flat[1]) == test[1]))
    return Baseline(accuracy=accuracy, parameters=model.coef_.size + model.intercept_.size, seconds=seconds)


def as_arrays(rows: Iterable[Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the grey images (T, H, W) and the label ids (T,) of a split's rows."""
    images, targets = zip(*((read_image(row["image"])[..., 0], row["label"]) for row in rows), strict=True)
    return np.stack(images), np.array(targets, dtype=np.int64)


def compare(ours: Sequence[Result], loaded: Sequence[Result]) -> float:
    """Check that two models give the same answers.

    Returns:
        The largest difference between their scores of a label.

    Raises:
        RuntimeError: They disagree on an image's label.
    """
    largest = 0.0
    for index, (one, other) in enumerate(zip(ours, loaded, strict=True)):
        if one[0]["label"] != other[0]["label"]:
            raise RuntimeError(f"image {index}: the model in memory says {one[0]}, the loaded one {other[0]}")
        scores = {entry["label"]: entry["score"] for entry in other}
        largest = max(largest, *(abs(entry["score"] - scores[entry["label"]]) for entry in one))
    return largest


def look(pipe: Pipeline, image: Grey, label: str) -> Gaze:
    """Record where the latents look when they first read `image`, (H, W)."""
    task, model = pipe.task, pipe.model
    batch = task.collate([task.prepare({"image": image})])
    device = next(model.parameters()).device
    with torch.inference_mode(), record_attention(model, "encoder.cross_attends.0") as recorded:
        latents = model.read({key: value.to(device) for key, value in batch.items()})
    maps = recorded["encoder.cross_attends.0.attention"][0].mean(dim=0)  # (N, M), over heads
    return Gaze(image=image, label=label, maps=maps.unflatten(-1, latents.tokens.grid_shape).cpu().numpy())


def _find(recipe: Recipe, run: Run, output: Path, quick: bool) -> Findings:
    """Train, load what was saved, and ask it everything that the report tells."""
    folder = output / "model"
    # Curves of an older demo would be drawn over those of this one.
    shutil.rmtree(folder / "curves", ignore_errors=True)
    write_whole(folder / RECIPE_FILE, recipe_text(recipe))
    trainer = run.trainer(folder)
    result = trainer.run()
    trained = trainer.averaged.eval()
    loaded = pipeline("image-classification", folder, device=str(next(trained.parameters()).device))
    labels = tuple(loaded.task.labels or ())
    images, targets = as_arrays(run.splits.eval)
    results = loaded(list(images), top_k=len(labels))
    difference = compare(run.task.predict(trained, list(images), top_k=len(labels)), results)
    firsts = [labels.index(label) for label in GAZED_AT]
    return Findings(
        output=output,
        quick=quick,
        recipe=recipe,
        config=loaded.model.config,
        data=run.splits.description,
        labels=labels,
        images=images,
        targets=targets,
        answers=Answers(
            predictions=np.array([labels.index(result[0]["label"]) for result in results]),
            confidences=np.array([result[0]["score"] for result in results]),
        ),
        difference=difference,
        baseline=fit_baseline(as_arrays(run.splits.rows), (images, targets)),
        history=result.history,
        steps=result.steps,
        seconds=result.seconds,
        parameters=sum(parameter.numel() for parameter in trained.parameters()),
        samples=_ask_samples(
            loaded, output / "samples" / "digits", images, [labels[i] for i in targets], recipe.train.seed
        ),
        gazes=[look(loaded, images[np.argmax(targets == i)], labels[i]) for i in firsts],
    )


def _ask_samples(
    pipe: Pipeline, folder: Path, images: NDArray[np.uint8], truths: Sequence[str], seed: int
) -> list[Sample]:
    """Write a few held-out images, drawn at random, as PNG files, and ask for them by their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen: list[int] = sorted(np.random.default_rng(seed).choice(len(images), NUM_SAMPLES, replace=False).tolist())
    paths = [folder / f"test-{index:03d}.png" for index in chosen]
    for path, index in zip(paths, chosen, strict=True):
        Image.fromarray(images[index]).save(path)
    results = pipe(paths, top_k=2)
    return [
        Sample(path=path, image=images[index], target=truths[index], result=result)
        for path, index, result in zip(paths, chosen, results, strict=True)
    ]


def _print_scores(findings: Findings) -> None:
    rows = [list(row) for row in findings.score_rows()]
    show.table(
        ["model", "accuracy", "errors", "parameters", "seconds"],
        rows,
        right=["accuracy", "errors", "parameters", "seconds"],
    )


def _print_samples(findings: Findings) -> None:
    rows = []
    for sample in findings.samples:
        first, second = sample.result
        rows.append(
            [
                sample.path.name,
                f"{first['label']}  {first['score']:.1%}",
                f"{second['label']}  {second['score']:.1%}",
                sample.target,
                "right" if sample.right else "wrong",
            ]
        )
    show.out().print(f"\nthe saved model, asked for files in {findings.output / 'samples' / 'digits'}:", markup=False)
    show.table(["file", "answer", "second", "truth", ""], rows)


def _metrics(findings: Findings) -> dict[str, float | int]:
    return {
        "accuracy": findings.accuracy,
        "baseline_accuracy": findings.baseline.accuracy,
        "seconds": round(findings.seconds, 1),
        "seed": findings.recipe.train.seed,
        "test_examples": len(findings.images),
        "parameters": findings.parameters,
    }
