"""Roles of columns: what a data set must offer to a task, and how a value of each is checked.

A new role is one entry of `ROLES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from perceivers.registry import Registry


class DataError(ValueError):
    """Data that cannot be used; the message names file, row, value and what was expected."""


@dataclass(frozen=True, kw_only=True)
class Role:
    """What a column is for.

    Args:
        names: What such a column is commonly called, the likeliest first.
        check: Returns what is wrong with a value, or `None`.
    """

    names: tuple[str, ...]
    check: Callable[[Any], str | None]


def _check_text(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"text must be a string, got {value!r}"
    return None if value.strip() else f"text is empty, got {value!r}"


def _check_label(value: Any) -> str | None:
    if value is None or value == "" or (isinstance(value, float) and np.isnan(value)):
        return "the label is missing"
    if isinstance(value, bool) or not isinstance(value, str | int | np.integer):
        return f"a label must be a name or a whole number, got {value!r}"
    return None


def _check_image(value: Any) -> str | None:
    if value is None:
        return "the image is missing"
    if isinstance(value, Image.Image):
        return None
    if not isinstance(value, dict) or not (value.get("path") or value.get("bytes")):
        return f"an image must be an image file or its bytes, got {type(value).__name__}"
    name = value.get("path") or f"of {len(value['bytes'])} bytes"
    source = value["path"] if value.get("bytes") is None else BytesIO(value["bytes"])
    try:
        with Image.open(source) as image:
            # JPEGs can be decoded at an eighth of their size: all bytes are still read.
            image.draft(image.mode, (1, 1))
            image.load()
    except FileNotFoundError:
        return f"the image file {name} does not exist"
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        return f"the image {name} cannot be read ({error})"
    return None


ROLES: Registry[Role] = Registry("role")
ROLES.add("text", Role(names=("text", "sentence", "content", "review", "message", "question"), check=_check_text))
ROLES.add("label", Role(names=("label", "labels", "intent", "category", "class", "target"), check=_check_label))
ROLES.add("image", Role(names=("image", "img", "picture", "photo", "pixels", "file"), check=_check_image))
