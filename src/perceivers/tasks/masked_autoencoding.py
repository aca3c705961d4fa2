"""Masked auto-encoding: a part of any input is left out, and asked for; pre-training without labels.

As in masked autoencoders (arXiv:2111.06377) the encoder reads only what is left, which makes pre-training cheap, and
the decoder is asked for the rest by place. A Perceiver needs nothing new for that: positions are part of the tokens,
and a query is a place.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from perceivers.adapters import RawTokens
from perceivers.config import from_json
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.tasks.base import TASKS, Metrics, Part, Rows, Step, Summary, Task, to_device
from perceivers.tasks.masked_modalities import Loss, Restored, modality_of
from perceivers.tasks.masking import grid_blocks, left_out, places_of, share_mask

if TYPE_CHECKING:
    from typing_extensions import Self

_PREDICT_BATCH_SIZE = 32
_SEED = "mask_seed"


@dataclass(frozen=True, kw_only=True)
class MaskedAutoencodingSettings:
    """Settings of masked auto-encoding.

    Args:
        mask_share: Share of an input's tokens that is hidden, to the nearest token; `None` takes what suits the
            modality: 0.75 for images and sound, 0.9 for video, 0.6 for points, 0.2 for the bytes of a text.
        block_size: Hide blocks of so many neighbouring tokens along each axis instead of single ones; points, which
            have no order, know single ones alone.
        loss: Mean squared or mean absolute error; bytes have their cross-entropy.
        reading: Settings of the task that reads such inputs otherwise, e.g. of image-classification for images: how
            they are cut, and their random changes.
    """

    mask_share: float | None = None
    block_size: int = 1
    loss: Loss = "mse"
    reading: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mask_share is not None and not 0 < self.mask_share < 1:
            raise ValueError(f"mask_share ({self.mask_share}) must lie between 0 and 1")
        if self.block_size < 1:
            raise ValueError(f"block_size ({self.block_size}) must be at least 1")


@dataclass(frozen=True)
class _Round:
    """A batch of which a part was hidden and asked for; rows that have less hidden are filled up.

    Args:
        raw: What all tokens are made of.
        hidden: Which were hidden.
        index: The hidden ones, by number.
        counts: Which of these count.
        where: The places that were asked for.
        answers: What the model said there.
        targets: What is there.
    """

    raw: RawTokens
    hidden: Bool[Tensor, "B M"]
    index: Int[Tensor, "B K"]
    counts: Bool[Tensor, "B K"]
    where: Int[Tensor, "B K"]
    answers: Float[Tensor, "B K E"]
    targets: Float[Tensor, "B K E"] | Int[Tensor, "B K"]


@TASKS.register("masked-autoencoding")
class MaskedAutoencoding(Task[MaskedAutoencodingSettings]):
    """What was hidden of an image, a sound, a cloud of points, a text or a clip, from the rest of it.

    What is hidden is drawn anew in each step of training, and follows from the input alone otherwise.
    """

    Settings = MaskedAutoencodingSettings
    roles: ClassVar[tuple[str, ...]] = ("image",)  # of the default model; of others what they read
    input_role = "image"
    default_model = "image-masked-small"
    score = "psnr"

    def __init__(self, settings: MaskedAutoencodingSettings, config: PerceiverConfig) -> None:
        super().__init__(settings, config)
        modality = modality_of(config)(config, settings.reading)
        if config != modality.head():
            raise ValueError(
                f"masked-autoencoding asks for each place of {config.inputs.kind} inputs, {modality.grid}; "
                f"this model has '{config.queries.kind}' queries and '{config.outputs.kind}' outputs for something else"
            )
        if settings.block_size > 1 and not modality.in_order:
            raise ValueError(f"block_size ({settings.block_size}) must be 1: {config.inputs.kind} have no order")
        self.modality = modality
        self.reader = modality.reader
        self.mask_share = settings.mask_share or modality.mask_share
        self.input_role = self.reader.input_role
        self.score, self.higher_is_better = modality.score, modality.higher_is_better

    @classmethod
    def fit(cls, config: PerceiverConfig, labels: Sequence[str] | None, settings: Mapping[str, Any]) -> "Self":
        """Give the model a query for each place of its input; see `Task.fit`.

        Raises:
            ValueError: Such inputs cannot be masked, or a setting is wrong.
        """
        own = from_json(cls.Settings, settings, f"{cls.name} settings")
        return cls(own, modality_of(config)(config, own.reading).head())

    @classmethod
    def usual_model(cls, config: PerceiverConfig) -> PerceiverConfig:
        """Return the model itself with queries for each place."""
        return modality_of(config)(config, {}).head()

    @classmethod
    def roles_for(cls, config: PerceiverConfig) -> tuple[str, ...]:
        """Return what the model reads; labels are not needed."""
        return modality_of(config).roles()

    @classmethod
    def example(cls) -> "tuple[Self, Rows]":
        """Return a tiny task on random images."""
        from perceivers.zoo import ZOO

        noise = np.random.default_rng(0)
        rows = [{"image": noise.integers(0, 255, (8, 8, 1), dtype=np.uint8)} for _ in range(6)]
        return cls.fit(ZOO["digits-small"].config, None, {}), rows

    def dataset(self, rows: Rows, *, training: bool) -> Dataset[dict[str, Any]]:
        """Return what the task that reads such inputs makes of the rows."""
        return _Seeded(self.modality.dataset(rows, training=training))

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the input as arrays, and a seed that follows from them."""
        return _with_seed(self.modality.prepare(row))

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return a batch as the model reads it, and `mask_seed` (B,)."""
        inputs = [{name: value for name, value in item.items() if name != _SEED} for item in items]
        return {**self.reader.collate(inputs), _SEED: torch.tensor([item[_SEED] for item in items])}

    def augment(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Change a batch at random, as the task that reads such inputs does."""
        return self.modality.augment(batch, training=training)

    def step(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        """Return the mean error over the hidden tokens of a batch."""
        asked = self._ask(model, batch, anew=model.training)
        errors = self.modality.errors(asked.answers, asked.targets, self.settings.loss)
        weight = asked.counts.sum()
        loss = errors.where(asked.counts, 0).sum() / weight.clamp(min=1)
        return Step(loss, asked.answers, self.modality.target_of(asked.targets, asked.counts), (Part(loss, weight),))

    def metrics(self) -> Metrics:
        """Return the PSNR of pixels, the error of spectrograms or points, or what else suits the modality."""
        return self.modality.metrics()

    def update(self, metrics: Metrics, step: Step) -> None:
        """Count one batch."""
        self.modality.update(metrics, step)

    def gather(self, given: Sequence[Any]) -> tuple[Sequence[Any], bool]:
        """Return the inputs in the arguments of one call; inputs of two files as the task that reads them does."""
        return self.reader.gather(given) if len(self.modality.roles()) > 1 else super().gather(given)

    def input_of(self, row: Mapping[str, Any]) -> Any:
        """Return what prediction would be given of a row of data."""
        return self.reader.input_of(row)

    def row_of(self, value: Any) -> Mapping[str, Any]:
        """Return an input as a row of data."""
        return self.reader.row_of(value)

    def pieces(self, value: Any) -> Iterator[dict[str, Any]]:
        """Cut one input into what the model reads at a time."""
        return (_with_seed(item) for item in self.reader.pieces(value))

    @torch.inference_mode()
    def predict(self, model: PerceiverIO, inputs: Sequence[Any], *, top_k: int = 5) -> list[Restored]:
        """Hide a part of each input and restore it; of one larger than the model reads, a part is taken.

        Args:
            model: The model.
            inputs: The inputs.
            top_k: Means nothing here.
        """
        results: list[Restored] = []
        for start in range(0, len(inputs), _PREDICT_BATCH_SIZE):
            chunk = inputs[start : start + _PREDICT_BATCH_SIZE]
            batch = to_device(self.collate([self.prepare(self.row_of(value)) for value in chunk]), model)
            asked = self._ask(model, batch, anew=False)
            results += [self._restored(asked, row) for row in range(len(chunk))]
        return results

    def summary(self, result: Restored) -> Summary:
        """Return how much was hidden, and the scores; of a text also how it was shown and came back."""
        entry: dict[str, Any] = {"hidden": int(result.hidden.sum()), "tokens": result.hidden.size, **result.scores}
        if isinstance(result.restored, str):
            entry |= {"shown": result.shown, "restored": result.restored}
        return [entry]

    def picture(self, value: Any, result: Restored) -> Image.Image:
        """Draw the input as it was, as it was shown, and as it came back."""
        return self.modality.draw(result)

    def draw_weights(self, item: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Image.Image:
        """Draw attention on the input."""
        return self.modality.draw_weights(item, weights)

    def _ask(self, model: PerceiverIO, batch: Mapping[str, Tensor], *, anew: bool) -> _Round:
        """Hide a part of a batch and ask for it.

        Args:
            model: The model, perhaps wrapped for training in several processes.
            batch: From `collate`.
            anew: Draw what is hidden; otherwise it follows from the inputs.
        """
        inputs = getattr(model, "module", model).inputs
        with torch.no_grad():
            raw: RawTokens = inputs.raw(batch)
        keep = raw.keep_mask
        if keep is None:
            keep = torch.ones(raw.values.shape[:2], dtype=torch.bool, device=raw.values.device)
        blocks = grid_blocks(raw.grid_shape, self.settings.block_size)
        hidden = share_mask(keep, blocks, self.mask_share, None if anew else batch[_SEED].tolist())
        index, counts = places_of(hidden)
        where, targets = self.modality.ask(raw, index)
        with left_out(inputs, hidden):
            answers = model(inputs.hide(batch, hidden), where=where)
        return _Round(raw, hidden, index, counts, where, answers, targets)

    def _restored(self, asked: _Round, row: int) -> Restored:
        modality, raw = self.modality, asked.raw
        counts = asked.counts[row]
        values, hidden = raw.values[row], asked.hidden[row]
        answers = asked.answers[row][counts].float()
        filled = modality.fill(values, asked.index[row][counts], answers, asked.where[row][counts])
        grid = raw.grid_shape
        if raw.keep_mask is not None and len(grid) == 1:
            # What was padded to the longest of its batch ends where it ended.
            grid = (int(raw.keep_mask[row].nonzero().max()) + 1,)
            values, hidden, filled = (part[: grid[0]] for part in (values, hidden, filled))
        metrics = modality.metrics()
        if counts.any():
            one = slice(row, row + 1)
            targets = modality.target_of(asked.targets[one], asked.counts[one])
            modality.update(metrics, Step(torch.zeros(()), asked.answers[one].cpu(), targets.cpu()))
        return Restored(
            original=modality.present(values, grid),
            shown=modality.present(modality.blank(values, hidden), grid),
            restored=modality.present(filled, grid),
            hidden=hidden.reshape(grid).cpu().numpy(),
            scores={name: float(value) for name, value in metrics.compute().items()} if counts.any() else {},
        )


def _with_seed(item: Mapping[str, Any]) -> dict[str, Any]:
    """Add a number that follows from the arrays of a prepared row."""
    seed = 0
    for name in sorted(item):
        seed = zlib.crc32(np.ascontiguousarray(item[name]).tobytes(), seed)
    return {**item, _SEED: seed}


class _Seeded(Dataset[dict[str, Any]]):
    """Prepared rows, each with its seed."""

    def __init__(self, dataset: Dataset[dict[str, Any]]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # pyright: ignore[reportArgumentType]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return _with_seed(self.dataset[index])
