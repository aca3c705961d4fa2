"""Optical flow judged and drawn: scores, colours, arrows, warped frames, maps of errors.

Flows are (H, W, 2) as in `perceivers.processing.flow`.
"""

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw

from perceivers.processing.flow import as_flow, as_mask, is_known
from perceivers.processing.image import read_image

# The colour circle of Baker et al. (2007): pure colours, and the steps from each to the next. The eye tells
# more shades apart between some colours than between others.
_PURE = ((255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255), (255, 0, 0))
_STEPS = (15, 6, 4, 11, 13, 6)

# Errors in classes that double, blue below KITTI's limit of 3 pixels and red above.
_ERROR_BOUNDS = tuple(3 * 2.0**power for power in range(-4, 5))
_ERROR_COLOURS = np.array(
    [
        (49, 54, 149),
        (69, 117, 180),
        (116, 173, 209),
        (171, 217, 233),
        (224, 243, 248),
        (254, 224, 144),
        (253, 174, 97),
        (244, 109, 67),
        (215, 48, 39),
        (165, 0, 38),
    ],
    dtype=np.uint8,
)
_SCALE_WIDTH, _SCALE_LINE = 76, 14


def end_point_error(flow: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> dict[str, float]:
    """Return how far a flow is from the truth, over valid pixels.

    `epe` is the mean distance in pixels; `px1`, `px3`, `px5` are the shares of pixels that are more than 1, 3, 5
    pixels off; `fl_all` is KITTI's share of outliers, more than 3 pixels and more than 5 % of the motion off.

    Args:
        flow: (H, W, 2); where it is not a number, it counts as wrong.
        truth: (H, W, 2).
        valid: (H, W), `True` where the truth is known; `None` counts all pixels.

    Raises:
        ValueError: Shapes differ, no pixel is valid, or the truth is not a number at a valid pixel.
    """
    error, motion, keep = _distance(flow, truth, valid)
    if not keep.any():
        raise ValueError("valid is False everywhere; at least one pixel must be valid")
    error, motion = error[keep], motion[keep]
    # NaN compares as false: hence "not at most" rather than "more".
    off = {limit: ~(error <= limit) for limit in (1, 3, 5)}
    outlier = off[3] & ~(error <= 0.05 * motion)
    shares = {f"px{limit}": float(wrong.mean()) for limit, wrong in off.items()}
    return {"epe": float(error.mean()), **shares, "fl_all": float(outlier.mean())}


def flow_picture(flow: np.ndarray, max_motion: float | None = None, valid: np.ndarray | None = None) -> Image.Image:
    """Draw a flow in the usual colours: hue is the direction, paleness says how little moves.

    Args:
        flow: (H, W, 2).
        max_motion: Pixels at which colours are pure; longer motions are darkened. `None` takes the longest motion.
        valid: (H, W); what is not valid, or not a number, is black.

    Raises:
        ValueError: `max_motion` is not positive, or shapes are wrong.
    """
    flow = as_flow(flow, "flow")
    known = as_mask(valid, flow) & is_known(flow)
    u, v = np.moveaxis(np.where(known[..., None], flow, 0).astype(np.float64), -1, 0)
    motion = np.hypot(u, v)
    if max_motion is None:
        max_motion = float(motion.max()) or 1.0
    if not 0 < max_motion < np.inf:
        raise ValueError(f"max_motion ({max_motion}) must be a positive number of pixels")
    # Parity: as in the published colour code, the whole turn takes one step fewer than there are colours.
    step = (np.arctan2(v, u) / (2 * np.pi) % 1) * (sum(_STEPS) - 1)
    corners = np.cumsum((0, *_STEPS))
    hue = np.stack([np.interp(step, corners, channel) / 255 for channel in zip(*_PURE, strict=True)], axis=-1)
    share = (motion / max_motion)[..., None]
    colours = np.where(share <= 1, 1 - share * (1 - hue), 0.75 * hue)
    return Image.fromarray(np.rint(colours * known[..., None] * 255).astype(np.uint8))


def colour_wheel(size: int) -> Image.Image:
    """Draw the legend of `flow_picture`: each point of a disc has the colour of the motion from the centre to it.

    Args:
        size: Height and width in pixels.

    Raises:
        ValueError: `size` is not positive.
    """
    if size < 1:
        raise ValueError(f"size ({size}) must be at least 1")
    line = (2 * np.arange(size) + 1 - size) / size
    flow = np.stack(np.meshgrid(line, line), axis=-1)
    disc = Image.fromarray(np.hypot(flow[..., 0], flow[..., 1]) <= 1)
    return Image.composite(flow_picture(flow, max_motion=1.0), Image.new("RGB", (size, size), "white"), disc)


def warp(frame2: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, Bool[np.ndarray, "H W"]]:
    """Fetch each pixel of the first frame from where the flow says that it lies in the second.

    Args:
        frame2: (H, W, C), `uint8` or floats.
        flow: (H, W, 2), from the first frame to the second.

    Returns:
        The first frame, between pixels by bilinear interpolation, in the type of `frame2`; and (H, W), `True` where
        a pixel comes from outside the frame, or from nowhere known. There it is black.

    Raises:
        ValueError: Shapes or types are wrong.
    """
    frame2, flow = np.asarray(frame2), as_flow(flow, "flow")
    if frame2.ndim != 3 or frame2.shape[:2] != flow.shape[:2]:
        raise ValueError(f"frame2 of shape {frame2.shape} must be (H, W, C) of the flow's size {flow.shape[:2]}")
    if frame2.dtype != np.uint8 and frame2.dtype.kind != "f":
        raise ValueError(f"frame2 of type {frame2.dtype} must be uint8 or floats")
    height, width = flow.shape[:2]
    rows, columns = np.indices((height, width)) + np.moveaxis(flow[..., ::-1].astype(np.float64), -1, 0)
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    rows, columns = np.where(inside, rows, 0), np.where(inside, columns, 0)
    top, left = rows.astype(np.int64), columns.astype(np.int64)
    bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = (rows - top)[..., None], (columns - left)[..., None]
    upper = frame2[top, left] * (1 - across) + frame2[top, right] * across
    lower = frame2[bottom, left] * (1 - across) + frame2[bottom, right] * across
    fetched = np.where(inside[..., None], upper * (1 - down) + lower * down, 0)
    return (np.rint(fetched) if frame2.dtype == np.uint8 else fetched).astype(frame2.dtype), ~inside


def overlay(
    frame: np.ndarray | Image.Image, flow: np.ndarray, spacing: int = 16, max_motion: float | None = None
) -> Image.Image:
    """Draw arrows on the first frame, dimmed: from a pixel to where it lies in the second frame.

    Args:
        frame: What `read_image` takes, of the flow's size.
        flow: (H, W, 2); where it is not a number, there is no arrow.
        spacing: Pixels between arrows.
        max_motion: See `flow_picture`, whose colours the arrows have.

    Raises:
        ValueError: Sizes differ, or `spacing` is not positive.
    """
    image, flow = read_image(frame), as_flow(flow, "flow")
    if image.shape[:2] != flow.shape[:2]:
        raise ValueError(f"frame of {image.shape[:2]} pixels must have the flow's size {flow.shape[:2]}")
    if spacing < 1:
        raise ValueError(f"spacing ({spacing}) must be at least 1")
    height, width = flow.shape[:2]
    colours = np.asarray(flow_picture(flow, max_motion))
    picture = Image.fromarray(np.broadcast_to(image // 2, (height, width, 3)).copy())
    draw = ImageDraw.Draw(picture)
    known = is_known(flow)
    for y in range(min(spacing, height) // 2, height, spacing):
        for x in range(min(spacing, width) // 2, width, spacing):
            if known[y, x]:
                _draw_arrow(draw, np.array([x, y]), flow[y, x], tuple(colours[y, x].tolist()))
    return picture


def _draw_arrow(draw: ImageDraw.ImageDraw, start: np.ndarray, motion: np.ndarray, colour: tuple[int, ...]) -> None:
    length = float(np.hypot(*motion))
    if length < 1:
        draw.point([tuple(start.tolist())], fill=colour)
        return
    # The frame ends long before: Pillow's lines want moderate coordinates.
    end = start + motion * min(1.0, 1e4 / length)
    draw.line([*start.tolist(), *end.tolist()], fill=colour)
    along = motion / length * min(5.0, 0.4 * length)
    across = np.array([-along[1], along[0]]) / 2
    for barb in (end - along + across, end - along - across):
        draw.line([*end.tolist(), *barb.tolist()], fill=colour)


def error_picture(flow: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> Image.Image:
    """Draw how far a flow is from the truth, with a scale at the right.

    Colours stand for fixed distances, so that pictures can be compared: blue is less than 3 pixels, red is more.

    Args:
        flow: (H, W, 2).
        truth: (H, W, 2).
        valid: (H, W); what is not valid is black.

    Raises:
        ValueError: Shapes differ, or the truth is not a number at a valid pixel.
    """
    error, _, keep = _distance(flow, truth, valid)
    colours = _ERROR_COLOURS[np.digitize(error, _ERROR_BOUNDS)] * keep[..., None].astype(np.uint8)
    height, width = error.shape
    picture = Image.new("RGB", (width + _SCALE_WIDTH, max(height, _SCALE_LINE * len(_ERROR_COLOURS))), "white")
    picture.paste(Image.fromarray(colours), (0, 0))
    draw = ImageDraw.Draw(picture)
    labels = [*(f"< {bound:.2g} px" for bound in _ERROR_BOUNDS), f"{_ERROR_BOUNDS[-1]:g} px +"]
    for i, (label, colour) in enumerate(zip(reversed(labels), reversed(_ERROR_COLOURS), strict=True)):
        left, top = width + 4, i * _SCALE_LINE
        draw.rectangle([left, top + 1, left + 10, top + _SCALE_LINE - 2], fill=tuple(colour.tolist()))
        draw.text((left + 14, top + 1), label, fill="black")
    return picture


def _distance(
    flow: np.ndarray, truth: np.ndarray, valid: np.ndarray | None
) -> tuple[Float[np.ndarray, "H W"], Float[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """Return the end-point error, the length of the true motion, and where they count."""
    flow, truth = as_flow(flow, "flow"), as_flow(truth, "truth")
    if flow.shape != truth.shape:
        raise ValueError(f"flow of shape {flow.shape} must have the shape of the truth, {truth.shape}")
    keep = as_mask(valid, truth)
    if not is_known(truth)[keep].all():
        raise ValueError("the truth is not known at every valid pixel; valid must be False there")
    flow, truth = flow.astype(np.float64), np.where(keep[..., None], truth, 0).astype(np.float64)
    return np.linalg.norm(flow - truth, axis=-1), np.linalg.norm(truth, axis=-1), keep
