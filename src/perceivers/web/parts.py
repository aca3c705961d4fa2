"""Components that several tabs show."""

import html
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image, UnidentifiedImageError

from perceivers.web.limits import Limits

# What a browser's file dialog offers; anything may still be dropped.
_SOUNDS: Any = ["upload", "microphone"]
_PICTURES: Any = ["upload", "webcam", "clipboard"]
# Without the one that sends a picture elsewhere; sounds and clips have none of it either.
_BUTTONS: Any = ["download", "fullscreen"]


def photo(label: str) -> gr.Image:
    """Return a place for an image: a file, the camera or the clipboard."""
    place = gr.Image(label=label, type="filepath", image_mode=None, sources=_PICTURES, height=280, buttons=_BUTTONS)
    # Not a subclass: Gradio writes a file beside the source of each.
    place.preprocess = partial(_readable, place.preprocess)
    return place


def _readable(preprocess: Callable[[Any], Any], payload: Any) -> Any:
    """Return what Gradio makes of an uploaded image, or tell that it is none."""
    try:
        with warnings.catch_warnings():
            # Its size is checked before its pixels are read.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return preprocess(payload)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        name = getattr(payload, "orig_name", None) or "the file"
        told = f"'{name}' is not an image that can be read"
        raise gr.Error(told, duration=None, print_exception=False) from error


def sound(label: str) -> gr.Audio:
    """Return a place for sound: a file or the microphone."""
    return gr.Audio(label=label, type="filepath", sources=_SOUNDS, buttons=["download"])


def shown_picture(title: str, name: str = "shown") -> gr.Image:
    """Return a place for a picture that answers, below its title.

    Args:
        title: What is seen.
        name: Its class on the page.
    """
    # Gradio's own label would cover a corner of the picture.
    gr.Markdown(f"#### {title}")
    return gr.Image(label=title, show_label=False, interactive=False, format="png", elem_classes=name, buttons=_BUTTONS)


def checked_photo(path: str | None, limits: Limits, what: str = "image") -> Path:
    """Return the path of an image that is not too large.

    Raises:
        ValueError: There is none, or it is, or it cannot be read.
    """
    file = limits.check_file(path, what)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(file) as image:
            limits.check_size(*image.size)
    return file


def bars(candidates: Iterable[Mapping[str, Any]], name: str = "label") -> str:
    """Return candidates with their scores as bars, in HTML.

    Args:
        candidates: Each with its `score` from 0 to 1, the best first.
        name: What else of a candidate is shown.
    """
    rows = [
        f'<div class="bar"><span class="share" style="width:{100 * entry["score"]:.1f}%"></span>'
        f'<span class="name">{html.escape(str(entry[name]))}</span>'
        f'<span class="score">{entry["score"]:.1%}</span></div>'
        for entry in candidates
    ]
    return f'<div class="bars">{"".join(rows)}</div>'
