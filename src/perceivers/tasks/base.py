"""The contract of a task: prepare, loss, metrics, present. Training, command line and web use only this."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from perceivers.config import from_json, to_json
from perceivers.data.inputs import FOLDER_ROLES, predict_inputs
from perceivers.data.stream import Stream
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.processing.files import write_picture, write_whole
from perceivers.registry import Registry

if TYPE_CHECKING:
    from typing_extensions import Self

SettingsT = TypeVar("SettingsT")
# What a task answers: in the form of the Hugging Face pipelines where they have one, or an object of the task's own.
Result = Any
# What of an answer can be written as JSON: mappings, or lists of such where there are several questions in an input.
Summary = list[Any]


@runtime_checkable
class Rows(Protocol):
    """Rows of data, each a mapping from role to value: a list of dicts, or a data set of Hugging Face `datasets`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


@runtime_checkable
class Metrics(Protocol):
    """Scores by name, which count batches: a `MetricCollection` of torchmetrics.

    It is named by its form, so that nothing but scoring imports torchmetrics, which takes seconds.
    """

    def __getitem__(self, key: str, /) -> Any: ...

    def __contains__(self, key: str, /) -> bool: ...

    def update(self, *args: Any) -> None:
        """Count a batch."""
        ...

    def compute(self) -> dict[str, Any]:
        """Return the scores by name."""
        ...

    def to(self, device: torch.device, /) -> Any:
        """Move the counts to a device, and return them."""
        ...


@dataclass(frozen=True)
class Part:
    """A part of a loss that is a mean over a number of things which is not the same in each batch.

    Processes that train together have the mean over all things, not that over processes.

    Args:
        mean: The part as it stands in the loss, a scalar.
        count: How many things it is a mean over, or the sum of their weights, a scalar.
    """

    mean: Tensor
    count: Tensor


@dataclass(frozen=True)
class Step:
    """What one batch gave.

    Args:
        loss: Mean loss, a scalar.
        outputs: What the model answered: a tensor, or several by name.
        targets: What it should have answered, likewise.
        parts: The parts of the loss that are means over varying numbers of things; always the same parts.
    """

    loss: Tensor
    outputs: Any
    targets: Any
    parts: tuple[Part, ...] = ()


