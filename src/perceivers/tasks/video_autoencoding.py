"""Video auto-encoding: frames, sound and label of a clip into latents and back, window by window."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from perceivers.adapters.audio import AudioInputConfig, AudioOutputConfig
from perceivers.adapters.label import LabelOutputConfig
from perceivers.adapters.multimodal import MultimodalInputConfig, MultimodalOutputConfig
from perceivers.adapters.video import VideoInputConfig, VideoOutputConfig
from perceivers.config import override
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.nn.convolution import space_to_depth
from perceivers.processing.audio import Stereo
from perceivers.processing.heat_pictures import heat_on_frames, heat_on_wave
from perceivers.processing.video import Clip, ClipForm, ClipWindow, clip_from_arrays, open_clip
from perceivers.tasks.base import TASKS, Metrics, Part, Rows, Step, Summary, Task, to_device
from perceivers.tasks.drawing import below, captioned
from perceivers.tasks.reconstruction import AUDIO_PEAK, VIDEO_PEAK, VideoResult, Window
from perceivers.tasks.scores import means

if TYPE_CHECKING:
    from typing_extensions import Self

_MODALITIES = {"audio", "video", "label"}
_CLIP_KEYS = ("video", "frame_rate", "audio", "sample_rate")
_NO_LABEL = -100
# Windows of the size of Kinetics take 2.5 MB each, those of `clips-small` 33 kB.
_KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True, kw_only=True)
class VideoAutoencodingSettings:
    """Settings of video auto-encoding.

    Args:
        labels: Label names, in the order of the outputs.
        frame_rate: Frames a second that the model reads; the rate of its samples follows from how many go with them.
        stereo: How two channels become one: `mix` them, or take the `first`, as the original's example does.
        max_windows: Read at most so many windows of a clip; `None` reads all.
        chunk_size: Outputs that are asked for at once, which bounds the memory; the answers do not depend on it.
        num_video_outputs: Pixels, or blocks of them, that are asked for in a step of training, drawn at random.
        num_audio_outputs: Runs of samples likewise.
        error: What the loss takes of pixels and samples: the `absolute` error, as the paper, or the `squared` one.
            While a model hardly knows where a small shape is, the absolute error is least when it leaves the shape out;
            the squared one falls with every hint of it.
        video_weight: Weight of the pixels' mean error in the loss.
        audio_weight: Weight of the samples' mean error.
        label_weight: Weight of the label's cross-entropy.
    """

    labels: tuple[str, ...] = ()
    frame_rate: float = 25.0
    stereo: Stereo = "mix"
    max_windows: int | None = None
    chunk_size: int = 16384
    num_video_outputs: int = 512
    num_audio_outputs: int = 512
    error: Literal["absolute", "squared"] = "absolute"
    video_weight: float = 0.03
    audio_weight: float = 1.0
    label_weight: float = 0.0001

    def __post_init__(self) -> None:
        for name in ("chunk_size", "num_video_outputs", "num_audio_outputs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        if self.max_windows is not None and self.max_windows < 1:
            raise ValueError(f"max_windows ({self.max_windows}) must be at least 1")


@TASKS.register("video-autoencoding")
class VideoAutoencoding(Task[VideoAutoencodingSettings]):
    """Frames, sound and label of each window of a clip, from the latents that it was read into."""

    Settings = VideoAutoencodingSettings
    roles: ClassVar[tuple[str, ...]] = ("video",)
    optional_roles: ClassVar[tuple[str, ...]] = ("label",)
    input_role = "video"
    default_model = "video-autoencoding-small"
    released_model = "video-autoencoding"
    batch_size = 1
    score = "video_psnr"

    def __init__(self, settings: VideoAutoencodingSettings, config: PerceiverConfig) -> None:
        super().__init__(settings, config)
        inputs, outputs = config.inputs, config.outputs
        if not (
            isinstance(inputs, MultimodalInputConfig)
            and isinstance(outputs, MultimodalOutputConfig)
            and set(inputs.inputs) == set(outputs.outputs) == _MODALITIES
        ):
            raise ValueError(
                f"video-autoencoding needs a model with audio, video and label as inputs and outputs, "
                f"not '{config.inputs.kind}' and '{config.outputs.kind}'"
            )
        video, audio, label = inputs.inputs["video"], inputs.inputs["audio"], outputs.outputs["label"]
        assert isinstance(video, VideoInputConfig)
        assert isinstance(audio, AudioInputConfig)
        assert isinstance(label, LabelOutputConfig)
        if settings.labels and len(settings.labels) != label.num_classes:
            raise ValueError(f"{len(settings.labels)} labels do not fit a model of {label.num_classes}")
        sound = outputs.outputs["audio"]
        assert isinstance(sound, AudioOutputConfig)
        self.samples_per_patch = sound.samples_per_patch
        frames = outputs.outputs["video"]
        # Side and frames of what a query answers.
        self.block = (frames.patch_size, frames.num_block_frames) if isinstance(frames, VideoOutputConfig) else (1, 1)
        self.num_classes = label.num_classes
        self.hides_label = "label" in inputs.mask_probabilities
        self.sample_rate = round(settings.frame_rate * audio.num_samples / video.num_frames)
        self.form = ClipForm(
            num_frames=video.num_frames,
            frame_rate=settings.frame_rate,
            size=video.image_size,
            sample_rate=self.sample_rate,
            num_samples=audio.num_samples,
            stereo=settings.stereo,
        )

    @classmethod
    def fit(cls, config: PerceiverConfig, labels: Sequence[str] | None, settings: Mapping[str, Any]) -> "Self":
        """Give the model one output a label, when the data has labels; see `Task.fit`."""
        if labels and isinstance(config.outputs, MultimodalOutputConfig):
            places = ("inputs.inputs.label.num_classes", "outputs.outputs.label.num_classes")
            config = override(config, dict.fromkeys(places, len(labels)))
            settings = {**settings, "labels": list(labels)}
        return super().fit(config, labels, settings)

    @classmethod
    def example(cls) -> "tuple[Self, Rows]":
        """Return a tiny task on noise, of one window and of two."""
        from perceivers.zoo import ZOO

        changes = {
            "inputs.inputs.video.num_frames": 2,
            "inputs.inputs.video.image_size": [8, 12],
            "inputs.inputs.video.positioned.positions.max_resolution": [2, 2, 3],
            "inputs.inputs.audio.num_samples": 64,
            "inputs.inputs.audio.positioned.positions.max_resolution": [64],
            "inputs.mask_probabilities": {"audio": 0.3, "video": 0.3, "label": 0.7},
            "queries.queries.video.grid_shape": [2, 8, 12],
            "queries.queries.audio.grid_shape": [4],
            "encoder.num_latents": 4,
            "encoder.num_layers_per_block": 1,
        }
        config = override(ZOO[cls.default_model].config, changes)
        noise = np.random.default_rng(0)
        rows = []
        for i, length in enumerate((2, 4, 2, 2)):
            video = noise.integers(0, 256, (length, 8, 12, 3), dtype=np.uint8)
            audio = noise.uniform(-1, 1, 32 * length).astype(np.float32)
            clip = {"video": video, "frame_rate": 25.0, "audio": audio, "sample_rate": 800}
            rows.append({"video": clip, "label": i % 2})
        return cls.fit(config, ("a", "b"), {"num_video_outputs": 64, "num_audio_outputs": 4}), rows

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Label names; `None` for a model that was trained without."""
        return self.settings.labels or None

    def open(self, value: Any, *, start: float = 0.0) -> Clip:
        """Open a clip in the form that the model reads.

        Args:
            value: A video file; an array (T, H, W, 3) at the model's frame rate; or a mapping with `video`, one of
                these, for an array also with `frame_rate` and, when there is sound, `audio` and `sample_rate`; see
                `clip_from_arrays`.
            start: Seconds from the beginning.

        Raises:
            ValueError: The file cannot be read, or the arrays have another form.
        """
        if not isinstance(value, Mapping):
            value = {"video": value}
        if "video" not in value or set(value) - set(_CLIP_KEYS):
            raise ValueError(f"a clip must be a file, an array, or a mapping with {list(_CLIP_KEYS)}")
        if isinstance(value["video"], str | Path):
            return open_clip(value["video"], self.form, start=start)
        rate = float(value.get("frame_rate", self.settings.frame_rate))
        video, audio, sample_rate = np.asarray(value["video"]), value.get("audio"), value.get("sample_rate")
        if start:
            video = video[round(start * rate) :]
        if audio is not None and start:
            audio = np.asarray(audio)[..., round(start * (sample_rate or 1)) :]
        return clip_from_arrays(video, rate, audio, sample_rate, self.form)

    def dataset(self, rows: Rows, *, training: bool) -> Dataset[dict[str, Any]]:
        """Return one example for each whole window of each clip, and one for a clip that is shorter."""
        return ClipWindows(self, rows)

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the first window of a clip, or the one at `start` seconds, and the id of its label, if it has one."""
        clip = self.open(row["video"], start=row.get("start", 0.0))
        label = row.get("label")
        return {**_item(next(iter(clip))), "label": _NO_LABEL if label is None else int(label)}

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return `video` (B, T, H, W, 3), `audio` (B, S) and, when there, `label` (B,), -100 where it is not known."""
        batch = {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in ("video", "audio")}
        if "label" in items[0]:
            batch["label"] = torch.tensor([item["label"] for item in items])
        return batch

    def step(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        """Return the weighted loss over a random part of the outputs while training, over all when evaluating.

        The label is shown while training only, as often as the model's `mask_probabilities` leave it.
        """
        label = batch["label"]
        known = label != _NO_LABEL
        inputs = {"video": batch["video"], "audio": batch["audio"], **self._shown(model, label)}
        video, audio = batch["video"] / 255, batch["audio"]
        if model.training:
            video = space_to_depth(video, *self.block).flatten(1, 3)
            audio = audio.unflatten(1, (-1, self.samples_per_patch))
            where = self._random_part({"video": video.shape[1], "audio": audio.shape[1]}, label.device)
            answers = model(inputs, where=where)
            video, audio = video[:, where["video"]], audio[:, where["audio"]]
            scores = answers["label"][:, 0]
        else:
            answers = model.decode(model.encode(inputs), chunk_size=self.settings.chunk_size)
            scores = answers["label"]
        answers = {"video": answers["video"], "audio": answers["audio"], "label": scores}
        settings = self.settings
        loss = settings.video_weight * self._error(answers["video"] - video)
        loss = loss + settings.audio_weight * self._error(answers["audio"] - audio)
        nats = functional.cross_entropy(scores, label, ignore_index=_NO_LABEL, reduction="sum")
        naming = Part(settings.label_weight * nats / known.sum().clamp(min=1), known.sum())
        return Step(loss + naming.mean, answers, {"video": video, "audio": audio, "label": label}, (naming,))

    def metrics(self) -> Metrics:
        """Return the PSNR of frames and of sound in dB, each the mean over windows, and the share of right labels."""
        return means("video_psnr", "audio_psnr", "accuracy")

    def update(self, metrics: Metrics, step: Step) -> None:
        """Count the windows of one batch."""
        for name, peak in (("video", VIDEO_PEAK), ("audio", AUDIO_PEAK)):
            errors = (step.outputs[name] - step.targets[name]).double().square().flatten(1).mean(dim=1)
            # A window that comes back to the bit would count as infinitely good.
            metrics[f"{name}_psnr"].update(10 * torch.log10(peak**2 / errors.clamp(min=1e-12)))
        label = step.targets["label"]
        known = label != _NO_LABEL
        right = (step.outputs["label"].argmax(dim=-1) == label).double()
        metrics["accuracy"].update(right, weight=known.double())

    def pieces(self, value: Any) -> Iterator[dict[str, Any]]:
        """Cut a clip into windows."""
        for i, window in enumerate(self.open(value)):
            if i == self.settings.max_windows:
                return
            yield _item(window)

    def predict(self, model: PerceiverIO, inputs: Sequence[Any], *, top_k: int = 5) -> list[VideoResult]:
        """Return what comes back of each clip, and its `top_k` labels.

        Raises:
            ValueError: A clip cannot be read.
        """
        return [self._reconstruct(model, self.open(value), top_k) for value in inputs]

    def summary(self, result: VideoResult) -> Summary:
        """Return labels, PSNR, and what was done to the clip."""
        return [result.summary()]

    def picture(self, value: Any, result: VideoResult) -> Image.Image:
        """Draw a few frames above those that came back."""
        return result.sheet()

    def save(self, value: Any, result: VideoResult, folder: Path, name: str) -> list[Path]:
        """Write the clip that came back, both side by side, pictures and a summary; see `VideoResult.save`."""
        return result.save(folder, name)

    def draw_weights(self, item: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Image.Image:
        """Colour the frames and the wave."""
        frames = heat_on_frames(item["video"], weights["video"])
        wave = heat_on_wave(item["audio"], self.sample_rate, weights["audio"])
        shares = {name: f"{name}: {float(part.sum()):.1%} of the attention" for name, part in weights.items()}
        return below([captioned(frames, shares["video"]), captioned(wave, f"{shares['audio']}; {shares['label']}")])

    @torch.inference_mode()
    def _reconstruct(self, model: PerceiverIO, clip: Clip, top_k: int) -> VideoResult:
        windows: list[Window] = []
        for window in clip:
            windows.append(self._window(model, window))
            if len(windows) == self.settings.max_windows:
                break
        labels = self.settings.labels or tuple(f"LABEL_{i}" for i in range(self.num_classes))
        return VideoResult(
            windows=tuple(windows),
            labels=labels,
            top_k=top_k,
            frame_rate=self.settings.frame_rate,
            sample_rate=self.sample_rate,
            has_audio=clip.has_audio,
            notes=clip.notes,
        )

    def _window(self, model: PerceiverIO, window: ClipWindow) -> Window:
        latents = model.encode(to_device(self.collate([_item(window)]), model))
        answers = model.decode(latents, chunk_size=self.settings.chunk_size)
        frames, samples = window.num_real_frames, window.num_real_samples
        video = answers["video"][0, :frames].float().clamp(0, 1).cpu().numpy()
        audio = answers["audio"][0, :samples].float().clamp(-1, 1).cpu().numpy()
        before = window.video[:frames].astype(np.float32) / 255
        return Window(
            video=window.video[:frames],
            audio=window.audio[:samples],
            video_out=np.rint(video * 255).astype(np.uint8),
            audio_out=audio,
            video_mse=float(np.square(video - before, dtype=np.float64).mean()),
            audio_mse=float(np.square(audio - window.audio[:samples], dtype=np.float64).mean()) if samples else 0.0,
            probabilities=answers["label"][0].double().softmax(dim=-1).cpu().numpy(),
            start=window.start,
        )

    def _error(self, difference: Tensor) -> Tensor:
        return (difference.abs() if self.settings.error == "absolute" else difference.square()).mean()

    def _shown(self, model: PerceiverIO, label: Tensor) -> dict[str, Tensor]:
        """Return what the model sees of the labels: what it has to guess when it is scored is hidden.

        As in the original (section 4.3), hiding the label makes the auto-encoder a classifier.
        """
        if not model.training and self.hides_label:
            return {}
        # What is not known is shown as a spread over all labels.
        known = (label != _NO_LABEL)[:, None] & model.training
        ids = functional.one_hot(label.clamp(min=0), self.num_classes).to(torch.float32)
        return {"label": torch.where(known, ids, 1 / self.num_classes)}

    def _random_part(self, counts: Mapping[str, int], device: torch.device) -> dict[str, Tensor]:
        """Draw which outputs, of so many, a step of training asks for, the same for all rows."""
        wanted = {"video": self.settings.num_video_outputs, "audio": self.settings.num_audio_outputs}
        where = {"label": torch.zeros(1, dtype=torch.long, device=device)}
        for name, count in wanted.items():
            where[name] = torch.randint(counts[name], (count,)).to(device)
        return where


class ClipWindows(Dataset[dict[str, Any]]):
    """The windows of all clips, each read from its file when it is asked for.

    To come to a window, a decoder goes through frames before it, for a tenth of a second or more. As many windows as
    there is room for are kept, in each process that reads.

    Args:
        task: Reads clips.
        rows: The data.
        room: Bytes of windows that are kept.
    """

    def __init__(self, task: VideoAutoencoding, rows: Rows, *, room: int = _KEPT_BYTES) -> None:
        self.task = task
        self.rows = rows
        self.room = room
        self.kept: dict[int, dict[str, Any]] = {}
        seconds = task.form.num_frames / task.form.frame_rate
        self.starts: list[tuple[int, float]] = []
        for index, row in enumerate(rows):
            length = task.open(row["video"]).seconds
            # A file may last a little less than it says: only windows that are whole by far are taken.
            count = 1 if length is None else max(int(length / seconds + 0.01), 1)
            count = min(count, task.settings.max_windows or count)
            self.starts += [(index, i * seconds) for i in range(count)]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index in self.kept:
            return dict(self.kept[index])
        row, start = self.starts[index]
        item = self.task.prepare({**self.rows[row], "start": start})
        size = item["video"].nbytes + item["audio"].nbytes
        if size <= self.room:
            self.room -= size
            self.kept[index] = dict(item)
        return item


def _item(window: ClipWindow) -> dict[str, Any]:
    return {"video": window.video, "audio": window.audio}
