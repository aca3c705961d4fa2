"""Score simple models of sound on the split that the recipe `fsdd` uses.

python benchmarks/sound_baselines.py path/to/fsdd
"""

import sys
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from perceivers.adapters.spectrogram import SpectrogramInput, SpectrogramInputConfig
from perceivers.data import DataConfig, load_data
from perceivers.processing.sounds import read_sound
from perceivers.tasks import Rows
from perceivers.zoo import ZOO

NUM_MFCC = 20


def log_mels(rows: Rows, module: SpectrogramInput) -> list[NDArray[np.floating]]:
    """Return the spectrogram of each whole clip, (T, mels), its peak at 1, as the model's input side makes it."""
    found = []
    for row in rows:
        wave = read_sound(row["audio"], module.config.sample_rate)
        wave = wave / max(float(np.abs(wave).max()), 1e-6)
        found.append(module.log_mel(torch.from_numpy(wave)[None])[0].numpy())
    return found


def summary(frames: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return mean, deviation and both ends of each band or coefficient over time, and the same of their changes."""
    parts = [frames, np.diff(frames, axis=0)]
    return np.concatenate([f(part, axis=0) for part in parts for f in (np.mean, np.std, np.min, np.max)])


def thirds(frames: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the mean of each coefficient over each third of the time: what comes first, and what last."""
    return np.concatenate([part.mean(axis=0) for part in np.array_split(frames, 3)])


def features_of(spectrograms: list[NDArray[np.floating]], kind: str) -> NDArray[np.floating]:
    """Return one row a clip."""
    if kind == "mean and deviation of log-mel":
        return np.stack([np.concatenate([frames.mean(axis=0), frames.std(axis=0)]) for frames in spectrograms])
    cepstra = [np.asarray(dct(frames, norm="ortho", axis=1))[:, :NUM_MFCC] for frames in spectrograms]
    return np.stack([np.concatenate([summary(frames), thirds(frames)]) for frames in cepstra])


def main(source: str) -> None:
    """Print the scores."""
    splits = load_data(DataConfig(source=source), ("audio", "label"))
    print(splits.description)
    config = ZOO["audio-spectrogram-small"].config.inputs
    assert isinstance(config, SpectrogramInputConfig)
    module = config.build()
    labels, targets = (np.array(part["label"][:]) for part in (splits.rows, splits.eval))
    train, test = log_mels(splits.rows, module), log_mels(splits.eval, module)
    models: dict[str, tuple[Any, dict[str, list[float]]]] = {
        "logistic regression": (LogisticRegression(max_iter=2000), {"logisticregression__C": [0.01, 0.1, 1.0]}),
        "SVM": (SVC(), {"svc__C": [1.0, 10.0, 100.0], "svc__gamma": [0.001, 0.003, 0.01]}),
    }
    for kind in ("mean and deviation of log-mel", "MFCC: summary, changes, thirds"):
        for name, (model, grid) in models.items():
            began = time.perf_counter()
            # Chosen by cross-validation within the training split.
            search = GridSearchCV(make_pipeline(StandardScaler(), model), grid, cv=5)
            predictions = search.fit(features_of(train, kind), labels).predict(features_of(test, kind))
            accuracy, f1 = (predictions == targets).mean(), f1_score(targets, predictions, average="macro")
            seconds = time.perf_counter() - began
            print(f"{name}, {kind:32} accuracy {accuracy:.4f}  macro F1 {f1:.4f}  {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} path/to/data")
    main(sys.argv[1])
