"""Audio classification: a wave in, label scores out; read as it is or as a spectrogram, as the model wants it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Float32
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from perceivers.adapters.audio import AudioInputConfig
from perceivers.adapters.spectrogram import SpectrogramInputConfig
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.processing.audio import check_rate
from perceivers.processing.heat_pictures import heat_on_wave
from perceivers.processing.sound_pictures import draw_sound
from perceivers.processing.sounds import read_sound
from perceivers.tasks.base import TASKS, Metrics, Result, Rows, Step, stack
from perceivers.tasks.classes import (
    Classification,
    ClassificationSettings,
    first_answers,
    present_tags,
    tag_step,
    tags_of,
    target_of,
)
from perceivers.tasks.drawing import beside, draw_bars
from perceivers.tasks.sound_augment import SoundAugmentConfig, SoundAugmenter

if TYPE_CHECKING:
    from typing_extensions import Self

_DEFAULT_RATE = 16000


@dataclass(frozen=True, kw_only=True)
class AudioClassificationSettings(ClassificationSettings):
    """Settings of audio classification, besides those of every classification.

    Args:
        sample_rate: Samples a second that all sound is brought to; `None` takes that of the model's spectrogram, which
            must not be another, and 16,000 for models that read the wave itself.
        multi_label: Whether a clip may have any number of labels; labels are then lists, each is answered on its own,
            and the score is the mean average precision over labels, as for AudioSet (Perceiver, section 4.2).
        loudness: Leave it, or bring the highest peak of each clip to 1.
        allow_silence: Take clips whose samples are all 0; otherwise they are refused, as mistakes in recording.
        augment: Random changes while training.
    """

    sample_rate: int | None = None
    multi_label: bool = False
    loudness: Literal["keep", "peak"] = "keep"
    allow_silence: bool = False
    augment: SoundAugmentConfig = field(default_factory=SoundAugmentConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sample_rate is not None:
            check_rate(self.sample_rate)
        if self.multi_label and self.class_weights is not None:
            raise ValueError("class_weights are for one label a clip; with multi_label they mean nothing")


@TASKS.register("audio-classification")
class AudioClassification(Classification[AudioClassificationSettings]):
    """One label a clip, or several; of a clip longer than the model reads, answers are about the middle."""

    Settings = AudioClassificationSettings
    roles: ClassVar[tuple[str, ...]] = ("audio", "label")
    input_role = "audio"
    default_model = "audio-spectrogram-small"

    def __init__(self, settings: AudioClassificationSettings, config: PerceiverConfig) -> None:
        super().__init__(settings, config)
        inputs = config.inputs
        if not isinstance(inputs, AudioInputConfig | SpectrogramInputConfig):
            raise ValueError(
                f"audio-classification needs a model with audio or spectrogram inputs, not '{inputs.kind}'"
            )
        own = inputs.sample_rate if isinstance(inputs, SpectrogramInputConfig) else None
        if own is not None and settings.sample_rate not in (None, own):
            raise ValueError(f"sample_rate ({settings.sample_rate}) must be that of the model's spectrogram, {own}")
        self.sample_rate = own or settings.sample_rate or _DEFAULT_RATE
        self.num_samples = inputs.num_samples
        self.augmenter = SoundAugmenter(settings.augment, self.num_samples, self.sample_rate)
        if settings.multi_label:
            self.score = "map"

    @classmethod
    def example(cls) -> "tuple[Self, Rows]":
        """Return a tiny task on tones, shorter and longer than what the model reads."""
        from perceivers.config import override
        from perceivers.zoo import ZOO

        changes = {"inputs.num_samples": 1280, "encoder.num_latents": 4, "encoder.num_layers_per_block": 1}
        rows = []
        for i in range(6):
            wave = np.sin(np.arange(900 + 200 * i) * 0.2 * (1 + i % 3)).astype(np.float32)
            rows.append({"audio": {"array": wave, "sampling_rate": 8000}, "label": i % 3})
        config = override(ZOO["audio-spectrogram-small"].config, changes)
        return cls.fit(config, ("low", "middle", "high"), {}), rows

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the middle of the clip, `audio` (S,), padded at both ends where it is shorter, and its mask."""
        wave = self._read(row)
        audio, keep_mask = np.zeros(self.num_samples, np.float32), np.zeros(self.num_samples, bool)
        start = (len(wave) - self.num_samples) // 2
        cut = wave[max(start, 0) :][: self.num_samples]
        place = slice(max(-start, 0), max(-start, 0) + len(cut))
        audio[place], keep_mask[place] = cut, True
        return {"audio": audio, "audio_keep_mask": keep_mask, **self._target(row)}

    def dataset(self, rows: Rows, *, training: bool) -> Dataset[dict[str, Any]]:
        """Return prepared rows; for training whole clips, which `augment` cuts."""
        return _WholeClips(self, rows) if training else super().dataset(rows, training=False)

    def whole(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the whole clip, `audio` (L,), with its mask."""
        wave = self._read(row)
        return {"audio": wave, "audio_keep_mask": np.ones(len(wave), bool), **self._target(row)}

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return `audio` and `audio_keep_mask` (B, L), padded to the longest, and, when known, `label`."""
        longest = max(len(item["audio"]) for item in items)
        padded = [
            {**item, **{key: np.pad(item[key], (0, longest - len(item[key]))) for key in ("audio", "audio_keep_mask")}}
            for item in items
        ]
        return {key: stack(padded, key) for key in items[0]}

    def augment(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Cut whole clips and apply the random changes of `settings.augment` while training."""
        if not training:
            return batch
        audio, keep_mask = self.augmenter(batch["audio"], batch["audio_keep_mask"])
        return {**batch, "audio": audio, "audio_keep_mask": keep_mask}

    def step(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        """Return the cross-entropy of a batch, binary for each label where a clip may have several."""
        if not self.settings.multi_label:
            return super().step(model, batch)
        smoothing = self.settings.label_smoothing if model.training else 0.0
        return tag_step(first_answers(model(batch)), batch["label"], smoothing)

    def metrics(self) -> Metrics:
        """Return accuracy and F1; with several labels mean average precision, and F1 at a score of a half."""
        if not self.settings.multi_label:
            return super().metrics()
        from torchmetrics import MetricCollection
        from torchmetrics.classification import MultilabelAveragePrecision, MultilabelF1Score

        count = len(self.labels)
        return MetricCollection(
            {"map": MultilabelAveragePrecision(count), "f1": MultilabelF1Score(count, average="macro")}
        )

    def present(self, logits: Float[Tensor, "B E"], top_k: int) -> list[Result]:
        """Return the best labels of each row; with several labels each has a score of its own."""
        several = self.settings.multi_label
        return present_tags(logits, self.labels, top_k) if several else super().present(logits, top_k)

    def picture(self, value: Any, result: Result) -> Image.Image:
        """Draw wave and spectrogram of the whole clip beside the scores."""
        wave = read_sound(self.row_of(value)[self.input_role], self.sample_rate)
        return beside(draw_sound(wave, self.sample_rate), draw_bars(result))

    def draw_weights(self, item: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Image.Image:
        """Colour the wave; of patches of a spectrogram, those of one time count together."""
        found = weights[self.input_role]
        return heat_on_wave(item["audio"], self.sample_rate, found if found.ndim == 1 else found.sum(axis=1))

    def _read(self, row: Mapping[str, Any]) -> Float32[np.ndarray, " L"]:
        wave = read_sound(row[self.input_role], self.sample_rate)
        peak = float(np.abs(wave).max())
        if not peak and not self.settings.allow_silence:
            raise ValueError(
                f"{_name(row[self.input_role])} is silent: all its {len(wave)} samples are 0; "
                f"with allow_silence=true that is taken"
            )
        return wave / peak if peak and self.settings.loudness == "peak" else wave

    def _target(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return tags_of(row, len(self.labels)) if self.settings.multi_label else target_of(row)


class _WholeClips(Dataset[dict[str, Any]]):
    """Clips of any length, as training takes them."""

    def __init__(self, task: AudioClassification, rows: Rows) -> None:
        self.task = task
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.task.whole(self.rows[index])


def _name(value: Any) -> str:
    path = value.get("path") if isinstance(value, Mapping) else value
    return f"sound file '{path}'" if path is not None and not isinstance(path, bytes | np.ndarray) else "the sound"
