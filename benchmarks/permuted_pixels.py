"""Shuffle the pixels of all images in one way, and see what a Perceiver and a convolutional network still learn.

python benchmarks/permuted_pixels.py [path/to/images] [--size 8] [--steps 1000] [--seeds 3]

The Perceiver reads single pixels with Fourier positions, as in the paper (Perceiver, arXiv:2103.03206, table 2). Its
pixels are shuffled in two ways: each with the position that it had ("with their positions", the paper's), or into
places that have positions of their own ("into other places", all that a network without positions can be given). Both
models see the same batches without random changes, with the same optimiser and schedule.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from perceivers.adapters.base import Batch, InputAdapter, Tokens
from perceivers.adapters.image import PixelInputConfig
from perceivers.config import override
from perceivers.data import DataConfig, load_data
from perceivers.model import PerceiverIO
from perceivers.nn.positions import FourierPositionConfig, PositionedConfig
from perceivers.processing.image import fit_image, read_image
from perceivers.tasks import Rows
from perceivers.train.config import OptimizerConfig, ScheduleConfig
from perceivers.train.optim import make_optimizer, make_schedule
from perceivers.zoo import ZOO

BATCH_SIZE = 64
Images = tuple[Tensor, Tensor]  # (T, H, W, C) and labels (T,)


class Shuffled(InputAdapter):
    """Tokens in another order, each with the position that it had."""

    def __init__(self, inputs: InputAdapter, order: Tensor) -> None:
        super().__init__()
        self.inputs = inputs
        self.order = order
        self.num_channels = inputs.num_channels

    def forward(self, batch: Batch) -> Tokens:
        """Read, and shuffle."""
        tokens = self.inputs(batch)
        return replace(tokens, array=tokens.values[:, self.order])

    def example_batch(self, batch_size: int) -> dict[str, Any]:
        """Return a random batch."""
        return self.inputs.example_batch(batch_size)


def perceiver(size: int, channels: int, num_classes: int) -> PerceiverIO:
    """Return a model that reads single pixels."""
    config = ZOO["digits-small"].config
    positions = FourierPositionConfig(num_bands=size // 2, max_resolution=(size, size))
    inputs = PixelInputConfig(
        image_size=(size, size),
        image_channels=channels,
        mean=(0.5,),
        std=(0.3,),
        positioned=PositionedConfig(positions=positions),
    )
    return PerceiverIO(override(replace(config, inputs=inputs), {"outputs.num_classes": num_classes}))


def convnet(size: int, channels: int, num_classes: int) -> nn.Module:
    """Return a plain convolutional network that halves the sides until 4 or fewer pixels are left."""
    layers: list[nn.Module] = []
    width, side = channels, size
    for wide in (32, 64, 128, 128):
        layers += [nn.Conv2d(width, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
        if side > 4:
            layers.append(nn.MaxPool2d(2))
        width, side = wide, side // 2 if side > 4 else side
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))


def train(model: nn.Module, ask: Callable[[Tensor], Tensor], images: Images, steps: int, seed: int) -> None:
    """Train a model on batches that depend on the seed alone."""
    optimizer = make_optimizer(model, OptimizerConfig(learning_rate=0.002, weight_decay=0.05))
    schedule = make_schedule(optimizer, ScheduleConfig(name="cosine", warmup_fraction=0.1), steps)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(steps):
        chosen = torch.randint(len(images[0]), (BATCH_SIZE,), generator=generator)
        loss = functional.cross_entropy(ask(images[0][chosen]), images[1][chosen], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


@torch.inference_mode()
def scores(ask: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return the scores of all labels for each image."""
    return torch.cat([ask(part) for part in images.split(BATCH_SIZE)])


def arrays(rows: Rows, size: int, channels: int) -> Images:
    """Return all images and labels of a split."""
    images = np.stack([fit_image(read_image(row["image"]), (size, size), channels) for row in rows])
    return torch.from_numpy(images), torch.tensor([row["label"] for row in rows])


def main(source: str, size: int, steps: int, seeds: int) -> None:
    """Print accuracies on the evaluation split."""
    splits = load_data(DataConfig(source=source), ("image", "label"))
    channels = 1 if source == "digits" else 3
    split = {name: arrays(rows, size, channels) for name, rows in (("train", splits.rows), ("test", splits.eval))}
    num_classes = len(splits.labels or ())
    order = torch.from_numpy(np.random.default_rng(0).permutation(size * size))
    moved = {
        name: (images.flatten(1, 2)[:, order].unflatten(1, (size, size)), labels)
        for name, (images, labels) in split.items()
    }
    print(f"{splits.description}, {size}x{size} pixels, {steps} steps of {BATCH_SIZE}, seeds 0 to {seeds - 1}")
    print(f"largest share of one label: {torch.bincount(split['test'][1]).max() / len(split['test'][1]):.1%}")
    found: dict[str, list[float]] = {}
    apart = 0.0
    for seed in range(seeds):
        for name, data in (("in order", split), ("with their positions", split), ("into other places", moved)):
            torch.manual_seed(seed)
            model, began = perceiver(size, channels, num_classes), time.process_time()
            inputs = model.inputs
            if name == "with their positions":
                model.set_submodule("inputs", Shuffled(inputs, order))
            ask = lambda images, model=model: model({"image": images})  # noqa: E731
            train(model, ask, data["train"], steps, seed)
            answers = scores(ask, data["test"][0])
            note(found, f"Perceiver, {name}", answers, data["test"][1], began)
            if name == "in order":
                model.set_submodule("inputs", Shuffled(inputs, order))
                apart = max(apart, (scores(ask, data["test"][0]) - answers).abs().max().item())
        for name, data in (("in order", split), ("into other places", moved)):
            torch.manual_seed(seed)
            network, began = convnet(size, channels, num_classes), time.process_time()
            see = lambda images, network=network: network((images.float().movedim(-1, 1) / 255 - 0.5) / 0.3)  # noqa: E731
            train(network, see, data["train"], steps, seed)
            note(found, f"convnet, {name}", scores(see, data["test"][0]), data["test"][1], began)
    for name, values in found.items():
        each = " / ".join(f"{100 * value:.1f}" for value in values)
        print(f"{name:40} {100 * np.mean(values):.1f} %   ({each})")
    print(f"trained in order, asked with shuffled pixels and their positions: scores differ by at most {apart:.1e}")


def note(found: dict[str, list[float]], name: str, answers: Tensor, labels: Tensor, began: float) -> None:
    """Keep an accuracy, and print it at once."""
    accuracy = (answers.argmax(dim=-1) == labels).float().mean().item()
    found.setdefault(name, []).append(accuracy)
    print(f"  {name:40} {accuracy:.4f}  {time.process_time() - began:.0f} CPU s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", nargs="?", default="digits")
    parser.add_argument("--size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    main(wanted.source, wanted.size, wanted.steps, wanted.seeds)
