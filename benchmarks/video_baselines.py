"""Score simple models of clips on the split that the recipe `clips` uses, or on other clips.

python benchmarks/video_baselines.py [path/to/videos] [NAME=VALUE ...]

The reconstructions are scored as the task scores those of a model, by the mean PSNR over windows: the mean clip with
silence; and principal components, as many as the latents of the recipe's model have numbers, fitted to the training
clips. The labels are guessed by the commonest class and by logistic regression on the components. NAME=VALUE changes
the recipe, as `--set` does: model=clips-short-code has as many components as the code of `video-mini`.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from perceivers.model import PerceiverConfig
from perceivers.tasks import Rows, Step
from perceivers.tasks.video_autoencoding import VideoAutoencoding
from perceivers.train import load_recipe
from perceivers.train.recipe import parse_yaml, prepare_run

Floats = NDArray[np.float32]


def arrays(task: VideoAutoencoding, rows: Rows) -> tuple[Floats, NDArray[np.int64], tuple[int, ...]]:
    """Return all windows as rows of pixels in [0, 1] and then samples, the labels, and how many of each there are."""
    dataset = task.dataset(rows, training=False)
    items = [dataset[i] for i in range(len(dataset))]  # pyright: ignore[reportArgumentType]
    video = np.stack([item["video"].reshape(-1) for item in items]).astype(np.float32) / 255
    audio = np.stack([item["audio"] for item in items]).astype(np.float32)
    labels = np.array([item["label"] for item in items])
    return np.concatenate([video, audio], axis=1, dtype=np.float32), labels, (video.shape[1], audio.shape[1])


def report(
    name: str, task: VideoAutoencoding, found: Floats, true: Floats, sizes: tuple[int, ...], began: float
) -> None:
    """Print the scores of reconstructions, which are clipped to what pixels and samples can be."""
    metrics = task.metrics()
    parts = {"video": slice(0, sizes[0]), "audio": slice(sizes[0], None)}
    limits = {"video": (0.0, 1.0), "audio": (-1.0, 1.0)}

    def tensors(rows: Floats) -> dict[str, torch.Tensor]:
        return {key: torch.from_numpy(rows[:, part]).clamp(*limits[key]) for key, part in parts.items()}

    unknown = torch.full((len(true),), -100)
    outputs = {**tensors(found), "label": torch.zeros(len(true), task.num_classes)}
    task.update(metrics, Step(torch.zeros(()), outputs, {**tensors(true), "label": unknown}))
    scores = " ".join(f"{key}_psnr {float(metrics[f'{key}_psnr'].compute()):.2f}" for key in parts)
    print(f"{name:40} {scores}  {time.perf_counter() - began:.0f} s", flush=True)


def principal_components(rows: Floats, count: int) -> tuple[Floats, Floats]:
    """Return the mean row, and at most `count` principal components as columns, the largest first."""
    centre = rows.mean(axis=0)
    centred = rows - centre
    # There are fewer rows than numbers in each: their products with each other say the same as the covariance.
    values, vectors = np.linalg.eigh(centred @ centred.T)
    best = np.argsort(-values)[: min(count, len(rows) - 1)]
    return centre, (centred.T @ vectors[:, best]) / np.sqrt(np.maximum(values[best], 1e-6))


def code_length(config: PerceiverConfig) -> int:
    """Return how many numbers the latents of one window are."""
    return config.encoder.num_latents * config.encoder.latent_channels


def main(changes: Mapping[str, Any]) -> None:
    """Print the scores."""
    run = prepare_run(load_recipe("clips", changes))
    task = run.task
    assert isinstance(task, VideoAutoencoding)
    print(run.splits.description)
    train, train_labels, sizes = arrays(task, run.splits.rows)
    test, test_labels, _ = arrays(task, run.splits.eval)
    print(f"{len(train):,} windows to fit to, {len(test):,} to score")

    began = time.perf_counter()
    mean = np.concatenate([train[:, : sizes[0]].mean(axis=0), np.zeros(sizes[1], np.float32)])
    report("mean clip, silence", task, np.tile(mean, (len(test), 1)), test, sizes, began)
    flat = np.tile(test[:, : sizes[0]].reshape(len(test), -1, 3).mean(axis=1), (1, sizes[0] // 3))
    colour = np.concatenate([flat, np.zeros((len(test), sizes[1]), np.float32)], axis=1)
    report("mean colour of each clip, silence", task, colour, test, sizes, began)
    began = time.perf_counter()
    wanted = code_length(run.model.config)
    centre, components = principal_components(train, wanted)
    codes = [(part - centre) @ components for part in (train, test)]
    for count in (wanted // 16, wanted // 4, wanted):
        name = f"{min(count, components.shape[1])} principal components"
        found = codes[1][:, :count] @ components[:, :count].T + centre
        report(name, task, found, test, sizes, began)
    if len(set(train_labels)) < 2:
        return
    commonest = np.bincount(train_labels).argmax()
    print(f"{'commonest class':40} accuracy {(test_labels == commonest).mean():.4f}")
    for count in sorted({min(count, components.shape[1]) for count in (64, 256)}):
        began = time.perf_counter()
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        search = GridSearchCV(linear, {"logisticregression__C": [0.001, 0.01, 0.1, 1.0]}, cv=3)
        accuracy = search.fit(codes[0][:, :count], train_labels).score(codes[1][:, :count], test_labels)
        name = f"logistic regression on {count} of them"
        print(f"{name:40} accuracy {accuracy:.4f}  {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    pairs = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    sources = [argument for argument in sys.argv[1:] if Path(argument).exists()]
    chosen = {name: parse_yaml(value, name) for name, value in pairs.items()}
    main({**({"data.source": sources[0]} if sources else {}), **chosen})
