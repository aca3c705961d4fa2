"""Data sets that come with the installation."""

from collections.abc import Callable
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features
from datasets import Image as ImageFeature
from PIL import Image

from perceivers.data.flow_scenes import FlowScenes
from perceivers.data.generated import GENERATED
from perceivers.data.generated_clips import BouncingClips
from perceivers.data.shapes import shapes
from perceivers.registry import Registry

SOURCES: Registry[Callable[[], DatasetDict]] = Registry("data set")

DIGITS_SEED = 0


@SOURCES.register("digits")
def digits() -> DatasetDict:
    """Return 1,797 handwritten digits of 8x8 grey pixels, split 80/20 with equal shares of each digit.

    From the UCI repository (Alpaydin and Kaynak, CC BY 4.0), as scikit-learn ships them.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch: Any = load_digits()
    pixels = np.round(bunch["images"] * (255 / 16)).astype(np.uint8)
    labels = bunch["target"].astype(int)
    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=DIGITS_SEED)
    features = Features({"image": ImageFeature(), "label": ClassLabel(names=[str(i) for i in range(10)])})

    def part(indices: Any) -> Dataset:
        rows = {"image": [Image.fromarray(pixels[i]) for i in indices], "label": [int(labels[i]) for i in indices]}
        return Dataset.from_dict(rows, features=features)

    return DatasetDict({"train": part(train), "test": part(test)})


SOURCES.add("shapes", shapes)
GENERATED.add("clips", BouncingClips)
GENERATED.add("flow-scenes", FlowScenes)
