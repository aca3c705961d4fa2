"""Images of coloured rectangles and their boxes: what the tests of object detection share."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COLOURS = {"blue": (40, 60, 220), "red": (220, 50, 40)}


def rectangles(count: int, *, seed: int = 0, size: tuple[int, int] = (48, 64)) -> list[dict[str, Any]]:
    """Return images with one or two rectangles, apart from each other, on noisy grey."""
    noise = np.random.default_rng(seed)
    rows = []
    height, width = size
    for _ in range(count):
        image = noise.integers(100, 140, (height, width, 3)).astype(np.uint8)
        objects = []
        for half in range(noise.integers(1, 3)):
            label = list(COLOURS)[noise.integers(2)]
            w, h = noise.integers(width // 6, width // 3), noise.integers(height // 4, height // 2)
            left = noise.integers(half * width // 2, (half + 1) * width // 2 - w + 1)
            upper = noise.integers(0, height - h + 1)
            image[upper : upper + h, left : left + w] = COLOURS[label]
            box = [int(side) for side in (left, upper, left + w, upper + h)]
            objects.append({"label": label, "box": box})
        rows.append({"image": image, "objects": objects})
    return rows


def write_rectangles(folder: Path, name: str, count: int, *, seed: int = 0) -> Path:
    """Write images and `name`.jsonl; return the table."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for i, row in enumerate(rectangles(count, seed=seed)):
        file = f"images/{name}-{i}.png"
        Image.fromarray(row["image"]).save(folder / file)
        lines.append(json.dumps({"file": file, "objects": row["objects"]}))
    table = folder / f"{name}.jsonl"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table
