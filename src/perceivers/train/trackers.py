"""Where curves go."""

from collections.abc import Mapping
from typing import Any

from accelerate.tracking import get_available_trackers
from accelerate.utils import LoggerType


def check_tracker(name: str | None) -> None:
    """Refuse a tracker that there is not.

    Raises:
        ValueError: Accelerate does not know it, or it is not installed.
    """
    known = [tracker for tracker in LoggerType.list() if tracker != LoggerType.ALL.value]
    if name is not None and name not in known:
        raise ValueError(f"tracker '{name}' not found; choices = {known}")
    # Accelerate itself would leave it out without a word.
    if name is not None and LoggerType(name) not in get_available_trackers():
        raise ValueError(f"tracker '{name}' is not installed; install it, or set tracker to null")


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, int | float | str | bool]:
    """Return nested settings as one level of plain values, as trackers want them."""
    values: dict[str, int | float | str | bool] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            values.update(flat(value, f"{prefix}{name}."))
        elif value is not None:
            values[f"{prefix}{name}"] = value if isinstance(value, int | float | bool) else str(value)
    return values
