"""Score simple models on the splits that the recipes use: the baselines of the README.

python benchmarks/baselines.py eurosat path/to/eurosat
python benchmarks/baselines.py image-mini path/to/eurosat
python benchmarks/baselines.py texts path/to/sms_spam
python benchmarks/baselines.py books path/to/text_lm
python benchmarks/baselines.py books-512 path/to/text_lm
"""

import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from perceivers.adapters.text import NUM_BYTES_AND_SPECIALS
from perceivers.data import DataConfig, Splits, load_data
from perceivers.processing.image import fit_image, read_image
from perceivers.processing.text import ByteTokenizer
from perceivers.tasks import Rows
from perceivers.tasks.augment import AugmentConfig, ImageAugmenter
from perceivers.tasks.fill_mask import FillMask, FillMaskSettings
from perceivers.train import load_recipe
from perceivers.zoo import ZOO

# What of a text is looked at to guess each of its bytes.
Contexts = Callable[[list[int]], Iterable[object]]
SPACES = frozenset(ByteTokenizer().encode(" \n\t\r").tolist())
# How often a byte must have been seen in a place for the place to count as much as the coarser one.
PRIOR_COUNT = 4


def report(name: str, predictions: NDArray[np.int64], targets: NDArray[np.int64], seconds: float) -> None:
    """Print accuracy and macro F1."""
    accuracy, f1 = (predictions == targets).mean(), f1_score(targets, predictions, average="macro")
    print(f"{name:45} accuracy {accuracy:.4f}  macro F1 {f1:.4f}  {seconds:.0f} s", flush=True)


def column(part: Rows, role: str) -> list[Any]:
    """Return one role of all rows."""
    return [row[role] for row in part]


