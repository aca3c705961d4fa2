"""Data sets that come with the package or its dependencies and need no download."""

from collections.abc import Callable

import datasets
import numpy as np

from perceivers.data.split import stratified_split
from perceivers.registry import Registry

# A source returns all its splits; to add one, decorate a function.
Source = Callable[[], datasets.DatasetDict]
SOURCES: Registry[Source] = Registry("data source")


@SOURCES.register("digits")
def digits() -> datasets.DatasetDict:
    """Return scikit-learn's 1,797 handwritten digits, 8 x 8 grey, four fifths of them to train on.

    Source: UCI ML repository, Optical Recognition of Handwritten Digits (CC BY 4.0).
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # The originals count black dots, 0 to 16.
    images = (bunch["images"] * (255 / 16)).round().astype(np.uint8)
    labels = bunch["target"].tolist()
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=[str(digit) for digit in range(10)])}
    )
    parts = zip(("train", "test"), stratified_split(labels, fraction=0.2, seed=0), strict=True)
    return datasets.DatasetDict(
        {
            name: datasets.Dataset.from_dict(
                {"image": [images[i] for i in kept], "label": [labels[i] for i in kept]}, features=features
            )
            for name, kept in parts
        }
    )
