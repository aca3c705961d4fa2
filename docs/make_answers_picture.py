"""Draw what the five models that ship answer, on one picture: the first one of the README.

python docs/make_answers_picture.py
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import perceivers
from perceivers.data.samples import sample_names
from perceivers.processing.sounds import read_sound
from perceivers.processing.video_pictures import spectrogram

TARGET = Path(__file__).parent / "pictures" / "answers.jpg"
INK, FAINT, BLUE, ORANGE = "#1b263b", "#6b7280", "#9ecae1", "#e07a3f"
# The first of the samples, as they come.
NUM_IMAGES, NUM_SOUNDS = 6, 3


def main() -> None:
    """Draw and write the picture."""
    figure = Figure(figsize=(12.4, 6.1), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(2, 1, height_ratios=[1, 1.02])
    words, images = parts[0].subfigures(1, 2, width_ratios=[1, 2.2])
    motion, clip, sounds = parts[1].subfigures(1, 3, width_ratios=[1.55, 1.5, 1.1])
    draw_words(words)
    draw_images(images)
    draw_motion(motion)
    draw_clip(clip)
    draw_sounds(sounds)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # pyright: ignore[reportAttributeAccessIssue]
    Image.fromarray(pixels).save(TARGET, quality=90)


def samples(kind: str, count: int) -> list[Path]:
    """Return the first files of a kind."""
    return [perceivers.sample(name) for name in sample_names() if name.startswith(f"{kind}/")][:count]


def titled(part: Any, title: str, model: str) -> None:
    """Write what is seen and who answered above a part."""
    part.text(0.03, 0.955, title, fontsize=12, fontweight="bold", color=INK, va="top")
    part.text(0.97, 0.955, model, fontsize=9, color=FAINT, va="top", ha="right")


def shortened(label: str) -> str:
    """Return a label that is no wider than an image."""
    return label if len(label) <= 14 else f"{label[:11]}…"


def bare(axes: Any, title: str, colour: str = INK) -> None:
    """Leave nothing but the picture and its title."""
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9, color=colour, pad=4)
    for side in axes.spines.values():
        side.set_visible(False)


def draw_words(part: Any) -> None:
    """Draw a sentence with a gap, and what could stand there."""
    titled(part, "Bytes: what is missing?", "text-mini")
    row = json.loads(perceivers.sample("text/passages.jsonl").read_text(encoding="utf-8").splitlines()[0])
    answers = perceivers.pipeline("fill-mask", "mini")({"text": row["text"], "hide": row["hide"]})
    before, after = (side.split() for side in row["text"].split(row["hide"], 1))
    shown = [*before[-4:], "_" * len(row["hide"]), *after[:3]]
    part.text(0.03, 0.79, f"… {' '.join(shown)} …", fontsize=10, color=INK)
    part.text(0.03, 0.7, f"the book has: {row['hide']}", fontsize=9, color=FAINT)
    axes = part.add_axes((0.03, 0.06, 0.94, 0.6))
    scores = [answer["score"] for answer in answers]
    axes.barh(range(len(answers)), scores, color=BLUE, height=0.72)
    for i, answer in enumerate(answers):
        axes.text(0.001, i, answer["token_str"], va="center", fontsize=10, color=INK)
        axes.text(max(scores), i, f"{answer['score']:.1%}", va="center", ha="right", fontsize=9, color=FAINT)
    axes.set(xlim=(0, max(scores)), ylim=(len(answers) - 0.4, -0.6))
    axes.axis("off")


def draw_images(part: Any) -> None:
    """Draw images with their answers, and below each where the answer comes from."""
    titled(part, "Pixels: what is it, and where does the answer come from?", "image-mini")
    pipe = perceivers.pipeline("image-classification", "mini")
    space = {"left": 0.02, "right": 0.98, "top": 0.79, "bottom": 0.02, "hspace": 0.06, "wspace": 0.06}
    grid = part.subplots(2, NUM_IMAGES, gridspec_kw=space)
    for column, path in zip(grid.T, samples("images", NUM_IMAGES), strict=True):
        (best,) = pipe(path, top_k=1)
        right = best["label"] == path.name.partition("_")[0]
        column[0].imshow(Image.open(path))
        bare(column[0], f"{shortened(best['label'])} {best['score']:.0%}", INK if right else ORANGE)
        column[1].imshow(pipe.attention(path)[0].crop((0, 0, 256, 256)))
        bare(column[1], "")


def draw_motion(part: Any) -> None:
    """Draw two frames of a film and the motion between them."""
    titled(part, "Two frames: what moved?", "flow-mini")
    result = perceivers.pipeline("optical-flow", "mini")(*(perceivers.sample(f"flow/photo{i}.jpg") for i in (1, 2)))
    grid = part.subplots(1, 2, gridspec_kw={"left": 0.03, "right": 0.97, "top": 0.92, "bottom": 0.08, "wspace": 0.06})
    grid[0].imshow(result.frames[0])
    bare(grid[0], "first of two frames")
    grid[1].imshow(result.picture())
    bare(grid[1], "motion found")


def draw_clip(part: Any) -> None:
    """Draw frames of a clip above those that came back."""
    result = perceivers.pipeline("video-autoencoding", "mini")(samples("clips", 1)[0])
    titled(part, "Video with sound, via 128 numbers", "video-mini")
    shown = np.linspace(0, len(result.video) - 1, 4).round().astype(int)
    grid = part.subplots(
        2,
        len(shown),
        gridspec_kw={"left": 0.03, "right": 0.97, "top": 0.83, "bottom": 0.14, "wspace": 0.05, "hspace": 0.08},
    )
    for row, frames in zip(grid, (result.video, result.video_out), strict=True):
        for axes, frame in zip(row, frames[shown], strict=True):
            axes.imshow(frame)
            bare(axes, "")
    best = result.best_labels[0]
    told = f"above: read; below: back, {result.video_psnr:.1f} dB; sound {result.audio_psnr:.1f} dB; {best['label']}"
    part.text(0.03, 0.05, told, fontsize=9, color=INK)


def draw_sounds(part: Any) -> None:
    """Draw spectrograms with the digits that are heard."""
    titled(part, "Sound: which digit?", "audio-mini")
    pipe = perceivers.pipeline("audio-classification", "mini")
    space = {"left": 0.03, "right": 0.97, "top": 0.78, "bottom": 0.06, "wspace": 0.08}
    grid = part.subplots(1, NUM_SOUNDS, gridspec_kw=space)
    for axes, path in zip(grid, samples("sounds", NUM_SOUNDS), strict=True):
        (best,) = pipe(path, top_k=1)
        level = spectrogram(read_sound(path, pipe.task.settings.sample_rate), 256)
        axes.imshow(level, origin="lower", aspect="auto", cmap="magma", vmin=-80)
        right = best["label"] == path.name[0]
        bare(axes, f"“{best['label']}” {best['score']:.0%}", INK if right else ORANGE)


if __name__ == "__main__":
    main()
