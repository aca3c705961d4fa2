"""Which data, and what comes of loading it."""

from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset

from perceivers.data.roles import DataError
from perceivers.data.stream import Stream


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which data.

    Args:
        source: A built-in name, a folder, a file, or a data set of the Hugging Face Hub; some of these have short names
            ("imdb", "glue/sst2"). For a task that reads several data sets at once see `part_sources`.
        options: Fields of a generated data set that differ from their defaults, e.g. `{"num_train": 1000}`.
        subset: Configuration of a Hub data set; for a folder of text files the part of the name
            before `.train.txt`; for a folder of optical flow see `read_flow_folder`.
        train_split: Name of the training split; `None` finds it.
        eval_split: Name of the evaluation split; `None` prefers a test split.
        labels: Label names in the order of their ids; `None` finds them.
        streaming: Read the training split row by row, pass after pass, and never hold it. Its labels must be listed
            in `labels` or declared by the data set, as the Hub's are; the evaluation split is held.
        shuffle_buffer: Rows of a stream among which the next is drawn.
        columns: Which column has which role, e.g. `{"text": "review"}`; others are found by name.
        eval_fraction: Share held out when the source has one split only.
        evaluation: Other data to evaluate on: its evaluation split, or all of it when it has one split only.
        limit: Keep at most so many examples of each split, chosen at random.
        seed: Seed of holding out and limiting.
        text_characters: Rough length of the pieces that text files are cut into.
    """

    source: str
    options: dict[str, Any] = field(default_factory=dict)
    subset: str | None = None
    train_split: str | None = None
    eval_split: str | None = None
    labels: tuple[str, ...] | None = None
    streaming: bool = False
    shuffle_buffer: int = 1000
    columns: dict[str, str] = field(default_factory=dict)
    eval_fraction: float = 0.2
    evaluation: "DataConfig | None" = None
    limit: int | None = None
    seed: int = 0
    text_characters: int = 4000

    def __post_init__(self) -> None:
        if not 0 < self.eval_fraction < 1:
            raise ValueError(f"eval_fraction ({self.eval_fraction}) must lie between 0 and 1")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit ({self.limit}) must be at least 1")
        for name in ("text_characters", "shuffle_buffer"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        if self.labels is not None and len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels {list(self.labels)} must differ")
        if self.evaluation is not None and self.evaluation.evaluation is not None:
            raise ValueError("the data to evaluate on cannot have other data to evaluate on")
        if self.evaluation is not None and self.eval_split is not None:
            raise ValueError(
                f"eval_split '{self.eval_split}' names a split of '{self.source}', which is not evaluated on; "
                f"set evaluation.eval_split"
            )


@dataclass(frozen=True)
class Splits:
    """Checked data.

    Args:
        train: Training split; its columns are the roles. A stream of such splits where it is not held.
        eval: Evaluation split.
        labels: Label names in the order of the ids, when there are labels.
        description: Source and sizes, in words.
        held_out: Whether the evaluation split was cut off a source without splits.
    """

    train: Dataset | Stream
    eval: Dataset
    labels: tuple[str, ...] | None
    description: str
    held_out: bool = False

    @property
    def rows(self) -> Dataset:
        """The training split, where it is held.

        Raises:
            DataError: It is a stream.
        """
        if isinstance(self.train, Stream):
            raise DataError(f"{self.train.source}: this needs the training split at once, which is a stream")
        return self.train
