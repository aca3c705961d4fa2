"""From a source's name to two checked data sets, with the columns that a task needs and no others."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import datasets
import numpy as np

from perceivers.data.errors import DataError, listed
from perceivers.data.files import READERS
from perceivers.data.folders import EVAL_SPLITS, TRAIN_SPLITS, WHOLE, Found, find_local
from perceivers.data.labels import label_names, with_class_ids
from perceivers.data.roles import ROLES, Reading
from perceivers.data.sources import SOURCES
from perceivers.data.split import random_split, stratified_split, tail_split
from perceivers.data.table import Table, check_values, table_from_dataset

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where data comes from and which part of it is used.

    Args:
        source: A built-in source, a file, a folder, or a data set on the Hugging Face Hub.
        subset: Subset (configuration) of a Hub data set; in a folder, the files called SUBSET.train.* and so on.
        train_split: Split to train on; `None` finds it.
        eval_split: Split to evaluate on; `None` takes the validation split, else the test split, else
            holds out a part of the training split. `all` is the whole of a source without splits.
        columns: Role -> name of its column, where the name does not say it.
        eval_fraction: Share held out when there is no split to evaluate on.
        limit: Most examples of each split; labelled ones are shuffled first so that classes stay mixed.
        seed: Settles what is held out and the shuffle.
        text_chunk_chars: About how many characters of a plain text make one example.
    """

    source: str
    subset: str | None = None
    train_split: str | None = None
    eval_split: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    eval_fraction: float = 0.2
    limit: int | None = None
    seed: int = 0
    text_chunk_chars: int = 4000

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError("source '' must name a built-in source, a file, a folder or a Hub data set")
        if not 0 < self.eval_fraction < 1:
            raise ValueError(f"eval_fraction ({self.eval_fraction}) must lie between 0 and 1")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit ({self.limit}) must be at least 1")
        if self.text_chunk_chars < 1:
            raise ValueError(f"text_chunk_chars ({self.text_chunk_chars}) must be at least 1")
        if self.seed < 0:
            raise ValueError(f"seed ({self.seed}) must not be negative")


@dataclass(frozen=True)
class Splits:
    """Data ready for a task; the columns are its roles.

    Args:
        train: To train on.
        eval: To evaluate on.
        labels: Names of the classes that the ids in column `label` stand for; `None` without labels.
        description: What it is and how much, in one line.
    """

    train: datasets.Dataset
    eval: datasets.Dataset
    labels: tuple[str, ...] | None
    description: str


def load_data(config: DataConfig, roles: tuple[str, ...], labels: tuple[str, ...] | None = None) -> Splits:
    """Find, check and split data.

    Args:
        config: Where it comes from.
        roles: The columns wanted, e.g. `("image", "label")`.
        labels: The classes of a trained model; `None` takes those of the training split.

    Raises:
        ValueError: The source is not found, or a value cannot be used (`DataError`, which names its place).
    """
    for role in (*roles, *config.columns):
        if ROLES[role] and role not in roles:
            raise ValueError(f"columns names a column for '{role}', which is not read; choices = {list(roles)}")
    reading = Reading(roles=roles, columns=config.columns, text_chunk_chars=config.text_chunk_chars)
    with _no_progress_bars():
        train, evaluation = _train_and_eval(_find(config, reading), config)
        names = None
        if "label" in roles:
            names = labels or label_names(train)
            train = with_class_ids(train, names)
            evaluation = None if evaluation is None else with_class_ids(evaluation, names)
        origin = f"{train.name} and {evaluation.name}" if evaluation is not None else f"parts of {train.name}"
        if evaluation is None:
            train, evaluation = _hold_out(train, config)
        train, evaluation = (_limited(table, config) for table in (train, evaluation))
        check_values(train)
        check_values(evaluation)
    counts = f"{len(train)} examples to train on, {len(evaluation)} to evaluate on"
    classes = "" if names is None else f", {len(names)} classes"
    columns = list(roles)
    return Splits(
        train.rows.select_columns(columns),
        evaluation.rows.select_columns(columns),
        names,
        f"{config.source}: {counts}{classes} ({origin})",
    )


def _find(config: DataConfig, reading: Reading) -> Found:
    """Return the splits of the source: built-in, else file or folder, else Hub."""
    if config.source in SOURCES:
        if config.subset is not None:
            raise DataError(f"source '{config.source}' has no subset '{config.subset}'")
        return _splits_of(SOURCES[config.source](), reading, config.source)
    path = Path(config.source).expanduser()
    if path.exists():
        return find_local(path, config.subset, reading)
    if path.suffix.lower() in READERS or not _HUB_NAME.fullmatch(config.source):
        raise DataError(f"data '{config.source}': no such file or folder; built-in sources = {list(SOURCES)}")
    return _splits_of(_from_hub(config), reading, config.source)


def _from_hub(config: DataConfig) -> datasets.DatasetDict:
    try:
        return datasets.load_dataset(config.source, config.subset)
    # Names, networks, permissions and scripts fail in many ways; to the user they are one.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise DataError(
            f"data '{config.source}' is no built-in source {list(SOURCES)}, no file or folder, and could not be "
            f"loaded from the Hugging Face Hub with subset {config.subset!r}: {type(error).__name__}: {reason}"
        ) from error


def _splits_of(loaded: datasets.DatasetDict, reading: Reading, name: str) -> Found:
    return {
        str(split): partial(table_from_dataset, rows, reading, f"{name} ({split})") for split, rows in loaded.items()
    }


def _train_and_eval(found: Found, config: DataConfig) -> tuple[Table, Table | None]:
    """Return the training split, and the one to evaluate on unless it must be held out."""
    names = list(found)
    train_name = config.train_split or _first(names, (*TRAIN_SPLITS, WHOLE))
    eval_name = config.eval_split or _first([name for name in names if name != train_name], EVAL_SPLITS)
    if names == [WHOLE]:
        # A source without splits is cut in two, and its parts can be asked for by name.
        train_name = WHOLE if train_name in TRAIN_SPLITS else train_name
        eval_name = None if eval_name in EVAL_SPLITS else eval_name
    if train_name is None:
        raise DataError(f"{config.source} has no training split; splits = {names}; name one with train_split")
    for name in (train_name, eval_name):
        if name is not None and name not in found:
            raise DataError(f"{config.source} has no split '{name}'; choices = {names}")
    train = found[train_name]()
    return train, None if eval_name is None else found[eval_name]()


def _first(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _hold_out(table: Table, config: DataConfig) -> tuple[Table, Table]:
    if table.runs:
        train, held = tail_split(table.runs, config.eval_fraction)
    elif "label" in table.rows.column_names:
        train, held = stratified_split(table.values("label"), config.eval_fraction, config.seed)
    else:
        train, held = random_split(len(table), config.eval_fraction, config.seed)
    if not held:
        raise DataError(
            f"{table.name}: {len(table)} examples are too few to hold some out; expected two or more"
            f"{' of a class' if 'label' in table.rows.column_names else ''}, or a split to evaluate on"
        )
    return table.take(train), table.take(held)


def _limited(table: Table, config: DataConfig) -> Table:
    if config.limit is None or len(table) <= config.limit:
        return table
    if "label" not in table.rows.column_names:
        return table.take(range(config.limit))
    return table.take(np.random.default_rng(config.seed).permutation(len(table))[: config.limit])


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Keep `datasets` from drawing bars of its own inside the block."""
    if datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