def image_arrays(splits: Splits, size: int) -> list[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Return images (T, size, size, 3) and label ids (T,) of the training and the evaluation split."""
    return [
        (
            np.stack([fit_image(read_image(image), (size, size), 3) for image in column(part, "image")]),
            np.array(column(part, "label")),
        )
        for part in (splits.rows, splits.eval)
    ]


def image_baselines(source: str, recipe_name: str) -> None:
    """Logistic regression on pixels, and a small convolutional network, as long and on the same changes as a recipe."""
    recipe = load_recipe(recipe_name)
    epochs, changes = int(recipe.train.epochs), recipe.settings["augment"]
    splits = load_data(DataConfig(source=source), ("image", "label"))
    print(splits.description)
    for size in (16, 64):
        (images, labels), (test_images, targets) = image_arrays(splits, size)
        began = time.perf_counter()
        model = LogisticRegression(max_iter=2000).fit(images.reshape(len(images), -1) / 255, labels)
        predictions = model.predict(test_images.reshape(len(test_images), -1) / 255)
        report(f"logistic regression on {size}x{size} pixels", predictions, targets, time.perf_counter() - began)
    train, test = image_arrays(splits, 64)
    began = time.perf_counter()
    predictions, parameters = convnet(train, test[0], len(splits.labels or ()), epochs, changes)
    report(
        f"convnet, {parameters:,} parameters, {epochs} epochs",
        predictions,
        test[1],
        time.perf_counter() - began,
    )


def convnet(
    train: tuple[NDArray[np.uint8], NDArray[np.int64]],
    test_images: NDArray[np.uint8],
    num_classes: int,
    epochs: int,
    changes: Mapping[str, Any],
) -> tuple[NDArray[np.int64], int]:
    """Train a plain convolutional network.

    Args:
        train: Images and labels.
        test_images: Other images.
        num_classes: Labels.
        epochs: How often each image is seen.
        changes: The random changes, as in a recipe.

    Returns:
        Its predictions for `test_images`, and its number of parameters.
    """
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for channels_in, channels in ((3, 32), (32, 64), (64, 128), (128, 128)):
        layers += [
            nn.Conv2d(channels_in, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, num_classes))
    images, labels = torch.from_numpy(train[0]), torch.from_numpy(train[1])
    augment = ImageAugmenter(AugmentConfig(**changes), num_classes)
    steps = epochs * math.ceil(len(images) / 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)

    def prepared(batch: torch.Tensor) -> torch.Tensor:
        values = batch.float() / 255 if batch.dtype == torch.uint8 else batch
        return (values.permute(0, 3, 1, 2) - 0.5) / 0.25

    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).split(64):
            batch = augment({"image": images[chosen], "label": labels[chosen]})
            loss = functional.cross_entropy(model(prepared(batch["image"])), batch["label"], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model(prepared(part)) for part in torch.from_numpy(test_images).split(64)])
    return logits.argmax(dim=1).numpy(), sum(parameter.numel() for parameter in model.parameters())


def text_baselines(source: str) -> None:
    """Logistic regression on TF-IDF of words and pairs of words, and the commonest label."""
    splits = load_data(DataConfig(source=source), ("text", "label"))
    print(splits.description)
    labels, targets = np.array(column(splits.rows, "label")), np.array(column(splits.eval, "label"))
    report("the commonest label", np.full_like(targets, np.bincount(labels).argmax()), targets, 0)
    began = time.perf_counter()
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10, max_iter=2000))
    model.fit(column(splits.rows, "text"), labels)
    predictions = model.predict(column(splits.eval, "text"))
    report("TF-IDF + logistic regression", predictions, targets, time.perf_counter() - began)


def book_baselines(source: str, recipe_name: str) -> None:
    """Bytes guessed from counts, scored on the very bytes that the recipe's evaluation hides."""
    splits = load_data(DataConfig(source=source), ("text",))
    print(splits.description)
    recipe = load_recipe(recipe_name)
    assert recipe.model is not None
    for masking, rules in BOOK_RULES.items():
        task = FillMask(FillMaskSettings(**{**recipe.settings, "masking": masking}), ZOO[recipe.model].config)
        text = task.tokenizer.encode("\n".join(column(splits.rows, "text"))).tolist()
        windows = []
        for window in DataLoader(task.dataset(splits.eval, training=False), batch_size=None):
            batch = task.collate([window])
            shown = task.augment(batch, training=False)["input_ids"][0].tolist()
            windows.append((batch["input_ids"][0].tolist(), shown))
        for name, levels in rules.items():
            score_counts(f"{masking}: {name}", levels, text, windows)


def score_counts(
    name: str, levels: Sequence[Contexts], text: list[int], windows: Sequence[tuple[list[int], list[int]]]
) -> None:
    """Guess each hidden byte from how often it stood in such a place, and print bits a byte and accuracy.

    Args:
        name: What to call it.
        levels: What is looked at, the coarsest first; a finer one counts the more the oftener it was seen.
        text: Ids of the training text.
        windows: Ids of each window, whole and as it is shown.
    """
    tables: list[defaultdict[object, Counter[int]]] = []
    for contexts in levels:
        table: defaultdict[object, Counter[int]] = defaultdict(Counter)
        for context, byte in zip(contexts(text), text, strict=True):
            table[context][byte] += 1
        tables.append(table)
    bits: list[float] = []
    right: list[bool] = []
    for ids, shown in windows:
        places = [list(contexts(shown)) for contexts in levels]
        for i in (i for i, (byte, seen) in enumerate(zip(ids, shown, strict=True)) if byte != seen):
            probabilities = np.full(NUM_BYTES_AND_SPECIALS, 1 / 256)
            for table, contexts in zip(tables, places, strict=True):
                counter = table.get(contexts[i], Counter())
                counts = np.zeros(NUM_BYTES_AND_SPECIALS)
                counts[list(counter)] = list(counter.values())
                probabilities = (counts + PRIOR_COUNT * probabilities) / (counts.sum() + PRIOR_COUNT)
            bits.append(-math.log2(probabilities[ids[i]]))
            right.append(int(probabilities.argmax()) == ids[i])
    print(f"{name:45} {np.mean(bits):.3f} bits a byte  accuracy {np.mean(right):.4f}  {len(bits):,} bytes", flush=True)


def nothing(ids: list[int]) -> Iterable[object]:
    """Look at nothing."""
    return ((),) * len(ids)


def white_space(ids: list[int]) -> Iterable[object]:
    """Look at whether it is white space, which is never hidden with words."""
    return (byte in SPACES for byte in ids)


def places(ids: list[int]) -> Iterator[tuple[int, int]]:
    """Look at the length of the word and the place in it; white space has neither."""
    start = 0
    for end in range(len(ids) + 1):
        if end == len(ids) or ids[end] in SPACES:
            yield from ((end - start, place) for place in range(end - start))
            if end < len(ids):
                yield 0, 0
            start = end + 1


def neighbours(left: int, right: int) -> Contexts:
    """Look at so many bytes before and behind."""

    def contexts(ids: list[int]) -> Iterator[object]:
        for i in range(len(ids)):
            yield tuple(ids[max(i - left, 0) : i]), tuple(ids[i + 1 : i + 1 + right])

    return contexts


BOOK_RULES: dict[str, dict[str, list[Contexts]]] = {
    "words": {
        "how often a byte occurs": [white_space],
        "by length of word and place in it": [white_space, places],
    },
    "bytes": {
        "how often a byte occurs": [nothing],
        "by the byte before and the one behind": [nothing, neighbours(1, 1)],
        "by two bytes before and two behind": [nothing, neighbours(1, 0), neighbours(1, 1), neighbours(2, 2)],
    },
}


if __name__ == "__main__":
    kinds = {"texts": text_baselines}
    kinds |= {name: partial(image_baselines, recipe_name=name) for name in ("eurosat", "image-mini")}
    kinds |= {name: partial(book_baselines, recipe_name=name) for name in ("books", "books-512")}
    if len(sys.argv) != 3 or sys.argv[1] not in kinds:
        sys.exit(f"usage: python {sys.argv[0]} {{{'|'.join(kinds)}}} path/to/data")
    kinds[sys.argv[1]](sys.argv[2])
