"""A name, folder or file to two checked splits whose columns are roles."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from datasets import Dataset, are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from perceivers.data.columns import check_rows, offers, roles_only, with_roles
from perceivers.data.config import DataConfig, Splits
from perceivers.data.generated import source_of
from perceivers.data.holding import hold_end_out, hold_out
from perceivers.data.labels import LABELLINGS, Labelling
from perceivers.data.named import NAMED
from perceivers.data.opening import open_parts
from perceivers.data.questions import one_row_a_question
from perceivers.data.roles import DataError
from perceivers.data.several import SCORE, columns_by_task, join_parts, part_sources, task_labels
from perceivers.data.streaming import open_stream


def load_data(
    config: DataConfig,
    roles: Sequence[str],
    labels: Sequence[str] | None = None,
    *,
    optional_roles: Sequence[str] = (),
) -> Splits:
    """Load data and check every row before anything is trained.

    Args:
        config: Which data.
        roles: The columns that the task needs.
        labels: Label names of a trained model; the data must not have others.
        optional_roles: Columns that the task takes if every split has them.

    Raises:
        DataError: Something is missing, broken or unknown; the message names file, row and value.
    """
    with quiet():
        if "task" in roles:
            others = tuple(role for role in roles if role not in ("task", "label"))
            return _load_tasks(config, others, labels, optional_roles)
        return _load(config, tuple(roles), labels, optional_roles)


def _load_tasks(
    config: DataConfig, roles: tuple[str, ...], labels: Sequence[str] | None, optional_roles: Sequence[str]
) -> Splits:
    """Load several data sets as one; a role `score` in place of `label` makes a task whose answer is a number."""
    if config.streaming:
        raise DataError(f"{config.source}: the data of several tasks is not streamed")
    if config.evaluation is not None:
        raise DataError(f"{config.source}: the data of several tasks is evaluated on its own evaluation splits")
    sources = part_sources(config.source)
    known = None if labels is None else task_labels(labels)
    parts: dict[str, Splits] = {}
    for name, source in sources.items():
        if known is not None and name not in known:
            raise DataError(f"{source}: '{name}' is none of the tasks {list(known)}; name the data TASK=SOURCE")
        own = None if known is None else known[name]
        part = replace(config, source=source, columns=columns_by_task(config.columns, name, list(sources)))
        part = _known(part, (*roles, *optional_roles, "label", SCORE))
        target = SCORE if SCORE in part.columns or own == (SCORE,) else "label"
        parts[name] = _load(part, (*roles, target), own, optional_roles)
    train = join_parts({name: part.rows for name, part in parts.items()})
    evaluation = join_parts({name: part.eval for name, part in parts.items()})
    names = tuple(f"{name}/{label}" for name, part in parts.items() for label in part.labels or (SCORE,))
    words = f"{config.source}: {len(train):,} training and {len(evaluation):,} evaluation examples of the tasks"
    held_out = any(part.held_out for part in parts.values())
    return Splits(train, evaluation, tuple(labels or names), f"{words} {', '.join(parts)}", held_out)


def _known(config: DataConfig, roles: Sequence[str]) -> DataConfig:
    """Return the config with what is known of a data set by its name; what was asked for wins."""
    named = NAMED.get(config.source)
    if named is None or Path(config.source).exists():
        return config
    if config.subset not in (None, named.subset):
        raise DataError(f"'{config.source}' has no subset '{config.subset}'")
    columns = {role: column for role, column in named.columns.items() if role in roles} | config.columns
    eval_split = config.eval_split or named.eval_split
    return replace(config, subset=named.subset, eval_split=eval_split, columns=columns)


def _load(
    config: DataConfig, roles: tuple[str, ...], labels: Sequence[str] | None, optional_roles: Sequence[str]
) -> Splits:
    possible = (*roles, *optional_roles)
    config = _known(config, possible)
    configs = {"train": config, "eval": config}
    other: dict[str, Dataset] = {}
    if config.evaluation is not None:
        configs["eval"] = _known(config.evaluation, possible)
        found = open_parts(configs["eval"], possible)
        other = {"eval": found.get("eval", found["train"])}
    if config.streaming:
        stream, held = open_stream(config, with_eval=not other)
        opened = {"train": stream.head(), **held, **other}
    else:
        stream, opened = None, {**open_parts(config, possible), **other}
    if "answers" in roles:
        opened = {name: one_row_a_question(part) for name, part in opened.items()}
    required = roles
    roles += tuple(
        role
        for role in optional_roles
        if role in config.columns or all(offers(part, role, configs[name]) for name, part in opened.items())
    )
    parts = {name: _checked(part, roles, configs[name], name) for name, part in opened.items()}
    names = _names(parts["train"], roles, config, labels, required)
    parts = {name: _encoded(part, roles, names) for name, part in parts.items()}
    held_out = "eval" not in parts
    if held_out:
        parts = _hold_out(parts["train"], config)
    train, evaluation = (roles_only(_limited(parts[name], configs[name]), roles) for name in ("train", "eval"))
    # The limit of the whole holds for other data, too.
    evaluation = _limited(evaluation, config)
    if stream is None:
        return Splits(train, evaluation, names, _in_words(config, f"{len(train):,}", len(evaluation), names), held_out)

    def ready(block: Dataset) -> Dataset:
        with quiet():
            block = one_row_a_question(block) if "answers" in roles else block
            return roles_only(_encoded(_checked(block, roles, config, "train"), roles, names), roles)

    words = _in_words(config, "a stream of", len(evaluation), names)
    return Splits(replace(stream, ready=ready), evaluation, names, words)


def _checked(part: Dataset, roles: Sequence[str], config: DataConfig, name: str) -> Dataset:
    """Return a part whose columns are roles, all rows looked at."""
    where = f"{config.source} [{name}]"
    part = with_roles(part, roles, config, where)
    check_rows(part, roles, where)
    return part


def _names(
    train: Dataset, roles: Sequence[str], config: DataConfig, labels: Sequence[str] | None, required: Sequence[str]
) -> tuple[str, ...] | None:
    """Return the label names, when a role has any."""
    role = next((role for role in roles if role in LABELLINGS), None)
    if role is None:
        return None
    labelling = LABELLINGS[role]
    known = labels or config.labels
    if known is None and config.streaming:
        known = labelling.declared(train)
        if known is None:
            raise DataError(
                f"{config.source}: a stream does not tell its labels before all of it was read; list them: "
                f"data.labels (--set 'data.labels=[...]')"
            )
    if known is None:
        made = source_of(train)
        known = labelling.names(train) if made is None else made.labels
    names = tuple(known)
    if len(names) < labelling.fewest and role in required:
        least = f"at least {labelling.fewest} labels"
        raise DataError(f"{config.source}: {labelling.use} needs {least}, found {list(names)}")
    return names


def _encoded(part: Dataset, roles: Sequence[str], names: tuple[str, ...] | None) -> Dataset:
    for role in roles:
        if role in LABELLINGS:
            part = _with_ids(part, LABELLINGS[role], names or ())
    return part


def _with_ids(part: Dataset, labelling: Labelling, names: tuple[str, ...]) -> Dataset:
    """Return a split with ids instead of labels, which rows that are made have from the beginning."""
    source = source_of(part)
    if source is None:
        return labelling.encode(part, names)
    if source.labels != names:
        raise DataError(f"the data is made with the labels {list(source.labels)}, not {list(names)}")
    return part


def _in_words(config: DataConfig, num_train: str, num_eval: int, labels: Sequence[str] | None) -> str:
    known = f", {len(labels)} labels" if labels else ""
    if config.evaluation is None:
        return f"{config.source}: {num_train} training and {num_eval:,} evaluation examples{known}"
    return (
        f"{config.source}: {num_train} training examples{known}; "
        f"{config.evaluation.source}: {num_eval:,} evaluation examples"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the progress bars of `datasets` away, and leave its setting as it was."""
    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()


def _hold_out(train: Dataset, config: DataConfig) -> dict[str, Dataset]:
    if Path(config.source).suffix == ".txt":
        return hold_end_out(train, config.eval_fraction, config.source)
    return hold_out(train, config.eval_fraction, config.seed, config.source)


def _limited(part: Dataset, config: DataConfig) -> Dataset:
    if config.limit is None or config.limit >= len(part):
        return part
    order = np.random.default_rng(config.seed).permutation(len(part))
    return part.select(sorted(order[: config.limit]))
