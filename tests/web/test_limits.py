"""What the web demo refuses."""

import re
from pathlib import Path

import pytest

from perceivers.web import Limits

LIMITS = Limits(max_upload="1kB", max_characters=10, max_pixels=100, max_seconds=2.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_characters", 0), ("max_pixels", -1), ("max_seconds", 0.0), ("timeout", -0.5), ("queue", 0)],
)
def test_limits_are_positive(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{name} ({value}) must be greater than 0")):
        Limits(**{name: value})


def test_the_largest_file_is_an_amount() -> None:
    assert Limits(max_upload="1.5MiB").max_bytes == 3 * 2**19
    with pytest.raises(ValueError, match="'much'"):
        Limits(max_upload="much")


def test_texts() -> None:
    assert LIMITS.check_text("ten bytes.") == "ten bytes."
    with pytest.raises(ValueError, match=r"the text has 11 characters; at most 10 are read here"):
        LIMITS.check_text("eleven byte")
    for empty in ("", " \n"):
        with pytest.raises(ValueError, match="the question is empty: type some, or take one of the examples"):
            LIMITS.check_text(empty, "question")


def test_sizes_and_lengths() -> None:
    LIMITS.check_size(10, 10)
    LIMITS.check_length(2.0, "clip")
    LIMITS.check_length(None, "clip")
    with pytest.raises(ValueError, match="the image has 101 x 1 pixels; at most 100 are read here"):
        LIMITS.check_size(101, 1)
    with pytest.raises(ValueError, match=r"the sound lasts 2\.1 s; at most 2 s are read here"):
        LIMITS.check_length(2.1, "sound")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    assert LIMITS.check_file(str(path), "clip") == path
    path.write_bytes(bytes(1100))
    with pytest.raises(ValueError, match=re.escape("the clip has 0.0 MB; at most 0.001 MB are read here")):
        LIMITS.check_file(str(path), "clip")
    with pytest.raises(ValueError, match="there is no clip yet: give one, or take one of the examples"):
        LIMITS.check_file(None, "clip")
