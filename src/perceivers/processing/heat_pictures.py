"""Attention drawn on what was read: on pixels, characters, sound, frames and points.

Weights come as plain arrays, one for each element of the input. They are drawn as shares: an element's weight over
the weight that it would have if all had the same, so that 1 is an even share whatever the size of the input.
Nothing is painted where the share is 0; from there colours go over yellow and orange to dark red.
"""

from math import ceil, floor, log10
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from perceivers.processing.glyphs import LINE_HEIGHT, characters, shipped_font, shipped_glyphs, wrapped
from perceivers.processing.image import read_image
from perceivers.processing.point_pictures import draw_views

# What most elements stay below has full colour: single elements can have hundreds of times their share.
_MOST = 99.5
# Of even weights none should look outstanding.
_LOWEST_TOP = 2.0

_INK, _FAINT, _PAPER = "#1f2933", "#5f6c7b", "white"
_MARGIN = 8
_SMALL = 11

_SMALLEST_IMAGE = 256
_WAVE_WIDTH, _WAVE_HEIGHT, _STRIP = 960, 180, 14
_FRAME_WIDTH = 224


def heat_on_image(image: Any, weights: np.ndarray, *, top: float | None = None) -> Image.Image:
    """Paint weights on a photo, which becomes pale but stays visible.

    Args:
        image: What `read_image` takes. Small ones are enlarged.
        weights: (h, w), a grid over the whole image, coarser or finer than its pixels.
        top: Share that has full colour; `None` takes the share that 99.5 % of the elements stay below, 2 at least.

    Returns:
        The picture, RGB, with a scale below.

    Raises:
        ValueError: The image cannot be read, or weights are not of this form, negative or not finite.
    """
    shares = _shares(weights, 2)
    top = _top(shares, top)
    return _with_scale(_painted(_enlarged(read_image(image)), shares, top), top, shares, photo=True)


