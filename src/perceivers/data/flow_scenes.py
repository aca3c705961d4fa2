"""Made-up pairs of frames with their exact optical flow: `flow-scenes`.

Shapes with surfaces move in layers over a moving background, as in AutoFlow (arXiv:2104.14544), on which the flow model
of Perceiver IO was trained (section 4.2). Each layer moves by a map that is known in both directions, so that flow and
occlusion are exact whatever the frames look like.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from perceivers.data.generated import GeneratedSource
from perceivers.data.moving_layers import Layer, draw_motion, draw_outline
from perceivers.data.photometry import develop, smeared
from perceivers.data.textures import draw_texture, read_photos


class FlowScene(NamedTuple):
    """A pair of frames and what is known of it.

    Args:
        frames: The two frames, (2, H, W, 3).
        flow: How far each pixel of the first frame moves, u to the right and v down, in pixels, (H, W, 2); known where
            it is hidden, too.
        occluded: Pixels of the first frame that are hidden in the second or leave it, (H, W).
    """

    frames: UInt8[np.ndarray, "2 H W 3"]
    flow: Float32[np.ndarray, "H W 2"]
    occluded: Bool[np.ndarray, "H W"]


@dataclass(frozen=True, kw_only=True)
class FlowScenes(GeneratedSource):
    """Pairs of frames of moving shapes, with their optical flow.

    Args:
        size: Height and width of the frames in pixels.
        most_objects: Most shapes before the background.
        motion: Largest shift of a shape, as a share of the longer side; the background's is half as large. Each scene
            draws how much of it is used, so that small motions are learnt on the way to large ones.
        deformation: How much shapes bend, 1 for a little; 0 leaves projective motions.
        change: How much brightness, contrast, colours and noise change, 1 for the usual; 0 leaves both frames as they
            are.
        blurred: Share of scenes that are blurred along their motion.
        foggy: Share of scenes with fog.
        photos: Folder of photographs, parts of which are laid on layers; `None` makes all surfaces up.
    """

    roles: ClassVar[tuple[str, ...]] = ("frame1", "frame2", "flow")
    size: tuple[int, int] = (96, 128)
    most_objects: int = 6
    motion: float = 0.1
    deformation: float = 1.0
    change: float = 1.0
    blurred: float = 0.2
    foggy: float = 0.1
    photos: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.size) < 8:
            raise ValueError(f"size {self.size} must be at least 8 x 8 pixels")
        for name in ("most_objects", "motion", "deformation", "change"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must not be negative")
        for name in ("blurred", "foggy"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must lie between 0 and 1")
        if self.photos is not None:
            read_photos(self.photos)

    def row(self, random: np.random.Generator) -> Mapping[str, Any]:
        """Make a pair of frames (H, W, 3), and the motion of every pixel (H, W, 2)."""
        scene = self.scene(random)
        return {"frame1": scene.frames[0], "frame2": scene.frames[1], "flow": scene.flow}

    def scene(self, random: np.random.Generator) -> FlowScene:
        """Make a pair of frames with all that is known of it."""
        return compose(self.layers(random), random, self)

    def layers(self, random: np.random.Generator) -> list[Layer]:
        """Draw background and shapes, the nearest last."""
        photos = () if self.photos is None else read_photos(self.photos)
        height, width = self.size
        longer = float(max(self.size))
        strength = random.uniform(0.02, 1)
        middle = np.array([width - 1, height - 1]) / 2
        ground = draw_motion(random, middle, longer, 0.5 * self.motion * longer, strength, self.deformation)
        layers = [Layer(draw_texture(random, longer, photos), ground)]
        for _ in range(random.integers(self.most_objects + 1)):
            centre = random.uniform(-0.05, 1.05, 2) * [width, height]
            radius = float(min(self.size) * np.exp(random.uniform(np.log(0.08), np.log(0.4))))
            motion = draw_motion(random, centre, 2 * radius, self.motion * longer, strength, self.deformation)
            outlines = [draw_outline(random, centre, radius)]
            if random.random() < 0.2:
                hole = replace(draw_outline(random, centre, 0.5 * radius), softness=outlines[0].softness)
                outlines.append(hole)
            layers.append(Layer(draw_texture(random, 2 * radius, photos), motion, tuple(outlines)))
        return layers


def flow_scene(seed: int, index: int, config: FlowScenes | None = None) -> FlowScene:
    """Make the scene of a seed and a number; the same in every process.

    Args:
        seed: Any whole number that is not negative.
        index: Likewise.
        config: What scenes are like.
    """
    return (config or FlowScenes()).scene(np.random.default_rng((seed, index)))


def compose(layers: Sequence[Layer], random: np.random.Generator, config: FlowScenes) -> FlowScene:
    """Draw both frames of a scene, and find what is hidden.

    Args:
        layers: Background and shapes, the nearest last.
        random: Chance of whatever does not move: blur, fog, light and noise.
        config: How much of these there is, and the size.
    """
    first = View.of(layers, config.size, moved=False)
    second = View.of(layers, config.size, moved=True)
    occluded = _occluded(layers, first)
    pictures = [first.picture, second.picture]
    if random.random() < config.blurred:
        shutter = random.uniform(0.2, 1)
        pictures = [smeared(view.picture, shutter * view.motion) for view in (first, second)]
    frames = develop(random, np.stack(pictures), config.change, foggy=random.random() < config.foggy)
    return FlowScene(frames, first.motion, occluded)


@dataclass(frozen=True)
class View:
    """One frame.

    Args:
        picture: Colours in [0, 1], (H, W, 3).
        owner: Number of the layer that is seen, (H, W).
        motion: How far what is seen moves from the first frame to the second, (H, W, 2).
    """

    picture: Float32[np.ndarray, "H W 3"]
    owner: np.ndarray
    motion: Float32[np.ndarray, "H W 2"]

    @classmethod
    def of(cls, layers: Sequence[Layer], size: tuple[int, int], *, moved: bool) -> "View":
        """Draw the layers as they lie in the first frame, or `moved` as in the second."""
        height, width = size
        y, x = (axis.astype(np.float32) for axis in np.indices(size))
        view = cls(
            np.zeros((height, width, 3), np.float32), np.zeros(size, np.int32), np.zeros((height, width, 2), np.float32)
        )
        for number, layer in enumerate(layers):
            box = layer.box(size, moved=moved)
            here = x[box], y[box]
            if not here[0].size:
                continue
            # Where the layer's points lie in the first frame, and where they go.
            start = layer.motion.backward(*here) if moved else here
            end = here if moved else layer.motion.forward(*here)
            cover = layer.cover(*start)
            picture, change = view.picture[box], layer.texture.colours(*start)
            change -= picture
            change *= cover[..., None]
            picture += change
            seen = cover > 0.5
            view.owner[box][seen] = number
            for axis in (0, 1):
                np.copyto(view.motion[(*box, axis)], end[axis] - start[axis], where=seen)
        return view


def _occluded(layers: Sequence[Layer], first: View) -> Bool[np.ndarray, "H W"]:
    """Return which pixels of the first frame have left the second, or lie behind a nearer layer there."""
    size = first.owner.shape
    y, x = np.indices(size, dtype=np.float32) + np.moveaxis(first.motion[..., ::-1], -1, 0)
    occluded = (x < 0) | (x > size[1] - 1) | (y < 0) | (y > size[0] - 1)
    for number, layer in enumerate(layers[1:], start=1):
        lines, columns = layer.box((size[0], size[1]), moved=True)
        inside = (y >= lines.start - 1) & (y <= lines.stop) & (x >= columns.start - 1) & (x <= columns.stop)
        candidates = inside & (first.owner < number) & ~occluded
        occluded[candidates] = layer.cover(*layer.motion.backward(x[candidates], y[candidates])) > 0.5
    return occluded
