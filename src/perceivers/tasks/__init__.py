"""Tasks. Each file here registers its own; importing the room imports them all."""

from importlib import import_module
from pkgutil import iter_modules

from perceivers.tasks.base import TASKS, Metrics, Part, Result, Rows, Step, Task, task_from_json

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["TASKS", "Metrics", "Part", "Result", "Rows", "Step", "Task", "task_from_json"]
