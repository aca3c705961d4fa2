"""A motion that was found, to be looked at and written."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageOps

from perceivers.processing.files import write_picture, write_whole
from perceivers.processing.flow import write_flow
from perceivers.processing.flow_pictures import colour_wheel, flow_picture, overlay, warp
from perceivers.tasks.drawing import below, beside, captioned

Frame = UInt8[np.ndarray, "_ _ _"]

# The largest motion that KITTI's format holds is less than this.
_KITTI_LIMIT = 511.9
# As wide as the longest caption of a sheet.
_PANEL_WIDTH = 192


@dataclass(frozen=True)
class FlowResult:
    """The motion between two frames.

    Args:
        flow: How far each pixel of the first frame moves, u to the right and v down, in pixels, (H, W, 2).
        frames: The two frames, each (H, W, C).
        num_tiles: In how many tiles they were read.
    """

    flow: Float32[np.ndarray, "H W 2"]
    frames: tuple[Frame, Frame]
    num_tiles: int

    def picture(self, max_motion: float | None = None) -> Image.Image:
        """Draw the motion in the usual colours, the colour wheel in a corner; see `flow_picture`."""
        picture = flow_picture(self.flow, max_motion)
        side = min(picture.size) // 5
        if side >= 16:
            wheel = colour_wheel(side)
            corner = (picture.width - side - 4, picture.height - side - 4)
            # The wheel's corners are white; only the disc is pasted.
            line = (2 * np.arange(side) + 1 - side) / side
            disc = Image.fromarray(np.hypot(line, line[:, None]) <= 1)
            picture.paste(wheel, corner, disc)
        return picture

    def overlay(self, spacing: int | None = None) -> Image.Image:
        """Draw arrows on the first frame; `spacing` pixels between them, by default a thirtieth of the width."""
        return overlay(self.frames[0], self.flow, spacing or max(self.flow.shape[1] // 30, 8))

    def warped(self) -> Image.Image:
        """Draw the first frame, fetched by the motion from the second; black where it comes from outside."""
        fetched, _ = warp(self.frames[1], self.flow)
        return _as_picture(fetched)

    def sheet(self) -> Image.Image:
        """Draw the first frame, the motion, the arrows and the warped frame on one sheet; small frames are enlarged."""
        longest = float(np.linalg.norm(self.flow, axis=-1).max())
        panels = {
            "first frame": _as_picture(self.frames[0]),
            f"motion, up to {longest:.3g} pixels": self.picture(),
            "motion as arrows": self.overlay(),
            "second frame, warped": self.warped(),
        }
        first, motion, arrows, warped = (captioned(_enlarged(panel), caption) for caption, panel in panels.items())
        return below([beside(first, motion), beside(arrows, warped)])

    def summary(self) -> dict[str, Any]:
        """Return the size, the number of tiles and how far things move, in pixels."""
        motion = np.linalg.norm(self.flow, axis=-1)
        height, width = motion.shape
        values = {
            "mean_motion": motion.mean(),
            "max_motion": motion.max(),
            "mean_u": self.flow[..., 0].mean(),
            "mean_v": self.flow[..., 1].mean(),
        }
        rounded = {name: round(float(value), 4) for name, value in values.items()}
        return {"height": height, "width": width, "tiles": self.num_tiles, **rounded}

    def save(self, path: str | Path) -> None:
        """Write the motion as `.flo`, KITTI's `.png` or `.npy`; see `write_flow`."""
        write_flow(path, self.flow)

    def save_all(self, folder: Path, name: str) -> list[Path]:
        """Write the motion in all formats (`.flo`, `.npy`, `.kitti.png`), pictures of it, and a summary.

        Motion of 512 pixels and more does not fit into KITTI's format, which is then left out.

        Returns:
            The files.
        """
        endings = [".flo", ".npy"] + [".kitti.png"] * bool(np.abs(self.flow).max() < _KITTI_LIMIT)
        files = [folder / f"{name}{ending}" for ending in endings]
        for path in files:
            self.save(path)
        pictures = {"flow": self.picture(), "overlay": self.overlay(), "warped": self.warped(), "sheet": self.sheet()}
        for ending, picture in pictures.items():
            files.append(folder / f"{name}.{ending}.png")
            write_picture(files[-1], picture)
        files.append(folder / f"{name}.json")
        write_whole(files[-1], json.dumps(self.summary(), indent=2) + "\n")
        return files


def _enlarged(picture: Image.Image) -> Image.Image:
    """Return the picture with pixels so large that it has room for its caption."""
    return ImageOps.scale(picture, max(-(-_PANEL_WIDTH // picture.width), 1), Image.Resampling.NEAREST)


def _as_picture(frame: np.ndarray) -> Image.Image:
    return Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame).convert("RGB")
