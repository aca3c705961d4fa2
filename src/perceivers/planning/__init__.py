"""What a model costs before it has weights: parameters, FLOPs, memory, time on this machine."""

from perceivers.planning.costs import DTYPES, Count, Plan, Stage, count, plan
from perceivers.planning.machine import Machine
from perceivers.planning.published import PUBLISHED, Comparison, Published, compare

__all__ = [
    "DTYPES",
    "PUBLISHED",
    "Comparison",
    "Count",
    "Machine",
    "Plan",
    "Published",
    "Stage",
    "compare",
    "count",
    "plan",
]
