"""The tasks that one model answers."""

from dataclasses import dataclass

# What is measured of a task with labels, of one with two labels besides, and of one whose answer is a number.
LABEL_SCORES = ("accuracy", "f1", "matthews")
TWO_LABEL_SCORES = ("positive_f1",)
NUMBER_SCORES = ("pearson", "spearman", "mse")


@dataclass(frozen=True)
class Subtask:
    """One of the tasks that a model answers.

    Args:
        name: Its name.
        labels: Its labels; none for a task whose answer is a number.
        start: Its first output among those of all tasks.
    """

    name: str
    labels: tuple[str, ...]
    start: int

    @property
    def outputs(self) -> slice:
        """Its outputs among those of all tasks."""
        return slice(self.start, self.start + max(len(self.labels), 1))

    @property
    def measured(self) -> tuple[str, ...]:
        """The names of its scores."""
        if not self.labels:
            return NUMBER_SCORES
        return LABEL_SCORES + (TWO_LABEL_SCORES if len(self.labels) == 2 else ())
