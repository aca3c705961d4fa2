"""What is raised when data is not as a task needs it."""


class DataError(ValueError):
    """A fault in the data; the message names the place, the value and what was expected."""


def listed(names: object, limit: int = 20) -> str:
    """Return `names` (any iterable of strings) for a message, cut short when there are many."""
    items = list(names) if isinstance(names, list | tuple | set | dict) else [names]
    shown = ", ".join(repr(item) for item in items[:limit])
    return f"[{shown}]" if len(items) <= limit else f"[{shown}, and {len(items) - limit} more]"
