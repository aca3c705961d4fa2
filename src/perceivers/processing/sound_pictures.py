"""A picture of sound: its wave over its spectrogram."""

import numpy as np
from jaxtyping import Bool, Float, Float32
from PIL import Image, ImageDraw

from perceivers.processing.glyphs import shipped_font
from perceivers.processing.heat_pictures import draw_seconds, envelope

_WIDTH, _WAVE_HEIGHT, _MEL_HEIGHT, _GAP, _SCALE = 480, 72, 112, 4, 24
_RANGE_DB = 70.0
_INK, _GREY = (37, 99, 168), (224, 224, 224)


def draw_sound(samples: Float32[np.ndarray, " S"], sample_rate: int) -> Image.Image:
    """Draw the wave, as high as its highest peak, and below it how strong which frequencies are at which time.

    Frequencies go up on the mel scale to half the sample rate; the strongest is dark, what is 70 dB weaker white.

    Args:
        samples: At least one.
        sample_rate: Samples a second.
    """
    wave = np.asarray(samples, dtype=np.float64)
    panel = Image.new("RGB", (_WIDTH, _WAVE_HEIGHT + _GAP + _MEL_HEIGHT + _SCALE), "white")
    low, high = envelope(wave, _WIDTH)
    reach = _WAVE_HEIGHT / 2 - 1
    scale = reach / (float(np.abs(wave).max()) or 1.0)
    draw = ImageDraw.Draw(panel)
    for x in range(_WIDTH):
        ends = (x, round(_WAVE_HEIGHT / 2 - high[x] * scale), x, round(_WAVE_HEIGHT / 2 - low[x] * scale))
        draw.line(ends, fill=_INK)
    panel.paste(_spectrogram(wave, sample_rate), (0, _WAVE_HEIGHT + _GAP))
    bottom = _WAVE_HEIGHT + _GAP + _MEL_HEIGHT
    draw.rectangle((0, _WAVE_HEIGHT + _GAP, _WIDTH - 1, bottom - 1), outline="#d9dee5")
    draw.text(
        (4, _WAVE_HEIGHT + _GAP + 2), f"{sample_rate / 2000:g} kHz", fill="#5f6c7b", font=shipped_font("DejaVuSans", 10)
    )
    draw_seconds(draw, len(wave) / sample_rate, bottom, _WIDTH)
    return panel


def draw_bands(
    levels: Float[np.ndarray, "T bands"],
    limits: tuple[float, float],
    hidden: Bool[np.ndarray, "T groups"] | None = None,
) -> Image.Image:
    """Draw how strong each band is at which time, low bands below.

    Args:
        levels: On a logarithmic scale.
        limits: The level that is white, and the one that is dark.
        hidden: Groups of neighbouring bands, equally many each, that are drawn grey instead.
    """
    from matplotlib import colormaps

    low, high = limits
    shares = np.clip((levels - low) / ((high - low) or 1.0), 0, 1)
    colours = np.rint(colormaps["Blues"](shares)[..., :3] * 255).astype(np.uint8)
    if hidden is not None:
        colours[hidden.repeat(levels.shape[1] // hidden.shape[1], axis=1)] = _GREY
    upright = np.ascontiguousarray(colours.transpose(1, 0, 2)[::-1])
    return Image.fromarray(upright).resize((_WIDTH, _MEL_HEIGHT), Image.Resampling.NEAREST)


def _spectrogram(wave: Float[np.ndarray, " S"], sample_rate: int) -> Image.Image:
    from matplotlib import colormaps

    size = 2 ** max(4, round(np.log2(sample_rate * 0.03)))
    padded = np.pad(wave, size // 2)
    middles = (np.arange(_WIDTH) + 0.5) * len(wave) / _WIDTH
    frames = padded[np.floor(middles).astype(int)[:, None] + np.arange(size)] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames)) ** 2  # (time, frequency)
    decibels = 10 * np.log10(power / (power.max() or 1.0) + 1e-12)
    levels = np.clip(1 + decibels / _RANGE_DB, 0, 1)
    mels = np.linspace(np.log1p(sample_rate / 2 / 700), 0, _MEL_HEIGHT)
    rows = 700 * np.expm1(mels) / (sample_rate / 2) * (levels.shape[1] - 1)
    below = np.floor(rows).astype(int)
    above = np.minimum(below + 1, levels.shape[1] - 1)
    share = (rows - below)[:, None]
    image = levels.T[below] * (1 - share) + levels.T[above] * share
    return Image.fromarray(np.rint(colormaps["Blues"](image)[..., :3] * 255).astype(np.uint8))
