"""Score classical optical flow on pairs of frames: baselines of models trained here.

pip install scikit-image -c constraints.txt
python benchmarks/flow_baselines.py path/to/pairs [HEIGHT WIDTH]

With a size, frames are shrunk to it first and the motion is enlarged again, as for a model that reads frames whole.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from datasets import concatenate_datasets

# Of the benchmark alone: the package itself does without it.
from skimage.registration import (  # pyright: ignore[reportMissingImports]
    optical_flow_ilk,
    optical_flow_tvl1,
    phase_cross_correlation,
)

from perceivers.data import DataConfig, load_data
from perceivers.tasks.base import Step
from perceivers.tasks.flow_sizes import resize_flow, resize_frames
from perceivers.tasks.optical_flow import OpticalFlow
from perceivers.zoo import ZOO

# Two grey frames (H, W) in [0, 1] -> the motion (H, W, 2), u to the right and v down.
Method = Callable[[np.ndarray, np.ndarray], np.ndarray]


def no_motion(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Answer that nothing moves."""
    return np.zeros((*first.shape, 2))


def one_shift(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Answer every pixel with the shift of the whole frame, by phase correlation to a tenth of a pixel."""
    back, _, _ = phase_cross_correlation(first, second, upsample_factor=10)
    return np.broadcast_to(-np.asarray(back)[::-1], (*first.shape, 2)).astype(float)


def tv_l1(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """TV-L1 (Zach, Pock and Bischof 2007)."""
    return np.stack(optical_flow_tvl1(first, second)[::-1], axis=-1)


def iterative_lucas_kanade(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Iterative Lucas-Kanade (Le Besnerais and Champagnat 2005)."""
    return np.stack(optical_flow_ilk(first, second)[::-1], axis=-1)


def estimate(method: Method, frames: np.ndarray, size: tuple[int, int] | None) -> torch.Tensor:
    """Return the motion between frames (2, H, W, C), found at `size`."""
    height, width = frames.shape[1:3]
    small = resize_frames(torch.from_numpy(frames)[None], size or (height, width))[0]
    first, second = small.mean(dim=-1).double().numpy()
    flow = torch.from_numpy(np.ascontiguousarray(method(first, second)).astype(np.float32))
    return resize_flow(flow[None], (height, width))[0]


def score(name: str, rows: Any, method: Method, size: tuple[int, int] | None) -> None:
    """Print the scores of a way of answering."""
    task = OpticalFlow.fit(ZOO["optical-flow-whole"].config, None, {})
    metrics, start = task.metrics(), time.perf_counter()
    for row in rows:
        item = task.prepare(row)
        truth = torch.from_numpy(item["flow"]).masked_fill(~torch.from_numpy(item["valid"])[..., None], torch.nan)
        task.update(metrics, Step(torch.tensor(0.0), estimate(method, item["frames"], size), truth))
    values = "  ".join(f"{key} {float(value):.3f}" for key, value in metrics.compute().items())
    print(f"{name:24} {values}  {time.perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 4):
        sys.exit(f"usage: python {sys.argv[0]} path/to/pairs [HEIGHT WIDTH]")
    size = (int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) == 4 else None
    splits = load_data(DataConfig(source=sys.argv[1]), OpticalFlow.roles)
    pairs = concatenate_datasets([splits.rows, splits.eval])
    for name, method in {
        "no motion": no_motion,
        "one shift": one_shift,
        "TV-L1": tv_l1,
        "iterative Lucas-Kanade": iterative_lucas_kanade,
    }.items():
        score(name, pairs, method, size)
