"""Writes the clips that ship with the package: of each kind the first one of the test split of `clips`.

    python benchmarks/make_sample_clips.py

Frames are enlarged, since the colours of H.264 have half the resolution of the frame.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perceivers.data import DataConfig, load_data
from perceivers.data.samples import LICENCES, sample
from perceivers.processing.video_writing import video_writer

ENLARGED = 8


def main() -> None:
    """Write a clip of each kind."""
    splits = load_data(DataConfig(source="clips"), ("video", "label"))
    folder = sample(LICENCES).parent / "clips"
    folder.mkdir(exist_ok=True)
    rows: list[Any] = list(splits.eval)
    for label, name in enumerate(splits.labels or ()):
        index = next(i for i, row in enumerate(rows) if row["label"] == label)
        write_clip(folder / f"{name}_{index}.mp4", rows[index]["video"])


def write_clip(path: Path, clip: Mapping[str, Any]) -> None:
    """Write one clip with its sound."""
    frames = np.repeat(np.repeat(clip["video"], ENLARGED, axis=1), ENLARGED, axis=2)
    with video_writer(path, clip["frame_rate"], clip["sample_rate"]) as writer:
        writer.write(frames, clip["audio"])


if __name__ == "__main__":
    main()