def heat_on_frames(
    frames: np.ndarray, weights: np.ndarray, *, columns: int = 4, top: float | None = None
) -> Image.Image:
    """Paint weights on the frames of a clip, side by side, all on one scale; captions give each frame's share.

    Args:
        frames: (T, H, W, C), frames as `read_image` takes them.
        weights: (t, h, w); T must be a multiple of t, as tokens may span several frames.
        columns: Frames in a row.
        top: See `heat_on_image`.

    Raises:
        ValueError: Frames and weights do not fit, or see `heat_on_image`.
    """
    frames, shares = np.asarray(frames), _shares(weights, 3)
    if frames.ndim != 4 or not len(frames) or len(frames) % len(shares):
        raise ValueError(f"frames of shape {frames.shape} must be (T, H, W, C), T a multiple of {len(shares)}")
    if columns < 1:
        raise ValueError(f"columns ({columns}) must be at least 1")
    top = _top(shares, top)
    span = len(frames) // len(shares)
    tiles = [_painted(_thumbnail(read_image(frame)), shares[i // span], top) for i, frame in enumerate(frames)]
    width, height = tiles[0].size
    columns = min(columns, len(tiles))
    step_x, step_y = width + _MARGIN, height + 20
    sheet = Image.new("RGB", (columns * step_x - _MARGIN, ceil(len(tiles) / columns) * step_y), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, tile in enumerate(tiles):
        left, upper = i % columns * step_x, i // columns * step_y
        sheet.paste(tile, (left, upper))
        caption = f"frame {i}: share {_number(float(shares[i // span].mean()))}"
        draw.text((left + 1, upper + height + 3), caption, fill=_INK, font=shipped_font("DejaVuSans", _SMALL))
    return _with_scale(sheet, top, shares, photo=True)


def heat_on_text(text: str | bytes, weights: np.ndarray, *, columns: int = 80, top: float | None = None) -> Image.Image:
    """Paint weights of UTF-8 bytes behind the characters of a text, with wrapped lines.

    A character has the sum of its bytes' weights, over the even share of so many bytes. What no font at hand can show
    is escaped as in Python; scripts that run to the left stand in the order of the bytes, from left to right.

    Args:
        text: At least one character. Bytes need not be whole UTF-8: windows on a text may cut through characters.
        weights: (m,), one a byte.
        columns: Width of a line in characters.
        top: See `heat_on_image`.

    Raises:
        ValueError: There is not one weight a byte, `columns` is not positive, or see `heat_on_image`.
    """
    shares = _shares(weights, 1)
    shown = characters(text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text)
    lengths = np.array([len(character.encode("utf-8", "surrogateescape")) for character in shown], dtype=np.int64)
    if lengths.sum() != len(shares):
        raise ValueError(f"{len(shares)} weights must be one for each of the text's {lengths.sum()} bytes")
    if columns < 1:
        raise ValueError(f"columns ({columns}) must be at least 1")
    shares = np.add.reduceat(shares, np.cumsum(lengths) - lengths) / lengths
    top = _top(shares, top)
    glyphs = shipped_glyphs()
    cells = [glyphs.cell(character) for character in shown]
    lines = wrapped(shown, [cell.width for cell in cells], columns * glyphs.column)
    width = max(sum(cells[i].width for i in line) for line in lines)
    panel = Image.new("RGB", (width + 2 * _MARGIN, len(lines) * LINE_HEIGHT + 2 * _MARGIN), _PAPER)
    draw = ImageDraw.Draw(panel)
    colours = np.rint(_paint(np.ones((len(cells), 3)), shares / top) * 255).astype(int)
    for row, line in enumerate(lines):
        left, upper = _MARGIN, _MARGIN + row * LINE_HEIGHT
        for i in line:
            cells[i].draw(draw, left, upper, tuple(colours[i].tolist()))
            left += cells[i].width
    return _with_scale(panel, top, shares)


def heat_on_wave(
    audio: np.ndarray, sample_rate: int | float, weights: np.ndarray, *, top: float | None = None
) -> Image.Image:
    """Draw a wave in the colours of its weights, grey where there are none, over a band of the same colours.

    Args:
        audio: (S,), floats.
        sample_rate: Samples a second.
        weights: (m,), the wave cut into runs of equal length.
        top: See `heat_on_image`.

    Raises:
        ValueError: The audio is empty, not finite or not of this form, the rate is not positive, or the weights are
            wrong as in `heat_on_image`.
    """
    audio, shares = np.asarray(audio, dtype=np.float64), _shares(weights, 1)
    if audio.ndim != 1 or not audio.size or not np.isfinite(audio).all():
        raise ValueError(f"audio of shape {audio.shape} must be (S,), finite, with at least one sample")
    if not 0 < sample_rate < np.inf:
        raise ValueError(f"sample_rate ({sample_rate}) must be a positive number of samples a second")
    top = _top(shares, top)
    level = _averaged(shares, _WAVE_WIDTH) / top
    low, high = envelope(audio, _WAVE_WIDTH)
    middle, reach = _WAVE_HEIGHT / 2, _WAVE_HEIGHT / 2 - 2
    scale = reach / (float(np.abs(audio).max()) or 1.0)
    rows = np.arange(_WAVE_HEIGHT)[:, None] + 0.5
    inside = (rows >= middle - high * scale - 0.5) & (rows <= middle - low * scale + 0.5)
    ink = _paint(np.full((_WAVE_WIDTH, 3), 0.72), level)
    band = _paint(np.ones((_WAVE_WIDTH, 3)), level)
    wave = np.where(inside[..., None], ink, 1.0)
    pixels = np.concatenate([wave, np.ones((4, _WAVE_WIDTH, 3)), np.repeat(band[None], _STRIP, axis=0)])
    panel = Image.new("RGB", (_WAVE_WIDTH, len(pixels) + 24), _PAPER)
    panel.paste(_to_image(pixels), (0, 0))
    draw = ImageDraw.Draw(panel)
    draw.rectangle((0, _WAVE_HEIGHT + 4, _WAVE_WIDTH - 1, len(pixels) - 1), outline="#d9dee5")
    draw_seconds(draw, len(audio) / sample_rate, len(pixels), _WAVE_WIDTH)
    return _with_scale(panel, top, shares)


def heat_on_points(points: np.ndarray, weights: np.ndarray, *, top: float | None = None) -> Image.Image:
    """Draw a cloud of points from three sides in the colours of its weights, grey where there are none.

    Args:
        points: (P, 3), coordinates.
        weights: (P,), one a point.
        top: See `heat_on_image`.

    Raises:
        ValueError: There is not one weight a point, or see `heat_on_image`.
    """
    points, shares = np.asarray(points, dtype=np.float64), _shares(weights, 1)
    if points.ndim != 2 or points.shape[1] < 3 or len(points) != len(shares):
        raise ValueError(f"points of shape {points.shape} must be (P, 3) with P the {len(shares)} weights")
    top = _top(shares, top)
    colours = _paint(np.full((len(points), 3), 0.8), shares / top)
    return _with_scale(draw_views(points, dict.fromkeys(("front", "side", "top"), colours)), top, shares)


def _shares(weights: Any, num_axes: int) -> Float[np.ndarray, "..."]:
    """Return weights as multiples of an even share; all 0 stay 0."""
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim != num_axes or not weights.size:
        axes = {1: "(m,)", 2: "(h, w)", 3: "(t, h, w)"}[num_axes]
        raise ValueError(f"weights of shape {weights.shape} must be {axes}, with at least one element")
    if not np.isfinite(weights).all() or weights.min() < 0:
        raise ValueError("weights must be finite and not negative")
    return weights / (weights.mean() or 1.0)


def _top(shares: np.ndarray, top: float | None) -> float:
    if top is None:
        return max(float(np.percentile(shares, _MOST, method="higher")), _LOWEST_TOP)
    if not 0 < top < np.inf:
        raise ValueError(f"top ({top}) must be a positive number of even shares")
    return top


def _paint(paper: Float[np.ndarray, "*S 3"], level: Float[np.ndarray, "*S"], opacity: float = 1.0) -> np.ndarray:
    """Lay the colour of each level, 1 = full, on colours in [0, 1]; the lower the level, the more shows through."""
    from matplotlib import colormaps

    level = np.clip(level, 0, 1)
    colours = colormaps["YlOrRd"](level)[..., :3]
    cover = opacity * np.minimum(2 * level, 1)[..., None]
    return paper * (1 - cover) + colours * cover


def _painted(image: np.ndarray, shares: Float[np.ndarray, "h w"], top: float) -> Image.Image:
    """Return `uint8` (H, W, C), pale and with little of its own colour, under the colours of the shares."""
    image = np.broadcast_to(image, (*image.shape[:2], 3)) / 255
    grey = (image @ np.array([0.299, 0.587, 0.114]))[..., None]
    paper = 0.3 + 0.7 * (0.88 * grey + 0.12 * image)
    return _to_image(_paint(paper, _over(shares, image.shape[:2]) / top, opacity=0.65))


def _over(shares: Float[np.ndarray, "h w"], size: tuple[int, ...]) -> Float[np.ndarray, "H W"]:
    """Bring a grid to the size of an image: along each axis the mean where it is finer, linear where it is coarser."""
    height, width = size
    grid = Image.fromarray(shares.astype(np.float32))
    fewer = (min(grid.width, width), min(grid.height, height))
    smaller = grid.resize(fewer, Image.Resampling.BOX)
    return np.asarray(smaller.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float64)


def _enlarged(image: np.ndarray) -> np.ndarray:
    times = ceil(_SMALLEST_IMAGE / max(image.shape[:2]))
    return image.repeat(times, axis=0).repeat(times, axis=1)


def _thumbnail(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    size = (_FRAME_WIDTH, max(1, round(height * _FRAME_WIDTH / width)))
    how = Image.Resampling.NEAREST if width < _FRAME_WIDTH / 2 else Image.Resampling.LANCZOS
    grey = image.shape[-1] == 1
    resized = np.asarray(Image.fromarray(image[..., 0] if grey else image).resize(size, how))
    return resized[..., None] if grey else resized


def _to_image(pixels: Float[np.ndarray, "H W 3"]) -> Image.Image:
    return Image.fromarray(np.rint(pixels * 255).astype(np.uint8))


def _averaged(values: Float[np.ndarray, "m"], count: int) -> Float[np.ndarray, "n"]:
    """Return the mean of steps of equal length over each of `count` stretches, more or fewer than there are steps."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    edges = np.linspace(0, len(values), count + 1)
    return np.diff(np.interp(edges, np.arange(len(values) + 1), sums)) * count / len(values)


def envelope(audio: Float[np.ndarray, "S"], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest sample of each of `count` stretches, neighbours touching."""
    starts = np.arange(count) * len(audio) // count
    low, high = np.minimum.reduceat(audio, starts), np.maximum.reduceat(audio, starts)
    touching_low = np.minimum(low[1:], high[:-1])
    touching_high = np.maximum(high[1:], low[:-1])
    return np.concatenate([low[:1], touching_low]), np.concatenate([high[:1], touching_high])


def draw_seconds(draw: ImageDraw.ImageDraw, seconds: float, upper: int, width: int) -> None:
    """Draw ticks at round numbers of seconds, eight at most, on an axis of `width` pixels at the height `upper`."""
    rough = seconds / 8
    unit = 10.0 ** floor(log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * (1 - 1e-9))
    font = shipped_font("DejaVuSans", _SMALL)
    for i in range(floor(seconds / step * (1 + 1e-9)) + 1):
        x = round(i * step / seconds * (width - 1))
        draw.line((x, upper, x, upper + 4), fill=_FAINT)
        label = f"{i * step:.6g} s"
        left = min(max(x - font.getlength(label) / 2, 0), width - font.getlength(label))
        draw.text((left, upper + 6), label, fill=_FAINT, font=font)


def _with_scale(picture: Image.Image, top: float, shares: np.ndarray, *, photo: bool = False) -> Image.Image:
    """Put the scale of colours below a picture, as they look on white or on a photo's grey."""
    font = shipped_font("DejaVuSans", _SMALL)
    caption = "attention, 1 = even share"
    width = max(picture.width, ceil(font.getlength(caption)) + 2 * _MARGIN)
    panel = Image.new("RGB", (width, picture.height + 54), _PAPER)
    panel.paste(picture, (0, 0))
    draw = ImageDraw.Draw(panel)
    length = min(width - 2 * _MARGIN, 280)
    left, upper = _MARGIN, picture.height + 22
    draw.text((left, picture.height + 6), caption, fill=_INK, font=font)
    level = np.linspace(0, 1, length)
    paper = np.full((length, 3), 0.65 if photo else 1.0)
    bar = _paint(paper, level, opacity=0.65 if photo else 1.0)
    panel.paste(_to_image(np.repeat(bar[None], 10, axis=0)), (left, upper))
    draw.rectangle((left, upper, left + length - 1, upper + 9), outline="#d9dee5")
    last = ("\u2265 " if shares.max() > top * (1 + 1e-9) else "") + _number(top)
    places = [(0.0, "0"), (1 / top, "1"), (1.0, last)] if top > 1 else [(0.0, "0"), (1.0, last)]
    used = -1.0
    room = left + length - font.getlength(last)
    for place, label in places:
        x = left + place * (length - 1)
        start = min(max(x - font.getlength(label) / 2, left), room if label == last else x)
        draw.line((x, upper + 10, x, upper + 13), fill=_FAINT)
        if start > used and (label == last or start + font.getlength(label) < room - 4):
            draw.text((start, upper + 15), label, fill=_FAINT, font=font)
            used = start + font.getlength(label) + 4
    return panel


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"
