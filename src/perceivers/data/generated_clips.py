"""Short clips with sound and a label, made when they are asked for: a bouncing shape, and the tone that it makes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, UInt8

from perceivers.data.generated import GeneratedSource

# Pitch of the tone of each kind of shape, in Hz.
_PITCHES = {"circle": 110.0, "square": 165.0, "triangle": 247.5, "cross": 371.25}
# How many points across a pixel are looked at, so that edges are smooth.
_POINTS = 2
# Seconds in which the loudness after a bounce falls to a third.
_DECAY = 0.25
_QUIET = 0.15


@dataclass(frozen=True, kw_only=True)
class BouncingClips(GeneratedSource):
    """A shape moves in a straight line and bounces off the edges, before a ground that grows lighter to one side.

    Its kind is the label. Size, colours, place and direction are drawn at random. The tone has a pitch of its kind, and
    is loudest when the shape bounces.

    Args:
        num_train: As in `GeneratedSource`; training looks at each clip once before it begins.
        num_frames: Frames of a clip.
        frame_rate: Frames a second.
        side: Height and width of a frame in pixels.
        sample_rate: Samples of sound a second.
    """

    roles: ClassVar[tuple[str, ...]] = ("video", "label")
    labels: ClassVar[tuple[str, ...]] = tuple(_PITCHES)
    num_train: int = 4000
    num_test: int = 200
    num_frames: int = 8
    frame_rate: float = 8.0
    side: int = 32
    sample_rate: int = 2048

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("num_frames", "frame_rate", "side", "sample_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must be greater than 0")

    def row(self, random: np.random.Generator) -> Mapping[str, Any]:
        """Make one clip, as video auto-encoding takes it, and the id of its label."""
        kind = int(random.integers(len(self.labels)))
        radius = random.uniform(0.14, 0.24)
        seconds = self.num_frames / self.frame_rate
        start, angle = random.uniform(radius, 1 - radius, 2), random.uniform(0, 2 * np.pi)
        speed = random.uniform(0.8, 1.6) * np.array([np.sin(angle), np.cos(angle)])
        times = np.arange(round(seconds * self.sample_rate)) / self.sample_rate
        path, bounces = _bouncing(start, speed, radius, times)
        shown = np.minimum(np.arange(self.num_frames) * self.sample_rate / self.frame_rate, len(times) - 1).astype(int)
        ground, colour = _colours(random)
        slope = random.uniform(-0.15, 0.15, 2)
        clip = {
            "video": self._frames(self.labels[kind], path[shown], radius, ground, colour, slope),
            "frame_rate": self.frame_rate,
            "audio": _tone(_PITCHES[self.labels[kind]], times, bounces),
            "sample_rate": self.sample_rate,
        }
        return {"video": clip, "label": kind}

    def _frames(
        self,
        kind: str,
        centres: Float[np.ndarray, "T 2"],
        radius: float,
        ground: Float[np.ndarray, "3"],
        colour: Float[np.ndarray, "3"],
        slope: Float[np.ndarray, "2"],
    ) -> UInt8[np.ndarray, "T H W 3"]:
        """Draw the shape where it is in each frame; lengths are shares of the side."""
        points = (np.arange(self.side * _POINTS) + 0.5) / (self.side * _POINTS)
        y, x = points[:, None] - centres[:, 0, None, None], points[None] - centres[:, 1, None, None]
        inside = _inside(kind, y / radius, x / radius)
        cover = inside.reshape(len(centres), self.side, _POINTS, self.side, _POINTS).mean(axis=(2, 4))[..., None]
        middle = (np.arange(self.side) + 0.5) / self.side - 0.5
        light = slope[0] * middle[:, None] + slope[1] * middle[None]
        behind = ground + light[..., None]
        return np.rint(255 * np.clip(cover * colour + (1 - cover) * behind, 0, 1)).astype(np.uint8)


def _inside(kind: str, y: Float[np.ndarray, "T R 1"], x: Float[np.ndarray, "T 1 R"]) -> Bool[np.ndarray, "T R R"]:
    """Return which points lie in a shape of radius 1."""
    rules = {
        "circle": lambda: y**2 + x**2 <= 1,
        "square": lambda: np.maximum(np.abs(y), np.abs(x)) <= 0.8,
        "triangle": lambda: (y <= 0.8) & (y >= 2 * np.abs(x) - 1),
        "cross": lambda: (np.minimum(np.abs(y), np.abs(x)) <= 0.3) & (np.maximum(np.abs(y), np.abs(x)) <= 1),
    }
    return rules[kind]()


def _bouncing(
    start: Float[np.ndarray, "2"], speed: Float[np.ndarray, "2"], radius: float, times: Float[np.ndarray, "S"]
) -> tuple[Float[np.ndarray, "S 2"], Float[np.ndarray, "K"]]:
    """Return where the centre is at each time, and the times of all bounces, of some before the beginning too."""
    room = 1 - 2 * radius
    # Without walls the way would go straight on; each wall folds it back.
    straight = (start - radius + speed * times[:, None]) / room
    folded = np.abs((straight + 1) % 2 - 1)
    walls = np.arange(-4, 5)
    with np.errstate(divide="ignore"):
        bounces = ((walls[:, None] * room - (start - radius)) / speed).ravel()
    return radius + room * folded, bounces[np.isfinite(bounces)]


def _tone(pitch: float, times: Float[np.ndarray, "S"], bounces: Float[np.ndarray, "K"]) -> Float[np.ndarray, "S"]:
    """Return a sine whose loudness jumps up at each bounce and dies away."""
    since = times[:, None] - bounces
    last = np.where(since >= 0, since, np.inf).min(axis=1)
    loudness = _QUIET + (0.8 - _QUIET) * np.exp(-last / _DECAY)
    return (loudness * np.sin(2 * np.pi * pitch * times)).astype(np.float32)


def _colours(random: np.random.Generator) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Return colours of ground and shape that differ clearly."""
    ground = random.uniform(0.1, 0.9, 3)
    colour = random.uniform(0, 1, 3)
    while np.abs(colour - ground).mean() < 0.3:
        colour = random.uniform(0, 1, 3)
    return ground, colour