class Task(ABC, Generic[SettingsT]):
    """One task with its settings, fitted to one model config.

    A task is a file that defines a subclass and registers it:
    `@TASKS.register("my-task")`. It is then trained, evaluated and served like any other.

    Args:
        settings: The task's own settings; saved with the model.
        config: The model's config; `fit` may have changed it to suit the data.
    """

    name: ClassVar[str]
    Settings: ClassVar[type]
    roles: ClassVar[tuple[str, ...]]  # what a data set must have
    optional_roles: ClassVar[tuple[str, ...]] = ()  # what it may have
    input_role: str  # what prediction is given
    default_model: ClassVar[str]  # name in the zoo, for training from nothing
    released_model: ClassVar[str | None] = None  # name in the zoo of trained weights, for prediction
    batch_size: ClassVar[int] = 32  # inputs that are answered or scored at a time when nothing else is asked for
    # The metric by which the best checkpoint is chosen. It, and what is read, may depend on settings or model.
    score: str
    higher_is_better: bool = True

    def __init__(self, settings: SettingsT, config: PerceiverConfig) -> None:
        self.settings = settings
        self.config = config

    @classmethod
    def fit(cls, config: PerceiverConfig, labels: Sequence[str] | None, settings: Mapping[str, Any]) -> "Self":
        """Make the task for a data set, with the model's config changed to suit it.

        Args:
            config: Config to start from.
            labels: Label names of the data, for tasks that have labels.
            settings: Fields of `Settings` that differ from their defaults.

        Raises:
            ValueError: The config cannot serve this task, or a setting is wrong.
        """
        return cls(from_json(cls.Settings, settings, f"{cls.name} settings"), config)

    @classmethod
    def adapt(cls, model: PerceiverIO, settings: SettingsT) -> tuple[PerceiverIO, str]:
        """Return a trained model as changed settings need it, and what was done to it, in words; mostly nothing."""
        return model, ""

    @classmethod
    def usual_model(cls, config: PerceiverConfig) -> PerceiverConfig:
        """Return the model whose queries, decoder and outputs one that was made for another task is given.

        Args:
            config: The model that was made for another task, perhaps.
        """
        from perceivers.zoo import ZOO

        return ZOO[cls.default_model].config

    @classmethod
    def roles_for(cls, config: PerceiverConfig) -> tuple[str, ...]:
        """Return what a data set must have to train a model: the roles, unless they depend on what it reads."""
        return cls.roles

    @classmethod
    @abstractmethod
    def example(cls) -> "tuple[Self, Rows]":
        """Return a tiny task and a few rows of data for it; contract tests walk all tasks."""

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Label names, for tasks that have labels."""
        return None

    @abstractmethod
    def prepare(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Turn one row (role -> value) into arrays; target roles may be absent when predicting."""

    @abstractmethod
    def collate(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Put prepared rows into one batch."""

    def study(self, rows: Rows | Stream) -> None:
        """See the training split before training begins: what the loss depends on, and is not kept with the model."""

    def dataset(self, rows: Rows, *, training: bool) -> Dataset[dict[str, Any]]:
        """Return the prepared data set; tasks that cut rows into several examples override this."""
        return PreparedRows(self, rows)

    def augment(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Change a collated batch at random; runs in the main process, so that its randomness is resumable."""
        return batch

    @abstractmethod
    def step(self, model: PerceiverIO, batch: Mapping[str, Tensor]) -> Step:
        """Run the model on a batch that holds targets and return the loss."""

    @abstractmethod
    def metrics(self) -> Metrics:
        """Return fresh metrics; the class attribute `score` names one of them."""

    @abstractmethod
    def update(self, metrics: Metrics, step: Step) -> None:
        """Count one batch."""

    def gather(self, given: Sequence[Any]) -> tuple[Sequence[Any], bool]:
        """Return the inputs in the arguments of one call, and whether they are several.

        Args:
            given: One input, a sequence of inputs, or a folder of images or videos; tasks that read several things at
                once override this.

        Raises:
            ValueError: The number of arguments is another, or the folder has nothing to read.
        """
        if len(given) != 1:
            raise ValueError(f"{self.name} takes one input or a list of inputs, not {len(given)} arguments")
        (value,) = given
        if self.input_role in FOLDER_ROLES and isinstance(value, str | Path) and Path(value).is_dir():
            return [file for _, file in predict_inputs([str(value)], self.input_role)], True
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            return value, True
        return [value], False

    def input_of(self, row: Mapping[str, Any]) -> Any:
        """Return what prediction would be given of a row of data."""
        return row[self.input_role]

    def row_of(self, value: Any) -> Mapping[str, Any]:
        """Return an input as a row of data; one that is a mapping with the `input_role` is that already."""
        return value if isinstance(value, Mapping) and self.input_role in value else {self.input_role: value}

    def pieces(self, value: Any) -> Iterator[dict[str, Any]]:
        """Cut one input into prepared rows that the model can read: one, unless inputs may be larger than it reads."""
        yield self.prepare(self.row_of(value))

    @abstractmethod
    def predict(self, model: PerceiverIO, inputs: Sequence[Any], *, top_k: int = 5) -> list[Result]:
        """Answer inputs (values of `input_role`) in the form of the Hugging Face pipelines, where they have one."""

    def summary(self, result: Result) -> Summary:
        """Return what of a result can be written as JSON."""
        return result

    @abstractmethod
    def picture(self, value: Any, result: Result) -> Image.Image:
        """Draw one input with its answer."""

    def save(self, value: Any, result: Result, folder: Path, name: str) -> list[Path]:
        """Write all that shows a result to `folder`, under names that begin with `name`.

        Returns:
            The files.
        """
        summary, picture = folder / f"{name}.json", folder / f"{name}.png"
        write_whole(summary, json.dumps(self.summary(result), indent=2, ensure_ascii=False) + "\n")
        write_picture(picture, self.picture(value, result))
        return [summary, picture]

    def draw_weights(self, item: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Image.Image:
        """Draw on a piece of input how much attention each of its tokens has.

        Args:
            item: The prepared row, from `pieces`.
            weights: For each modality the weights of its tokens in the form of their grid; a model of one modality
                has them under the name of the task's `input_role`.

        Raises:
            ValueError: The task has no such picture.
        """
        raise ValueError(f"{self.name} has no picture of attention")

    def to_json(self) -> dict[str, Any]:
        """Return name and settings, as saved beside the model."""
        return {"name": self.name, **to_json(self.settings)}


class PreparedRows(Dataset[dict[str, Any]]):
    """Rows prepared when they are asked for."""

    def __init__(self, task: Task[Any], rows: Rows) -> None:
        self.task = task
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.task.prepare(self.rows[index])


class _TaskRegistry(Registry[type[Task[Any]]]):
    def add(self, name: str, item: type[Task[Any]]) -> type[Task[Any]]:
        item.name = name
        return super().add(name, item)


TASKS: Registry[type[Task[Any]]] = _TaskRegistry("task")


def task_from_json(data: Mapping[str, Any], config: PerceiverConfig) -> Task[Any]:
    """Make the task that `Task.to_json` described.

    Raises:
        ValueError: The task is unknown, or a setting is wrong.
    """
    settings = {key: value for key, value in data.items() if key != "name"}
    if "name" not in data:
        raise ValueError(f"the task settings lack 'name'; tasks = {list(TASKS)}")
    cls = TASKS[data["name"]]
    return cls(from_json(cls.Settings, settings, f"{cls.name} settings"), config)


def to_device(batch: Mapping[str, Tensor], model: PerceiverIO) -> dict[str, Tensor]:
    """Move a batch to where the model is."""
    device = next(model.parameters()).device
    return {key: value.to(device) for key, value in batch.items()}


def stack(items: Sequence[Mapping[str, Any]], key: str) -> Tensor:
    """Stack equal arrays or numbers under `key` into one tensor."""
    return torch.from_numpy(np.stack([np.asarray(item[key]) for item in items]))
