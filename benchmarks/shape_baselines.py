"""Score simple models of point clouds on the split that the recipe `shapes` uses.

python benchmarks/shape_baselines.py shapes
"""

import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from perceivers.data import DataConfig, load_data
from perceivers.processing.points import read_points

NUM_POINTS, NUM_BINS = 256, 32


def features_of(value: Any) -> NDArray[np.floating]:
    """Return what of a cloud does not change when it is turned, moved or made larger.

    The spread along its main axes, how lopsided and how peaked it is along them, and how often which distance occurs:
    from the middle, from the main axis, and between any two points (D2 of Osada et al. 2002).
    """
    points = read_points(value, NUM_POINTS)[:, :3].astype(np.float64)
    points = points - points.mean(axis=0)
    points = points / np.linalg.norm(points, axis=1).max()
    spreads, axes = np.linalg.eigh(points.T @ points / len(points))
    along = points @ axes
    along = along / along.std(axis=0)
    moments = [np.abs((along**3).mean(axis=0)), (along**4).mean(axis=0)]
    distances = (pdist(points), np.linalg.norm(points, axis=1), np.hypot(*(points @ axes[:, :2]).T))
    ends = (2, 1, 1)
    histograms = [
        np.histogram(found, NUM_BINS, (0, end))[0] / len(found) for found, end in zip(distances, ends, strict=True)
    ]
    return np.concatenate([np.sqrt(spreads), spreads[:2] / spreads[2], *moments, *histograms])


def main(source: str) -> None:
    """Print the scores."""
    splits = load_data(DataConfig(source=source), ("points", "label"))
    print(splits.description)
    labels, targets = (np.array(part["label"][:]) for part in (splits.rows, splits.eval))
    train, test = (np.stack([features_of(value) for value in part["points"]]) for part in (splits.rows, splits.eval))
    models: dict[str, tuple[Any, dict[str, list[float]]]] = {
        "SVM": (SVC(), {"svc__C": [1.0, 10.0, 100.0], "svc__gamma": [0.001, 0.003, 0.01]}),
        "random forest": (RandomForestClassifier(300, random_state=0), {}),
    }
    for name, (model, grid) in models.items():
        began = time.perf_counter()
        # Chosen by cross-validation within the training split.
        search = GridSearchCV(make_pipeline(StandardScaler(), model), grid, cv=5)
        predictions = search.fit(train, labels).predict(test)
        accuracy, f1 = (predictions == targets).mean(), f1_score(targets, predictions, average="macro")
        seconds = time.perf_counter() - began
        print(f"{name}, main axes + distances  accuracy {accuracy:.4f}  macro F1 {f1:.4f}  {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} path/to/data")
    main(sys.argv[1])
