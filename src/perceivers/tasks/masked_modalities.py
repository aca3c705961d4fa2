"""What masked auto-encoding has to know of a modality: who reads it, where it is asked for, and how it is scored.

Reading an input is left to the task that the modality is mostly used for, so that what a model is pre-trained on has
the form that it is fine-tuned on. Every modality is asked for through a grid of places. A modality of a plugin is one
more class, entered into `MODALITIES` under its input config.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from perceivers.adapters import InputConfig, OutputConfig, RawTokens
from perceivers.adapters.image import GridQueryConfig, PixelOutputConfig
from perceivers.config import from_json
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import PerceiverConfig
from perceivers.nn.positions import FourierPositionConfig, PositionConfig
from perceivers.tasks.base import TASKS, Metrics, Rows, Step, Task

Loss = Literal["mse", "l1"]
InputsT = TypeVar("InputsT", bound=InputConfig)


@dataclass(frozen=True)
class Restored:
    """An input of which a part was hidden, as it was, as it was shown, and as it came back.

    Args:
        original: In the form of the modality: an image or its spectrogram as an array, samples, points, text.
        shown: Without what was hidden.
        restored: What was shown, with the model's answers in the place of the rest.
        hidden: Which tokens were hidden, in the form of their grid.
        scores: The metrics of this input alone.
    """

    original: Any
    shown: Any
    restored: Any
    hidden: Bool[np.ndarray, "*grid"]
    scores: Mapping[str, float]


class Modality(ABC, Generic[InputsT]):
    """One modality under masked auto-encoding.

    Args:
        config: The model.
        reading: Settings of the task that reads the inputs.
    """

    read_by: ClassVar[str]  # name of the task
    mask_share: ClassVar[float]
    score: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    # Whether tokens that follow each other along an axis are neighbours.
    in_order: ClassVar[bool] = True

    def __init__(self, config: PerceiverConfig, reading: Mapping[str, Any]) -> None:
        self.inputs = cast(InputsT, config.inputs)
        self.config = config
        self.reading = reading
        with torch.device("meta"):
            # Only shapes are wanted.
            adapter = config.inputs.build()
            batch = adapter.example_batch(1)
        self.example = adapter.raw(batch)

    @classmethod
    def roles(cls) -> tuple[str, ...]:
        """Return the columns of data that are read."""
        return (TASKS[cls.read_by].input_role,)

    @cached_property
    def reader(self) -> Task[Any]:
        """The task that reads inputs.

        Raises:
            ValueError: A setting of it is wrong.
        """
        from perceivers.zoo import ZOO

        cls = TASKS[self.read_by]
        settings = from_json(cls.Settings, self.reading, f"reading ({self.read_by} settings)")
        return cls(settings, self.reading_model(ZOO[cls.default_model].config))

    @property
    def grid(self) -> tuple[int, ...]:
        """The grid of places that can be asked for."""
        return self.example.grid_shape

    def head(self) -> PerceiverConfig:
        """Return the model with queries for each place, and outputs as wide as what is there.

        Queries that are such already keep their positions and the decoder.
        """
        config = self.config
        queries, decoder = config.queries, config.decoder
        if isinstance(queries, GridQueryConfig):
            queries = replace(queries, grid_shape=self.grid)
        else:
            queries = GridQueryConfig(grid_shape=self.grid, positions=self.positions())
            encoder = config.encoder
            # Its attention is as wide, and has as many heads, as that of the latents.
            decoder = CrossAttentionDecoderConfig(
                num_heads=encoder.num_self_heads,
                qk_channels=encoder.qk_channels,
                v_channels=encoder.v_channels,
                widening_factor=2,
                query_residual=True,
            )
        return replace(config, queries=queries, decoder=decoder, outputs=self.outputs())

    def positions(self) -> PositionConfig:
        """Return positions about as wide as a latent, which tell the places apart."""
        bands = math.ceil(self.config.encoder.latent_channels / (2 * len(self.grid)))
        return FourierPositionConfig(num_bands=bands)

    def outputs(self) -> OutputConfig:
        """Return outputs as wide as a token."""
        return PixelOutputConfig(num_channels=self.example.values.shape[-1])

    def dataset(self, rows: Rows, *, training: bool) -> Dataset[dict[str, Any]]:
        """Return rows as examples."""
        return self.reader.dataset(rows, training=training)

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of data as arrays."""
        return self.reader.prepare(row)

    def augment(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Change a batch at random, as the task that reads it does."""
        return self.reader.augment(batch, training=training)

    def ask(self, raw: RawTokens, where: Int[Tensor, "B K"]) -> tuple[Int[Tensor, "B K"], Tensor]:
        """Return the places to ask for hidden tokens at, and what should be answered there.

        Args:
            raw: What the tokens are made of.
            where: The hidden ones.
        """
        index = where[..., None].expand(-1, -1, raw.values.shape[-1])
        return where, raw.values.take_along_dim(index, dim=1)

    def errors(self, answers: Tensor, targets: Tensor, loss: Loss) -> Float[Tensor, "B K"]:
        """Return the loss of each answer."""
        difference = answers - targets
        return (difference.abs() if loss == "l1" else difference.square()).mean(dim=-1)

    def target_of(self, targets: Tensor, counts: Bool[Tensor, "B K"]) -> Tensor:
        """Return targets in which those that do not count are marked."""
        return targets.masked_fill(~counts[..., None], torch.nan)

    @abstractmethod
    def metrics(self) -> Metrics:
        """Return fresh metrics; `score` names one of them."""

    @abstractmethod
    def update(self, metrics: Metrics, step: Step) -> None:
        """Count one batch."""

    def fill(
        self, values: Tensor, hidden: Int[Tensor, "K"], answers: Float[Tensor, "K E"], where: Int[Tensor, "K"]
    ) -> Tensor:
        """Return the tokens of one input with answers in the place of the hidden ones.

        Args:
            values: The tokens, (M, E) or (M,).
            hidden: Which are hidden.
            answers: What the model said of them.
            where: The places that it was asked at.
        """
        return values.index_copy(0, hidden, answers.to(values))

    def blank(self, values: Tensor, hidden: Bool[Tensor, "M"]) -> Tensor:
        """Return the tokens of one input without the hidden ones; numbers become their mean, 0."""
        return values.masked_fill(hidden[:, None], 0)

    @abstractmethod
    def present(self, values: Tensor, grid_shape: tuple[int, ...]) -> Any:
        """Return the tokens of one input in the form of the modality."""

    @abstractmethod
    def draw(self, result: Restored) -> Image.Image:
        """Draw an input as it was, as it was shown and as it came back."""

    def draw_weights(self, item: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Image.Image:
        """Draw attention on an input."""
        return self.reader.draw_weights(item, weights)

    def reading_model(self, usual: PerceiverConfig) -> PerceiverConfig:
        """Return the model with a head that the task that reads inputs takes; it is asked nothing.

        Args:
            usual: The usual model of that task.
        """
        return replace(self.config, queries=usual.queries, decoder=usual.decoder, outputs=usual.outputs)


MODALITIES: dict[type[InputConfig], type[Modality[Any]]] = {}


def modality_of(config: PerceiverConfig) -> type[Modality[Any]]:
    """Return the modality that a model reads.

    Raises:
        ValueError: It cannot be masked.
    """
    for cls in type(config.inputs).__mro__:
        if cls in MODALITIES:
            return MODALITIES[cls]
    known = [kind for kind in InputConfig.kinds if any(cls in MODALITIES for cls in InputConfig.kinds[kind].__mro__)]
    raise ValueError(
        f"masked-autoencoding does not know how to mask '{config.inputs.kind}' inputs; choices = {known}. A plugin "
        f"enters its own into MODALITIES; several modalities at once are masked by video-autoencoding, with the "
        f"mask_probabilities of their input side"
    )
