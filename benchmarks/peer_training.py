"""Train the same model with this library and with `transformers`, step by step on the same batches.

python benchmarks/peer_training.py digits digits --steps 900 --seeds 3
python benchmarks/peer_training.py texts path/to/sms_spam --steps 400
python benchmarks/peer_training.py words path/to/text_lm --steps 1000

Both have the same layers and sizes, the same optimiser, schedule, batches and random changes; what differs is how each
library's weights start and how fast it computes. Their steps take turns, so that a busy machine slows down both.
"""

import argparse
import time
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import Any

import torch
import transformers
from einops import rearrange
from torch import Tensor, nn
from torch.utils.data import DataLoader

from perceivers.adapters.image import Conv1x1InputConfig
from perceivers.data import DataConfig, load_data
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import PerceiverConfig
from perceivers.nn.positions import LearnedPositionConfig, PositionedConfig
from perceivers.pretrained.hf import describe
from perceivers.pretrained.load import seeded_model
from perceivers.tasks import TASKS, Task
from perceivers.train.batches import EndlessBatches, Order
from perceivers.train.config import ScheduleConfig
from perceivers.train.evaluate import evaluate
from perceivers.train.optim import make_schedule
from perceivers.zoo import ZOO

LEARNING_RATE, WEIGHT_DECAY, BATCH_SIZE = 1e-3, 0.05, 32
SCHEDULE = ScheduleConfig(name="cosine", warmup_fraction=0.1)


@dataclass(frozen=True)
class Comparison:
    """What is trained.

    Args:
        task: The task's name.
        config: Our model; one that `transformers` can have, too.
        settings: Settings of the task.
    """

    task: str
    config: PerceiverConfig
    settings: dict[str, Any]


def comparisons() -> dict[str, Comparison]:
    """Return the comparisons by name, each with the sizes of one of our small models."""
    digits, texts, words = (ZOO[f"{name}-small"].config for name in ("digits", "text-classifier", "language"))
    # The port knows no patches: pixels by a 1x1 convolution, with learned positions of their own width.
    pixels = Conv1x1InputConfig(
        image_size=(8, 8),
        mean=(0.3,) * 3,
        std=(0.38,) * 3,
        num_channels=256,
        positioned=PositionedConfig(positions=LearnedPositionConfig(num_channels=256), project_channels=256),
    )
    augment = {"rotate_degrees": 8.0, "shift": 0.06, "zoom": 0.08}
    # Its decoders of labels have one head; that of images does not add the query.
    asking = CrossAttentionDecoderConfig(num_heads=1, query_residual=True)
    return {
        "digits": Comparison(
            "image-classification",
            replace(digits, inputs=pixels, decoder=replace(asking, query_residual=False)),
            {"label_smoothing": 0.05, "augment": augment},
        ),
        "texts": Comparison(
            "text-classification",
            replace(texts, decoder=asking),
            {"label_smoothing": 0.05, "byte_dropout": 0.05},
        ),
        "words": Comparison(
            "fill-mask",
            # Its decoder of bytes has eight heads of 32 channels.
            replace(words, decoder=CrossAttentionDecoderConfig(num_heads=8, qk_channels=256, v_channels=64)),
            {"masking": "bytes", "train_stride": 37},
        ),
    }


class Port(nn.Module):
    """A model of `transformers` that takes our batches.

    Args:
        config: Our model, whose equal it is.
        seed: Seed of its weights, which start as that library starts them.
    """

    def __init__(self, config: PerceiverConfig, seed: int) -> None:
        super().__init__()
        class_name, fields = describe(seeded_model(config, seed), exact=False)
        torch.manual_seed(seed)
        self.model = getattr(transformers, class_name)(transformers.PerceiverConfig(**fields))
        self.inputs = config.inputs

    def forward(self, batch: dict[str, Tensor], where: Tensor | None = None) -> Tensor:
        """Return logits (B, E), or those of the bytes at `where`, (B, K, E); the port always answers all of them."""
        if "input_ids" in batch:
            logits = self.model(inputs=batch["input_ids"], attention_mask=batch["keep_mask"].long()).logits
            return logits if where is None else torch.take_along_dim(logits, where[..., None], dim=1)
        assert isinstance(self.inputs, Conv1x1InputConfig)
        pixels = batch["image"].float() / 255 if batch["image"].dtype == torch.uint8 else batch["image"]
        pixels = (pixels - torch.tensor(self.inputs.mean)) / torch.tensor(self.inputs.std)
        return self.model(inputs=rearrange(pixels, "b h w c -> b c h w")).logits


class Learner:
    """A model with its optimiser, and the time that its steps took.

    Args:
        model: The model.
        task: What it learns.
        num_steps: How many steps it will take.
    """

    def __init__(self, model: nn.Module, task: Task[Any], num_steps: int) -> None:
        self.model: Any = model.train()
        self.task = task
        layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding)]
        decayed = {id(layer.weight) for layer in layers}
        groups = [
            {"params": [p for p in model.parameters() if (id(p) in decayed) is decays], "weight_decay": decay}
            for decays, decay in ((True, WEIGHT_DECAY), (False, 0.0))
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, fused=True)
        self.schedule = make_schedule(self.optimizer, SCHEDULE, num_steps)
        self.seconds = 0.0

    def step(self, batch: dict[str, Tensor]) -> None:
        """Learn from one batch."""
        began = time.process_time()
        self.optimizer.zero_grad(set_to_none=True)
        self.task.step(self.model, batch).loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.seconds += time.process_time() - began


def compare(comparison: Comparison, source: str, seed: int, num_steps: int) -> dict[str, dict[str, float]]:
    """Train both from one seed; return scores on the test split, and minutes of CPU time, by library."""
    task_class = TASKS[comparison.task]
    splits = load_data(DataConfig(source=source), task_class.roles)
    task = task_class.fit(comparison.config, splits.labels, comparison.settings)
    learners = {
        "perceivers": Learner(seeded_model(task.config, seed), task, num_steps),
        "transformers": Learner(Port(task.config, seed), task, num_steps),
    }
    torch.manual_seed(seed)
    dataset: Any = task.dataset(splits.rows, training=True)
    order = Order(num_examples=len(dataset), batch_size=BATCH_SIZE, seed=seed)
    batches = EndlessBatches(order, 0, num_steps)
    for batch in DataLoader(dataset, batch_sampler=batches, collate_fn=task.collate, generator=torch.Generator()):
        changed = task.augment(batch, training=True)
        for learner in learners.values():
            learner.step(changed)
    return {
        name: {**evaluate(task, learner.model, splits.eval), "minutes": learner.seconds / 60}
        for name, learner in learners.items()
    }


def main() -> None:
    """Print the scores."""
    known = comparisons()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=list(known))
    parser.add_argument("source", help="where the data comes from")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.seeds):
        for name, scores in compare(known[options.name], options.source, seed, options.steps).items():
            found.setdefault(name, []).append(scores)
            print(f"seed {seed}  {name:13}", {key: round(value, 4) for key, value in scores.items()}, flush=True)
    for name, runs in found.items():
        for key in runs[0]:
            values = [run[key] for run in runs]
            deviation = f" +- {stdev(values):.4f}" if len(values) > 1 else ""
            print(f"{name:13} {key:9} {mean(values):.4f}{deviation}")


if __name__ == "__main__":
    main()
