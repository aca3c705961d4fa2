"""Optical flow: two frames of any size in, the motion of each pixel out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from PIL import Image
from torch import Tensor

from perceivers.adapters.flow import FlowInputConfig, FlowOutputConfig
from perceivers.config import override
from perceivers.data.inputs import predict_inputs
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.processing.flow import blend, pad_to, read_flow, tile_corners
from perceivers.processing.heat_pictures import heat_on_image
from perceivers.processing.image import read_image
from perceivers.tasks.base import TASKS, Metrics, Part, Rows, Step, Summary, Task, to_device
from perceivers.tasks.flow_augment import FlowAugmentConfig, FlowAugmenter
from perceivers.tasks.flow_result import FlowResult, Frame
from perceivers.tasks.flow_sizes import resize_flow, resize_frames, resize_truth
from perceivers.tasks.scores import means

if TYPE_CHECKING:
    from typing_extensions import Self

_LIMITS = (1, 3, 5)


@dataclass(frozen=True, kw_only=True)
class OpticalFlowSettings:
    """Settings of optical flow.

    Args:
        whole: Read frames as a whole, at the size of a tile, instead of in tiles at their own size: large motions
            become small ones, which small models find, and small things are lost.
        min_overlap: Pixels that neighbouring tiles share at least.
        even_tiles: Spread the tiles evenly, as the paper's evaluation does. Otherwise they follow each other from the
            top left and the last ones end at the border, as in the original's example.
        tiles_per_batch: Tiles that the model reads at once.
        chunk_size: Pixels of a tile that are asked for at once, which bounds the memory; the answers do not depend
            on it.
        loss: What training makes small: the distance between the motions ("epe"), or the sum of the absolute
            differences of their parts ("l1").
        num_outputs: Pixels that are asked for in each pair of frames in a step of training, drawn at random from
            those whose motion is known; `None` asks for all of these.
        augment: Random changes while training.
    """

    whole: bool = False
    min_overlap: int = 20
    even_tiles: bool = False
    tiles_per_batch: int = 1
    chunk_size: int = 32768
    loss: Literal["epe", "l1"] = "epe"
    num_outputs: int | None = None
    augment: FlowAugmentConfig = field(default_factory=FlowAugmentConfig)

    def __post_init__(self) -> None:
        for name in ("tiles_per_batch", "chunk_size", "num_outputs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} ({value}) must be at least 1")
        if self.min_overlap < 0:
            raise ValueError(f"min_overlap ({self.min_overlap}) must be at least 0")


@TASKS.register("optical-flow")
class OpticalFlow(Task[OpticalFlowSettings]):
    """The motion of each pixel of a frame; frames larger than the model reads are cut into tiles that overlap."""

    Settings = OpticalFlowSettings
    roles: ClassVar[tuple[str, ...]] = ("frame1", "frame2", "flow")
    input_role = "frames"
    default_model = "optical-flow-small"
    released_model = "optical-flow"
    batch_size = 1
    score = "epe"
    higher_is_better = False

    def __init__(self, settings: OpticalFlowSettings, config: PerceiverConfig) -> None:
        super().__init__(settings, config)
        if not isinstance(config.inputs, FlowInputConfig) or not isinstance(config.outputs, FlowOutputConfig):
            raise ValueError(
                f"optical-flow needs a model with flow inputs and outputs, "
                f"not '{config.inputs.kind}' and '{config.outputs.kind}'"
            )
        self.tile = config.inputs.image_size
        self.channels = config.inputs.image_channels
        if settings.min_overlap >= min(self.tile):
            raise ValueError(f"min_overlap ({settings.min_overlap}) must be less than the sides of a tile {self.tile}")
        self.augmenter = FlowAugmenter(settings.augment)

    @classmethod
    def example(cls) -> "tuple[Self, Rows]":
        """Return a tiny task on noise that moves by a pixel."""
        from perceivers.zoo import ZOO

        changes = {
            "inputs.image_size": [12, 16],
            "inputs.positioned.positions.max_resolution": [12, 16],
            "inputs.positioned.positions.num_bands": 2,
            "encoder.num_latents": 4,
            "encoder.num_layers_per_block": 1,
            # The original starts at no motion, where most of the model has no gradient.
            "outputs.zero_init": False,
        }
        config = override(ZOO[cls.default_model].config, changes)
        noise = np.random.default_rng(0)
        rows = []
        for height, width in ((12, 16), (20, 18), (9, 11)):
            frame = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
            flow = np.broadcast_to(np.array([1, 0], dtype=np.float32), (height, width, 2)).copy()
            rows.append({"frame1": frame, "frame2": np.roll(frame, 1, axis=1), "flow": flow})
        return cls.fit(config, None, {"min_overlap": 4}), rows

    def gather(self, given: Sequence[Any]) -> tuple[Sequence[Any], bool]:
        """Take two frames; or one list of pairs, a video, a folder of frames, or an array (T, H, W, C) of them.

        Raises:
            ValueError: It is none of these.
        """
        if len(given) == 2:
            return [tuple(given)], False
        if len(given) != 1:
            raise ValueError(f"optical-flow takes two frames, or one sequence of them, not {len(given)} arguments")
        (value,) = given
        if isinstance(value, str | Path):
            return [pair for _, pair in predict_inputs([str(value)], self.input_role)], True
        if isinstance(value, np.ndarray) and value.ndim == 4:
            if len(value) < 2:
                raise ValueError(f"an array of {len(value)} frames has no motion; it must hold two or more")
            return (list(pairwise(value)), True) if len(value) != 2 else ([tuple(value)], False)
        if isinstance(value, Sequence) and all(isinstance(pair, Sequence) and len(pair) == 2 for pair in value):
            return value, True
        raise ValueError("optical-flow takes two frames, a list of pairs, a video, a folder of frames, or an array")

    def input_of(self, row: Mapping[str, Any]) -> Any:
        """Return the row's two frames."""
        return (row["frame1"], row["frame2"])

    def row_of(self, value: Any) -> Mapping[str, Any]:
        """Return two frames as a row of data; a mapping with `frame1` and `frame2` is that already."""
        return value if isinstance(value, Mapping) else {self.input_role: value}

    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Read two frames (2, H, W, C) and, when there, the true flow (H, W, 2) with where it is known (H, W).

        Raises:
            ValueError: The frames differ in size, or the flow's size is another.
        """
        first, second = row["frames"] if "frames" in row else self.input_of(row)
        frames = [self._channels(read_image(frame)) for frame in (first, second)]
        if frames[0].shape != frames[1].shape:
            sizes = [frame.shape[:2] for frame in frames]
            raise ValueError(f"the frames differ in size: {sizes[0]} and {sizes[1]}; both must have the same")
        item: dict[str, Any] = {"frames": np.stack(frames)}
        if row.get("flow") is not None:
            flow, valid = _read_truth(row["flow"])
            if flow.shape[:2] != frames[0].shape[:2]:
                raise ValueError(f"the flow has size {flow.shape[:2]}, the frames have {frames[0].shape[:2]}")
            item |= {"flow": flow, "valid": valid}
        return item

    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return `frames` (B, 2, H, W, C) padded to the largest, `size` (B, 2), and, when known, `flow` and `valid`.

        `flow` is (B, H, W, 2) and `valid` (B, H, W), `False` where the truth is not known or a frame was padded.
        """
        sizes = [item["frames"].shape[1:3] for item in items]
        room = (max(self.tile[0], *(size[0] for size in sizes)), max(self.tile[1], *(size[1] for size in sizes)))
        batch = {
            "frames": torch.from_numpy(np.stack([pad_to(item["frames"], room) for item in items])),
            "size": torch.tensor(sizes),
        }
        if "flow" in items[0]:
            margins = [[(0, room[axis] - size[axis]) for axis in (0, 1)] for size in sizes]
            pairs = list(zip(items, margins, strict=True))
            batch["flow"] = torch.from_numpy(np.stack([np.pad(item["flow"], [*m, (0, 0)]) for item, m in pairs]))
            batch["valid"] = torch.from_numpy(np.stack([np.pad(item["valid"], m) for item, m in pairs]))
        return batch

    def augment(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Make each pair as large as a tile while training, by a cut at random or as a whole, and change it."""
        if not training:
            return batch
        make = self._shrunk if self.settings.whole else self._cut
        pairs = [make(batch, row, size) for row, size in enumerate(batch["size"].tolist())]
        frames, flow, valid = (torch.stack(parts) for parts in zip(*pairs, strict=True))
        return self.augmenter({"frames": frames, "flow": flow, "valid": valid})

    def _cut(self, batch: Mapping[str, Tensor], row: int, size: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        (height, width), (rows, columns) = self.tile, size
        top = int(torch.randint(max(rows - height, 0) + 1, ()))
        left = int(torch.randint(max(columns - width, 0) + 1, ()))
        inside = (slice(top, top + height), slice(left, left + width))
        return batch["frames"][row][(slice(None), *inside)], batch["flow"][row][inside], batch["valid"][row][inside]

    def _shrunk(self, batch: Mapping[str, Tensor], row: int, size: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        pair, inside = slice(row, row + 1), (slice(0, size[0]), slice(0, size[1]))
        frames = resize_frames(batch["frames"][(pair, slice(None), *inside)], self.tile)
        flow, valid = resize_truth(batch["flow"][(pair, *inside)], batch["valid"][(pair, *inside)], self.tile)
        return frames[0], flow[0], valid[0]

    def step(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        """Return the mean loss over pixels whose motion is known; when evaluating, frames are read by tiles.

        While training, only such pixels are asked for, and outputs and targets are rows of them, (B, K, 2).
        """
        truth, valid = batch["flow"], batch["valid"]
        if model.training:
            where, valid = self._wanted(valid.flatten(1))  # (B, K)
            truth = torch.take_along_dim(truth.flatten(1, 2), where[..., None], dim=1)
            flow = model({"frames": batch["frames"]}, where=where)
        else:
            flow = self._by_tiles(model, batch)
        difference = flow - truth
        if self.settings.loss == "l1":
            error = difference.abs().sum(dim=-1)
        else:
            # The derivative of a distance has no value at 0.
            error = (difference.square().sum(dim=-1) + 1e-12).sqrt()
        weight = valid.sum()
        loss = error.where(valid, 0).sum() / weight.clamp(min=1)
        return Step(loss, flow, truth.masked_fill(~valid[..., None], torch.nan), (Part(loss, weight),))

    def _wanted(self, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pixels to ask for, (B, K), and which of them count: rows with fewer are filled up."""
        limit = self.settings.num_outputs
        rank = valid.float()
        if limit is not None:
            rank = rank * (1 + torch.rand(valid.shape).to(valid.device))
        width = max(int(valid.sum(dim=1).max()), 1)
        where = rank.argsort(dim=1, descending=True, stable=True)[:, : width if limit is None else min(width, limit)]
        return where, valid.take_along_dim(where, dim=1)

    def metrics(self) -> Metrics:
        """Return the end-point error in pixels, and the shares of outliers; see `end_point_error`."""
        return means("epe", *(f"px{limit}" for limit in _LIMITS), "fl_all")

    def update(self, metrics: Metrics, step: Step) -> None:
        """Count the pixels of one batch whose motion is known."""
        known = ~step.targets.isnan().any(dim=-1)
        flow, truth = step.outputs[known].double(), step.targets[known].double()
        if not len(truth):
            return
        error, motion = (flow - truth).norm(dim=-1), truth.norm(dim=-1)
        metrics["epe"].update(error)
        for limit in _LIMITS:
            metrics[f"px{limit}"].update((error > limit).float())
        metrics["fl_all"].update(((error > 3) & (error > 0.05 * motion)).float())

    def pieces(self, value: Any) -> Iterator[dict[str, Any]]:
        """Cut a pair of frames into tiles, or shrink it to one."""
        frames = self.prepare(self.row_of(value))["frames"]
        if self.settings.whole:
            yield {"frames": np.rint(255 * self._as_tile(frames)[0].numpy()).astype(np.uint8)}
            return
        for tile in self._tiles(frames, self._corners(*frames.shape[1:3])):
            yield {"frames": tile}

    @torch.inference_mode()
    def predict(self, model: PerceiverIO, inputs: Sequence[Any], *, top_k: int = 5) -> list[FlowResult]:
        """Return the motion from the first to the second frame of each pair; `top_k` means nothing here.

        Raises:
            ValueError: A frame cannot be read, or the two differ in size.
        """
        results = []
        for value in inputs:
            frames = self.prepare(self.row_of(value))["frames"]
            height, width = frames.shape[1:3]
            flow = self.estimate(model, frames)
            num_tiles = 1 if self.settings.whole else len(self._corners(height, width))
            results.append(FlowResult(flow, (frames[0], frames[1]), num_tiles))
        return results

    def estimate(self, model: PerceiverIO, frames: UInt8[np.ndarray, "2 H W C"]) -> Float32[np.ndarray, "H W 2"]:
        """Return the motion between two frames, read as a whole, or tile by tile and blended where tiles overlap."""
        height, width = frames.shape[1:3]
        if self.settings.whole:
            latents = model.encode(to_device({"frames": self._as_tile(frames)}, model))
            flow = model.decode(latents, chunk_size=self.settings.chunk_size)
            return resize_flow(flow.float(), (height, width))[0].cpu().numpy()
        corners = self._corners(height, width)
        tiles: list[np.ndarray] = []
        for start in range(0, len(corners), self.settings.tiles_per_batch):
            some = corners[start : start + self.settings.tiles_per_batch]
            batch = {"frames": torch.from_numpy(np.stack(list(self._tiles(frames, some))))}
            latents = model.encode(to_device(batch, model))
            flows = model.decode(latents, chunk_size=self.settings.chunk_size)
            tiles += list(flows.float().cpu().numpy())
        return blend(tiles, corners, height, width)

    def summary(self, result: FlowResult) -> Summary:
        """Return the size, the number of tiles and how far things move, in pixels."""
        return [result.summary()]

    def picture(self, value: Any, result: FlowResult) -> Image.Image:
        """Draw frame, motion, arrows and the warped frame on one sheet."""
        return result.sheet()

    def save(self, value: Any, result: FlowResult, folder: Path, name: str) -> list[Path]:
        """Write the motion in all formats, pictures of it, and a summary; see `FlowResult.save_all`."""
        return result.save_all(folder, name)

    def draw_weights(self, item: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Image.Image:
        """Colour the first frame of a tile."""
        return heat_on_image(item["frames"][0], weights[self.input_role])

    def _by_tiles(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Float[Tensor, "B H W 2"]:
        """Return the motion of frames of their own sizes, zero where they were padded."""
        flow = torch.zeros_like(batch["flow"])
        for row, (height, width) in enumerate(batch["size"].tolist()):
            frames = batch["frames"][row, :, :height, :width].cpu().numpy()
            flow[row, :height, :width] = torch.from_numpy(self.estimate(model, frames)).to(flow)
        return flow

    def _as_tile(self, frames: np.ndarray) -> Float[Tensor, "1 2 h w C"]:
        return resize_frames(torch.from_numpy(frames)[None], self.tile)

    def _corners(self, height: int, width: int) -> list[tuple[int, int]]:
        settings = self.settings
        return tile_corners(height, width, self.tile, settings.min_overlap, even=settings.even_tiles)

    def _tiles(self, frames: np.ndarray, corners: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
        padded = pad_to(frames, self.tile)
        for y, x in corners:
            yield padded[:, y : y + self.tile[0], x : x + self.tile[1]]

    def _channels(self, image: Frame) -> Frame:
        if image.shape[-1] == self.channels:
            return image
        if self.channels == 3:
            return np.repeat(image, 3, axis=-1)
        return np.asarray(Image.fromarray(image).convert("L"))[..., None]


def _read_truth(value: Any) -> tuple[Float32[np.ndarray, "H W 2"], Bool[np.ndarray, "H W"]]:
    """Read a flow from a file or an array, NaN where it is not known."""
    if isinstance(value, str | Path):
        field = read_flow(value)
        return field.flow, field.valid
    flow = np.asarray(value, dtype=np.float32)
    valid = np.asarray(np.isfinite(flow).all(axis=-1))
    return np.where(valid[..., None], flow, np.float32(0)), valid
