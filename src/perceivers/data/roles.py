"""Roles of columns: what a data set must offer to a task, and how a value of each is checked.

A new role is one entry of `ROLES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from perceivers.data.answers import check_answers, compare_answers
from perceivers.data.headers import Size, flow_size, frame_size
from perceivers.data.objects import outside, parse_objects
from perceivers.data.tags import check_tag
from perceivers.registry import Registry


class DataError(ValueError):
    """Data that cannot be used; the message names file, row, value and what was expected."""


@dataclass(frozen=True, kw_only=True)
class Role:
    """What a column is for.

    Args:
        names: What such a column is commonly called, the likeliest first.
        check: Returns what is wrong with a value, or `None`.
        files: Whether values are names of files, which are meant from where their table lies.
    """

    names: tuple[str, ...]
    check: Callable[[Any], str | None]
    files: bool = False


def _check_text(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"text must be a string, got {value!r}"
    return None if value.strip() else f"text is empty, got {value!r}"


def _check_label(value: Any) -> str | None:
    if isinstance(value, list):
        return next((problem for one in value if (problem := _check_label(one))), None)
    if value is None or value == "" or (isinstance(value, float) and np.isnan(value)):
        return "the label is missing"
    if isinstance(value, bool) or not isinstance(value, str | int | np.integer):
        return f"a label must be a name or a whole number, got {value!r}"
    return None


def _check_text_pair(value: Any) -> str | None:
    # Some pairs of GLUE's QQP have an empty side.
    return None if isinstance(value, str) else f"text_pair must be a string, got {value!r}"


def _check_score(value: Any) -> str | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return f"a score must be a number, got {value!r}"
    return None if np.isfinite(number) else f"a score must be finite, got {value!r}"


def _check_tokens(value: Any) -> str | None:
    if not isinstance(value, list):
        return f"tokens must be a list of words, got {value!r}"
    if not value:
        return "the sentence is empty; at least one word is needed"
    wrong = next((i for i, word in enumerate(value) if not isinstance(word, str) or not word.strip()), None)
    return None if wrong is None else f"word {wrong} must be a string that is not empty, got {value[wrong]!r}"


def _check_tags(value: Any) -> str | None:
    if not isinstance(value, list):
        return f"tags must be a list with one tag a word, got {value!r}"
    # Whole numbers stand for names that the data set itself holds.
    problems = (check_tag(tag) for tag in value if isinstance(tag, bool) or not isinstance(tag, int))
    return next((problem for problem in problems if problem), None)


def _compare_tags(tokens: list[str], tags: list[Any]) -> str | None:
    return None if len(tokens) == len(tags) else f"{len(tags)} tags {tags} for {len(tokens)} words {tokens}"


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


def _check_frame(value: Any) -> str | None:
    return _named_file(value, "frame", frame_size)


def _check_flow(value: Any) -> str | None:
    return _named_file(value, "flow", flow_size)


def _named_file(value: Any, what: str, size_of: Callable[[str], Size]) -> str | None:
    """Return what is wrong with the name of a file, or with the file, of which the header alone is read."""
    if not value:
        return f"the {what} is missing"
    if not isinstance(value, str):
        return f"a {what} must be the name of a file, got {type(value).__name__}"
    try:
        size_of(value)
    except ValueError as error:
        return str(error)
    return None


def _check_video(value: Any) -> str | None:
    from perceivers.processing.video_frames import VIDEO_SUFFIXES, is_video

    if not value:
        return "the video is missing"
    if not isinstance(value, str):
        return f"a video must be the name of a file, got {type(value).__name__}"
    if not Path(value).is_file():
        return f"the video file {value} does not exist"
    return None if is_video(value) else f"a video must end in one of {list(VIDEO_SUFFIXES)}, got {value}"


def _check_audio(value: Any) -> str | None:
    from perceivers.processing.sounds import sound_problem

    return sound_problem(value)


def _check_points(value: Any) -> str | None:
    from perceivers.processing.points import points_problem

    return points_problem(value)


def _check_objects(value: Any) -> str | None:
    try:
        parse_objects(value)
    except ValueError as error:
        return str(error)
    return None


def _compare_objects(image: Any, objects: Any) -> str | None:
    if isinstance(image, Image.Image):
        return outside(parse_objects(objects), (image.height, image.width))
    source = image["path"] if image.get("bytes") is None else BytesIO(image["bytes"])
    return outside(parse_objects(objects), frame_size(source))


def _compare_frames(frame1: str, frame2: str) -> str | None:
    return _compare(f"the second frame {frame2}", frame_size(frame2), frame1)


def _compare_flow(frame1: str, flow: str) -> str | None:
    return _compare(f"the flow {flow}", flow_size(flow), frame1)


def _compare(name: str, size: Size, frame1: str) -> str | None:
    expected = frame_size(frame1)
    if size == expected:
        return None
    return f"{name} has {size[0]} x {size[1]} pixels, the first frame {frame1} has {expected[0]} x {expected[1]}"


ROLES: Registry[Role] = Registry("role")
_TEXT_NAMES = ("text", "sentence", "content", "review", "message", "question", "sentence1", "question1", "premise")
ROLES.add("text", Role(names=_TEXT_NAMES, check=_check_text))
ROLES.add("text_pair", Role(names=("text_pair", "sentence2", "question2", "hypothesis"), check=_check_text_pair))
ROLES.add("label", Role(names=("label", "labels", "intent", "category", "class", "target"), check=_check_label))
ROLES.add("task", Role(names=("task",), check=_check_text))
ROLES.add("score", Role(names=("score", "similarity", "rating"), check=_check_score))
ROLES.add("tokens", Role(names=("tokens", "words"), check=_check_tokens))
ROLES.add("tags", Role(names=("tags", "ner_tags", "labels", "ner", "tag"), check=_check_tags))
ROLES.add("question", Role(names=("question", "query"), check=_check_text))
ROLES.add("context", Role(names=("context", "passage", "paragraph"), check=_check_text))
ROLES.add("answers", Role(names=("answers", "answer"), check=check_answers))
ROLES.add("image", Role(names=("image", "img", "picture", "photo", "pixels", "file"), check=_check_image, files=True))
ROLES.add("frame1", Role(names=("frame1", "image1", "img1", "first"), check=_check_frame, files=True))
ROLES.add("frame2", Role(names=("frame2", "image2", "img2", "second"), check=_check_frame, files=True))
ROLES.add("flow", Role(names=("flow", "optical_flow", "ground_truth"), check=_check_flow, files=True))
ROLES.add("audio", Role(names=("audio", "sound", "wave", "file", "path"), check=_check_audio, files=True))
ROLES.add("points", Role(names=("points", "point_cloud", "cloud", "file", "path"), check=_check_points, files=True))
ROLES.add("video", Role(names=("video", "clip", "file", "path"), check=_check_video, files=True))
ROLES.add("objects", Role(names=("objects", "annotations", "boxes"), check=_check_objects))

# Values of one row that must fit each other: the roles, and what returns how they do not.
ROW_CHECKS: tuple[tuple[tuple[str, str], Callable[[Any, Any], str | None]], ...] = (
    (("frame1", "frame2"), _compare_frames),
    (("frame1", "flow"), _compare_flow),
    (("tokens", "tags"), _compare_tags),
    (("context", "answers"), compare_answers),
    (("image", "objects"), _compare_objects),
)
