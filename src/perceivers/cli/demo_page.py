"""What the demo found, and the page that tells it."""

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from perceivers import __version__
from perceivers.cli import pictures as draw
from perceivers.cli.demo_minis import Shown
from perceivers.cli.pictures import Gaze, Grey, Judged
from perceivers.cli.report import (
    Cell,
    Picture,
    code,
    folded,
    heading,
    page,
    paragraph,
    section,
    table,
    tiles,
    two_colourings,
)
from perceivers.config import to_json
from perceivers.data.samples import LICENCES
from perceivers.model import PerceiverConfig
from perceivers.tasks import Result
from perceivers.train.recipe import RECIPE_FILE, Recipe, recipe_text

MAX_ERRORS = 24
_SCORE_HEAD = ("model", "held-out accuracy", "errors", "parameters", "training seconds")
_CURVE_TEXT = (
    "Left: cross-entropy of each training batch, with augmentation and label smoothing where the recipe has them, so "
    "it does not fall to zero. Right: accuracy on the held-out images while training."
)
_MINIS_LEAD = (
    "Small models that ship with the package answer first, from an image, a text, two frames, a clip and a sound. They "
    "are one model in five forms: each reads an array of its own kind into a few latents, and is asked for what it "
    "should give. At the end another one is trained on this machine, on handwritten digits."
)
_CONFUSION_TEXT = "Rows are what was written, columns what was read. Empty cells are zero."


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Logistic regression on the same split.

    Args:
        accuracy: On the held-out images.
        parameters: Weights and biases.
        seconds: Time of the fit.
    """

    accuracy: float
    parameters: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The model's first answer to each held-out image.

    Args:
        predictions: Label ids, (T,).
        confidences: The probability of that label, (T,).
    """

    predictions: NDArray[np.int64]
    confidences: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image file with the loaded model's answer.

    Args:
        path: The file.
        image: Its grey values, (H, W).
        target: The true label.
        result: The two best answers.
    """

    path: Path
    image: Grey
    target: str
    result: Result

    @property
    def right(self) -> bool:
        """Whether the best answer is the truth."""
        return self.result[0]["label"] == self.target


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything that the report tells.

    Args:
        output: The demo's folder.
        quick: Whether training was cut short.
        recipe: What was run.
        config: The model.
        data: Source and sizes, in words.
        labels: Label names.
        images: Held-out grey images, (T, H, W).
        targets: Their label ids, (T,).
        answers: What the loaded model says of them.
        difference: Largest difference between its scores and those of the model in memory.
        baseline: What it is compared with.
        history: What the trainer logged.
        steps: Optimiser steps.
        seconds: Training time.
        parameters: Size of the model.
        samples: Images that were written to files and read back.
        gazes: Where the latents look.
    """

    output: Path
    quick: bool
    recipe: Recipe
    config: PerceiverConfig
    data: str
    labels: tuple[str, ...]
    images: NDArray[np.uint8]
    targets: NDArray[np.int64]
    answers: Answers
    difference: float
    baseline: Baseline
    history: Sequence[Mapping[str, float | int]]
    steps: int
    seconds: float
    parameters: int
    samples: Sequence[Sample]
    gazes: Sequence[Gaze]

    @property
    def wrong(self) -> NDArray[np.int64]:
        """Indices of the misread images, the surest mistakes first."""
        indices = np.flatnonzero(self.answers.predictions != self.targets)
        return indices[np.argsort(-self.answers.confidences[indices], kind="stable")]

    @property
    def accuracy(self) -> float:
        """Share of held-out images read rightly."""
        return 1 - len(self.wrong) / len(self.images)

    def score_rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return model, accuracy, errors, parameters and seconds, of the model and of the baseline."""
        total, base = len(self.images), self.baseline
        errors = round((1 - base.accuracy) * total)
        return [
            (
                "Perceiver IO",
                f"{self.accuracy:.2%}",
                str(len(self.wrong)),
                f"{self.parameters:,}",
                f"{self.seconds:.1f}",
            ),
            ("logistic regression", f"{base.accuracy:.2%}", str(errors), f"{base.parameters:,}", f"{base.seconds:.1f}"),
        ]


def build_page(findings: Findings, shown: Sequence[Shown]) -> tuple[str, list[Picture]]:
    """Return the report as HTML, and the pictures in it.

    Args:
        findings: What the trained model came to.
        shown: What the shipped models answered.
    """
    curve = two_colourings(
        "learning-curve",
        "Training loss and held-out accuracy over optimiser steps",
        940,
        lambda palette: draw.learning_curve(findings.history, findings.baseline.accuracy, palette),
    )
    confusion = two_colourings(
        "confusion-matrix",
        "How often each digit was read as each other digit",
        540,
        lambda palette: draw.confusion_matrix(findings.targets, findings.answers.predictions, findings.labels, palette),
    )
    samples = two_colourings(
        "samples",
        "Twelve held-out digits with the answers of the loaded model",
        820,
        lambda palette: draw.gallery(
            [_judged_sample(sample) for sample in findings.samples], "Read from PNG files", palette
        ),
    )
    attention = two_colourings(
        "attention",
        "Cross-attention of single latents and their mean over the cells of three digits",
        940,
        lambda palette: draw.attention_maps(findings.gazes, palette),
    )
    errors = _errors_picture(findings)
    body = [
        *(one.html() for one in shown),
        heading("Trained here and now", _lead(findings)),
        _headline(findings),
        section("Result", table(_SCORE_HEAD, findings.score_rows()), paragraph(_result_text(findings))),
        section("How it learned", curve.html(_CURVE_TEXT)),
        section("What it mixes up", confusion.html(_CONFUSION_TEXT), errors.html() if errors else ""),
        section("Saved, loaded, used", paragraph(_loaded_text(findings)), samples.html(), _sample_table(findings)),
        section("Where the latents look", attention.html(_attention_text(findings))),
        _model_section(findings),
        section("Do it again", code(_commands(findings))),
    ]
    foot = (
        f"perceivers {__version__}, torch {torch.__version__}, Python {platform.python_version()}, "
        f"{platform.machine()}. Images, frames, sounds and passages: sources and licences in "
        f"{findings.output / 'samples' / LICENCES}."
    )
    html = page("What a small Perceiver IO can do", _MINIS_LEAD, body, foot)
    asked = [picture for one in shown for picture in one.pictures]
    return html, [*asked, curve, confusion, samples, attention, *([errors] if errors else [])]


def _errors_picture(findings: Findings) -> Picture | None:
    wrong = findings.wrong
    if not len(wrong):
        return None
    shown = [
        Judged(
            image=findings.images[i],
            target=findings.labels[findings.targets[i]],
            prediction=findings.labels[findings.answers.predictions[i]],
            confidence=float(findings.answers.confidences[i]),
            name=f"test {i}",
        )
        for i in wrong[:MAX_ERRORS]
    ]
    title = f"Misread digits: {len(shown)} of {len(wrong)}" if len(shown) < len(wrong) else "All misread digits"
    return two_colourings(
        "errors",
        title,
        140 * min(len(shown), 6),
        lambda palette: draw.gallery(shown, f"{title}, surest first", palette),
    )


def _judged_sample(sample: Sample) -> Judged:
    best = sample.result[0]
    return Judged(
        image=sample.image,
        target=sample.target,
        prediction=best["label"],
        confidence=best["score"],
        name=sample.path.name,
    )


def _headline(findings: Findings) -> str:
    return tiles(
        {
            "accuracy on held-out digits": f"{findings.accuracy:.1%}",
            "logistic regression": f"{findings.baseline.accuracy:.1%}",
            "parameters": f"{findings.parameters:,}",
            "seconds of training": f"{findings.seconds:.0f}",
            f"wrong of {len(findings.images)}": str(len(findings.wrong)),
        }
    )


def _lead(findings: Findings) -> str:
    height, width = findings.images.shape[1:]
    short = f"A quick run of {findings.steps} steps: the score means nothing. " if findings.quick else ""
    return (
        f"{short}A small Perceiver IO was trained from scratch on {height}x{width} grey digits, scored on images it "
        f"had not seen, saved, loaded again and asked through the public pipeline. Data: {findings.data}."
    )


def _result_text(findings: Findings) -> str:
    total = len(findings.images)
    return (
        f"Both models see the same training images and are scored on the same {total} held-out ones, of which one is "
        f"worth {1 / total:.2%}. Logistic regression (scikit-learn, C = 1, pixels / 255) is the plain yardstick. "
        f"Seed {findings.recipe.train.seed}; times are of this machine."
    )


def _loaded_text(findings: Findings) -> str:
    same = "all probabilities are equal to the last bit"
    nearly = f"no probability differs by more than {findings.difference:.1e}"
    return (
        f"The model was read back from {findings.output / 'model'}. On all {len(findings.images)} held-out images it "
        f"gives the same label as the model in memory, and {nearly if findings.difference else same}. Below are "
        f"{len(findings.samples)} held-out images drawn at random, written as PNG files and asked for by their paths."
    )


def _sample_table(findings: Findings) -> str:
    rows = []
    for sample in findings.samples:
        first, second = sample.result
        answer = Cell(f"{first['label']}  ({first['score']:.1%})", sample.right)
        rows.append((sample.path.name, answer, f"{second['label']}  ({second['score']:.1%})", sample.target))
    return folded("All answers", table(("file", "answer", "second choice", "truth"), rows))


def _attention_text(findings: Findings) -> str:
    gaze = findings.gazes[0]
    count, height, width = gaze.maps.shape
    sides = gaze.image.shape[0] // height, gaze.image.shape[1] // width
    return (
        f"The first cross-attention: {count} latents read {height * width} cells of {sides[0]} x {sides[1]} pixels; "
        f"mean over heads. Orange lines are the border of the ink. The latents shown are the most focused one and "
        f"those that differ most from it and from each other; they are the same in each row."
    )


def _model_section(findings: Findings) -> str:
    return section(
        "The model and its training",
        table((), _model_rows(findings)),
        folded("Recipe (YAML)", code(recipe_text(findings.recipe))),
        folded("Model config (JSON)", code(json.dumps(to_json(findings.config), indent=2))),
    )


def _model_rows(findings: Findings) -> list[tuple[str, str]]:
    config, encoder, train = findings.config, findings.config.encoder, findings.recipe.train
    optimizer, schedule = train.optimizer, train.schedule
    cells = findings.gazes[0].maps[0].size
    layers = f"{encoder.num_blocks} x {encoder.num_layers_per_block} self-attention layers"
    shared = ", blocks share weights" if encoder.num_blocks > 1 and encoder.share_blocks else ""
    average = f"; moving average of the weights, decay {train.ema_decay:g}" if train.ema_decay else ""
    rates = f"peak learning rate {optimizer.learning_rate:g}, weight decay {optimizer.weight_decay:g}"
    return [
        ("Input", f"{config.inputs.kind}, {cells} tokens"),
        ("Latents", f"{encoder.num_latents} of {encoder.latent_channels} channels"),
        ("Reading", f"cross-attention of {encoder.num_cross_heads} heads, {encoder.num_cross_attends} time(s)"),
        ("Processing", f"{layers} of {encoder.num_self_heads} heads{shared}"),
        ("Answering", f"{config.decoder.kind} decoder, {config.queries.kind} query, {len(findings.labels)} labels"),
        ("Optimiser", f"{optimizer.name}, {rates}"),
        ("Schedule", f"{schedule.name} after a warm-up of {schedule.warmup_fraction:.0%}"),
        ("Length", f"{findings.steps:,} steps of {train.batch_size} images{average}"),
    ]


def _commands(findings: Findings) -> str:
    output, model, recipe, sample = (
        shlex.quote(str(path))
        for path in (
            findings.output,
            findings.output / "model",
            findings.output / "model" / RECIPE_FILE,
            findings.samples[0].path,
        )
    )
    quick = " --quick" if findings.quick else ""
    return (
        f"# this report\nperceivers demo --output {output}{quick}\n\n"
        f"# the training alone\nperceivers train --recipe {recipe} --output runs/digits\n\n"
        f"# the score\nperceivers evaluate {model} --data digits\n\n"
        f"# one image\nperceivers predict {model} {sample}\n\n"
        f"# one image, in Python\nimport perceivers\n\n"
        f'classify = perceivers.pipeline("image-classification", "{findings.output / "model"}")\n'
        f'classify("{findings.samples[0].path}")\n'
    )
