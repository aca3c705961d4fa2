"""Amounts of memory as people write them."""

import re

_UNITS = {"": 1, "B": 1}
_UNITS |= {unit + end: 1000**i for i, unit in enumerate("KMGT", 1) for end in ("B", "")}
_UNITS |= {f"{unit}IB": 1024**i for i, unit in enumerate("KMGT", 1)}


def parse_memory(amount: str | int) -> int:
    """Return bytes.

    Args:
        amount: Bytes, or a text such as "500MB" (millions), "1.5GiB" (1024 * 1024 * 1024) or "200k".

    Raises:
        ValueError: The text has another form, or the amount is not positive.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", str(amount))
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise ValueError(
            f"memory ({amount!r}) must be a number and a unit, e.g. 500MB, 1.5GiB; units = B, kB .. TB, KiB .. TiB"
        )
    size = int(float(match[1]) * unit)
    if size < 1:
        raise ValueError(f"memory ({amount!r}) must be positive")
    return size
