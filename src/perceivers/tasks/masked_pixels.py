"""Masked auto-encoding of images, video and pairs of frames: hidden patches come back, judged by their PSNR."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, reduce
from typing import Any, ClassVar, TypeVar

import numpy as np
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from perceivers.adapters.audio import AudioInputConfig
from perceivers.adapters.flow import FlowInputConfig
from perceivers.adapters.image import ImageInputConfig
from perceivers.adapters.multimodal import MultimodalInputConfig
from perceivers.adapters.video import VideoInputConfig
from perceivers.model import PerceiverConfig
from perceivers.processing.flow import pad_to
from perceivers.processing.heat_pictures import heat_on_frames
from perceivers.tasks.base import Metrics, Rows, Step, Task
from perceivers.tasks.drawing import below, beside, captioned
from perceivers.tasks.masked_modalities import MODALITIES, Modality, Restored

# Height of a single image in a picture, of one frame of several, and how many frames are drawn.
_IMAGE_HEIGHT, _FRAME_HEIGHT, _MOST_FRAMES = 192, 128, 4
PixelsT = TypeVar("PixelsT", bound=ImageInputConfig | VideoInputConfig | FlowInputConfig)
_CAPTIONS = ("original", "what was read", "restored")


class PixelModality(Modality[PixelsT]):
    """Tokens of normalised pixels, colour last."""

    mask_share: ClassVar[float] = 0.75
    score: ClassVar[str] = "psnr"

    def metrics(self) -> Metrics:
        """Return the peak signal-to-noise ratio of the hidden pixels, in dB, for values in [0, 1]."""
        from torchmetrics import MetricCollection
        from torchmetrics.image import PeakSignalNoiseRatio

        return MetricCollection({self.score: PeakSignalNoiseRatio(data_range=1.0)})

    def update(self, metrics: Metrics, step: Step) -> None:
        """Count one batch."""
        counts = ~step.targets.isnan().any(dim=-1)
        if counts.any():
            deviation = _along(step.targets, self.inputs.std)
            metrics.update(step.outputs[counts].float() * deviation, step.targets[counts].float() * deviation)

    def present(self, values: Tensor, grid_shape: tuple[int, ...]) -> UInt8[np.ndarray, "T H W C"]:
        """Return frames; of an image one."""
        pixels = values * _along(values, self.inputs.std) + _along(values, self.inputs.mean)
        frames = self.frames(pixels.clamp(0, 1), grid_shape)
        return np.rint(frames.cpu().numpy() * 255).astype(np.uint8)

    @abstractmethod
    def frames(self, values: Float[Tensor, "M E"], grid_shape: tuple[int, ...]) -> Float[Tensor, "T H W C"]:
        """Put the pixels of all tokens together."""

    def draw(self, result: Restored) -> Image.Image:
        """Draw images beside, and frames of a clip below one another."""
        clips = (result.original, result.shown, result.restored)
        single = len(result.original) == 1
        height = _IMAGE_HEIGHT if single else _FRAME_HEIGHT
        strips = [captioned(_strip(clip, height), name) for name, clip in zip(_CAPTIONS, clips, strict=True)]
        return reduce(beside, strips) if single else below(strips)


class ImageModality(PixelModality[ImageInputConfig]):
    """Patches, cells or single pixels of an image."""

    read_by: ClassVar[str] = "image-classification"

    @cached_property
    def reader(self) -> Task[Any]:
        """The task that reads images.

        Raises:
            ValueError: It would read them at another size.
        """
        reader, size = super().reader, self.inputs.image_size
        if reader.settings.image_size not in (None, size):
            raise ValueError(f"reading.image_size {reader.settings.image_size} must be the model's own, {size}")
        return reader

    def frames(self, values: Float[Tensor, "M E"], grid_shape: tuple[int, ...]) -> Float[Tensor, "T H W C"]:
        """Return the image as one frame."""
        channels = self.inputs.image_channels
        side = math.isqrt(values.shape[-1] // channels)
        return rearrange(values, "(h w) (x y c) -> 1 (h x) (w y) c", h=grid_shape[0], x=side, c=channels)


class VideoModality(PixelModality[VideoInputConfig]):
    """Blocks of a clip's frames, without its sound; more of it can be hidden, as neighbouring frames are alike."""

    read_by: ClassVar[str] = "video-autoencoding"
    mask_share: ClassVar[float] = 0.9

    def frames(self, values: Float[Tensor, "M E"], grid_shape: tuple[int, ...]) -> Float[Tensor, "T H W C"]:
        """Return the clip."""
        inputs = self.inputs
        return rearrange(
            values,
            "(t h w) (z x y c) -> (t z) (h x) (w y) c",
            h=grid_shape[1],
            w=grid_shape[2],
            z=inputs.num_block_frames,
            x=inputs.patch_size,
            c=inputs.image_channels,
        )

    def draw_weights(self, item: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Image.Image:
        """Colour the frames."""
        return heat_on_frames(item["video"], weights[self.reader.input_role])

    def reading_model(self, usual: PerceiverConfig) -> PerceiverConfig:
        """Return a model of clips with sound that reads such frames; the sound is read along and not used."""
        inputs, others = self.inputs, usual.inputs
        assert isinstance(others, MultimodalInputConfig)
        audio = others.inputs["audio"]
        frames = others.inputs["video"]
        assert isinstance(audio, AudioInputConfig)
        assert isinstance(frames, VideoInputConfig)
        # As many samples a frame as usual, so that the rate is.
        count = audio.num_samples // frames.num_frames * inputs.num_frames
        parts = {**others.inputs, "audio": replace(audio, num_samples=count), "video": inputs}
        return replace(usual, inputs=replace(others, inputs=parts))


class FlowModality(PixelModality[FlowInputConfig]):
    """Pixels of two frames: hidden ones are hidden in both."""

    read_by: ClassVar[str] = "optical-flow"

    @classmethod
    def roles(cls) -> tuple[str, ...]:
        """Return the frames, whose motion need not be known."""
        return ("frame1", "frame2")

    def dataset(self, rows: Rows, *, training: bool) -> Dataset[dict[str, Any]]:
        """Return the middle of each pair."""
        return _Pairs(self, rows)

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the middle of two frames, (2, H, W, C), as large as the model reads."""
        frames = pad_to(self.reader.prepare(row)["frames"], self.inputs.image_size)
        height, width = self.inputs.image_size
        top, left = ((have - want) // 2 for have, want in zip(frames.shape[1:3], (height, width), strict=True))
        return {"frames": frames[:, top : top + height, left : left + width]}

    def augment(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Leave the batch as it is: the task that reads it cuts the motion along."""
        return batch

    def frames(self, values: Float[Tensor, "M E"], grid_shape: tuple[int, ...]) -> Float[Tensor, "T H W C"]:
        """Return the frames."""
        return rearrange(values, "(h w) (t c) -> t h w c", h=grid_shape[0], c=self.inputs.image_channels)


class _Pairs(Dataset[dict[str, Any]]):
    """Pairs of frames, read when they are asked for."""

    def __init__(self, modality: FlowModality, rows: Rows) -> None:
        self.modality = modality
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.modality.prepare(self.rows[index])


MODALITIES[ImageInputConfig] = ImageModality
MODALITIES[VideoInputConfig] = VideoModality
MODALITIES[FlowInputConfig] = FlowModality


def _along(values: Tensor, statistic: tuple[float, ...]) -> Float[Tensor, " E"]:
    """Return a statistic of each channel, or of all, for each number of a token."""
    return values.new_tensor(statistic).repeat(values.shape[-1] // len(statistic))


def _strip(clip: UInt8[np.ndarray, "T H W C"], height: int) -> Image.Image:
    """Draw some frames, the first and the last among them, next to each other."""
    chosen = np.unique(np.linspace(0, len(clip) - 1, min(_MOST_FRAMES, len(clip))).round().astype(int))
    width = max(round(clip.shape[2] * height / clip.shape[1]), 1)
    # Pixels stay pixels: it is they that are judged.
    images = [
        Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)
        .convert("RGB")
        .resize((width, height), Image.Resampling.NEAREST)
        for frame in clip[chosen]
    ]
    return reduce(lambda left, right: beside(left, right, gap=4), images)
