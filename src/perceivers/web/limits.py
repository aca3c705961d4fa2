"""What people may ask of the web demo, so that one of them cannot keep it from the others."""

from dataclasses import dataclass
from pathlib import Path

from perceivers.memory import parse_memory


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is refused, and how long an answer may take.

    Args:
        max_upload: Most bytes of a file, as "20MB".
        max_characters: Longest text.
        max_pixels: Most pixels of an image.
        max_seconds: Longest clip or sound.
        timeout: Seconds after which an answer is given up.
        queue: Most questions that wait; further ones are turned away.
    """

    max_upload: str = "20MB"
    max_characters: int = 20_000
    max_pixels: int = 30_000_000
    max_seconds: float = 60.0
    timeout: float = 60.0
    queue: int = 64

    def __post_init__(self) -> None:
        parse_memory(self.max_upload)
        for name in ("max_characters", "max_pixels", "max_seconds", "timeout", "queue"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must be greater than 0")

    @property
    def max_bytes(self) -> int:
        """Most bytes of a file."""
        return parse_memory(self.max_upload)

    def check_text(self, text: str, name: str = "text") -> str:
        """Return a text that is neither empty nor too long.

        Raises:
            ValueError: It is.
        """
        if not text or not text.strip():
            raise ValueError(f"the {name} is empty: type some, or take one of the examples")
        if len(text) > self.max_characters:
            raise ValueError(f"the {name} has {len(text):,} characters; at most {self.max_characters:,} are read here")
        return text

    def check_size(self, width: int, height: int) -> None:
        """Refuse an image of too many pixels.

        Raises:
            ValueError: It has.
        """
        if width * height > self.max_pixels:
            raise ValueError(f"the image has {width:,} x {height:,} pixels; at most {self.max_pixels:,} are read here")

    def check_length(self, seconds: float | None, what: str) -> None:
        """Refuse a clip or sound that is too long; `None` is a length that its file does not say.

        Raises:
            ValueError: It is too long.
        """
        if seconds is not None and seconds > self.max_seconds:
            raise ValueError(f"the {what} lasts {seconds:,.1f} s; at most {self.max_seconds:g} s are read here")

    def check_file(self, path: str | None, what: str) -> Path:
        """Return the path of a file that was given and is not too large.

        Raises:
            ValueError: There is none, or it is.
        """
        if path is None:
            raise ValueError(f"there is no {what} yet: give one, or take one of the examples")
        size = Path(path).stat().st_size
        if size > self.max_bytes:
            raise ValueError(f"the {what} has {size / 1e6:,.1f} MB; at most {self.max_bytes / 1e6:g} MB are read here")
        return Path(path)
