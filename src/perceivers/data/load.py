"""A name, folder or file to two checked splits whose columns are roles."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Audio as AudioFeature
from datasets import (
    Dataset,
    DatasetDict,
    Value,
    are_progress_bars_disabled,
    concatenate_datasets,
    disable_progress_bars,
    enable_progress_bars,
    load_dataset,
)
from datasets import Image as ImageFeature
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from perceivers.config import from_json
from perceivers.data.class_folders import FILE_KINDS, read_class_folders
from perceivers.data.clips import read_video_folders
from perceivers.data.coco import coco_files
from perceivers.data.config import DataConfig, Splits
from perceivers.data.flow_pairs import read_flow_folder
from perceivers.data.generated import GENERATED, source_of
from perceivers.data.holding import hold_end_out, hold_out
from perceivers.data.labels import LABELLINGS, Labelling
from perceivers.data.named import NAMED
from perceivers.data.questions import one_row_a_question
from perceivers.data.roles import ROLES, ROW_CHECKS, DataError
from perceivers.data.several import SCORE, columns_of, join_parts, part_sources, task_labels
from perceivers.data.sources import SOURCES
from perceivers.data.tables import GROUP, ORIGIN, TABLE_SUFFIXES, has_image_classes, read_image_folder, read_table

_TRAIN_NAMES = ("train", "training")
# The held-out test comes first: what a run reports should not be what it was tuned on.
_EVAL_NAMES = ("test", "eval", "evaluation", "validation", "valid", "val", "dev")


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
    if config.evaluation is not None:
        raise DataError(f"{config.source}: the data of several tasks is evaluated on its own evaluation splits")
    sources = part_sources(config.source)
    known = None if labels is None else task_labels(labels)
    parts: dict[str, Splits] = {}
    for name, source in sources.items():
        if known is not None and name not in known:
            raise DataError(f"{source}: '{name}' is none of the tasks {list(known)}; name the data TASK=SOURCE")
        own = None if known is None else known[name]
        part = replace(config, source=source, columns=columns_of(config.columns, name, list(sources)))
        part = _known(part, (*roles, *optional_roles, "label", SCORE))
        target = SCORE if SCORE in part.columns or own == (SCORE,) else "label"
        parts[name] = _load(part, (*roles, target), own, optional_roles)
    train = join_parts({name: part.train for name, part in parts.items()})
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
    opened = _split(_open(config, possible), config)
    configs: dict[str, DataConfig] = {"train": config, "eval": config}
    if config.evaluation is not None:
        configs["eval"] = _known(config.evaluation, possible)
        other = _split(_open(configs["eval"], possible), configs["eval"])
        opened = {"train": opened["train"], "eval": other.get("eval", other["train"])}
    if "answers" in roles:
        opened = {name: one_row_a_question(part) for name, part in opened.items()}
    required = roles
    roles += tuple(
        role
        for role in optional_roles
        if role in config.columns or all(_offers(part, role, configs[name]) for name, part in opened.items())
    )
    parts = {
        name: _with_roles(part, roles, configs[name], f"{configs[name].source} [{name}]")
        for name, part in opened.items()
    }
    for name, part in parts.items():
        _check(part, roles, f"{configs[name].source} [{name}]")
    names: tuple[str, ...] | None = None
    for role in (role for role in roles if role in LABELLINGS):
        labelling = LABELLINGS[role]
        made = source_of(parts["train"])
        found = labelling.names(parts["train"]) if made is None else made.labels
        names = found if labels is None else tuple(labels)
        if len(names) < labelling.fewest and role in required:
            least = f"at least {labelling.fewest} labels"
            raise DataError(f"{config.source}: {labelling.use} needs {least}, found {list(names)}")
        parts = {name: _encoded(part, labelling, names) for name, part in parts.items()}
    held_out = "eval" not in parts
    if held_out:
        parts = _hold_out(parts["train"], config)
    train, evaluation = (_roles_only(_limited(parts[name], configs[name]), roles) for name in ("train", "eval"))
    # The limit of the whole holds for other data, too.
    evaluation = _limited(evaluation, config)
    return Splits(train, evaluation, names, _in_words(config, len(train), len(evaluation), names), held_out)


def _in_words(config: DataConfig, num_train: int, num_eval: int, labels: Sequence[str] | None) -> str:
    known = f", {len(labels)} labels" if labels else ""
    if config.evaluation is None:
        return f"{config.source}: {num_train:,} training and {num_eval:,} evaluation examples{known}"
    return (
        f"{config.source}: {num_train:,} training examples{known}; "
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


def _open(config: DataConfig, roles: Sequence[str]) -> DatasetDict:
    path = Path(config.source)
    if config.subset is not None and (config.source in (*SOURCES, *GENERATED) or path.is_file()):
        raise DataError(f"'{config.source}' has no subset '{config.subset}'")
    if config.source in GENERATED:
        return from_json(GENERATED[config.source], config.options, f"options of {config.source}").splits()
    if config.options:
        raise DataError(f"'{config.source}' takes no options, got {config.options}; those that do = {list(GENERATED)}")
    if config.source in SOURCES:
        return _with_origins(SOURCES[config.source](), config.source)
    if path.is_file():
        return DatasetDict({"train": read_table(path, config.text_characters)})
    if path.is_dir():
        return _open_folder(path, config, roles)
    try:
        named = NAMED.get(config.source)
        loaded = _from_hub(named.repository if named else config.source, config.subset)
    except (FileNotFoundError, ConnectionError, ValueError, OSError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"'{config.source}' is no folder or file, none of the built-in {[*SOURCES, *GENERATED]}, "
            f"and could not be loaded from the Hub: {first_line}"
        ) from error
    if not isinstance(loaded, DatasetDict):
        raise DataError(f"'{config.source}' has no named splits")
    return _with_origins(loaded, config.source)


def _from_hub(name: str, subset: str | None) -> Any:
    """Load from the Hub; without an answer, say so at once instead of trying again and again."""
    try:
        HfApi().dataset_info(name, timeout=10)
    except (HfHubHTTPError, OfflineModeIsEnabled):
        pass  # The Hub's own word, or offline mode: `load_dataset` uses the cache or says what is wrong.
    except Exception as error:
        # The error's type belongs to the HTTP client, which differs between versions of the Hub library.
        raise ConnectionError("the Hub cannot be reached; HF_HUB_OFFLINE=1 uses what was loaded before") from error
    return load_dataset(name, subset)


def _open_folder(folder: Path, config: DataConfig, roles: Sequence[str]) -> DatasetDict:
    known = _TRAIN_NAMES + _EVAL_NAMES + tuple(name for name in (config.train_split, config.eval_split) if name)
    if "flow" in roles and (pairs := read_flow_folder(folder, config.subset, known)):
        return pairs
    if "video" in roles and (clips := read_video_folders(folder, known)):
        return clips
    kinds = [FILE_KINDS[role] for role in roles if role in FILE_KINDS]
    for kind in kinds:
        if parts := read_class_folders(folder, kind, known):
            return parts
    if "objects" in roles and (files := coco_files(folder, known)):
        return DatasetDict({name: read_table(path, config.text_characters) for name, path in files.items()})
    split_folders = {path.name: path for path in folder.iterdir() if path.is_dir() and path.name in known}
    if split_folders and any(has_image_classes(path) for path in split_folders.values()):
        return DatasetDict({name: read_image_folder(path) for name, path in split_folders.items()})
    if tables := _open_tables(folder, config, known):
        return tables
    if has_image_classes(folder):
        return DatasetDict({"train": read_image_folder(folder)})
    expected = "images in class folders (<class>/<image> or train/<class>/<image>)"
    if "flow" in roles:
        expected = "pairs of frames with their flow (NAME_img1, NAME_img2 and NAME_flow, or as MPI-Sintel or KITTI)"
    elif "video" in roles:
        expected = "videos (in the folder itself, in train and test, or in class folders there)"
    elif kinds:
        expected = kinds[0].expected
    raise DataError(
        f"{folder}: found neither {expected} nor tables (train.csv, test.csv, ...; kinds = {list(TABLE_SUFFIXES)})"
    )


def _open_tables(folder: Path, config: DataConfig, known: Sequence[str]) -> DatasetDict | None:
    files: dict[str, list[Path]] = {}
    subsets: set[str] = set()
    for path in sorted(folder.iterdir()):
        found = re.fullmatch(r"(?:(.+)[.\-_])?([a-z]+)", path.stem)
        if path.suffix not in TABLE_SUFFIXES or not found or found.group(2) not in known:
            continue
        subsets |= {found.group(1)} - {None}
        if config.subset in (None, found.group(1)):
            files.setdefault(found.group(2), []).append(path)
    if config.subset is not None and not files:
        raise DataError(f"{folder} has no subset '{config.subset}'; choices = {sorted(subsets)}")
    if not files:
        return None
    return DatasetDict(
        {
            name: concatenate_datasets([read_table(path, config.text_characters) for path in paths])
            for name, paths in files.items()
        }
    )


def _with_origins(parts: DatasetDict, source: str) -> DatasetDict:
    return DatasetDict(
        {
            str(name): part.add_column(ORIGIN, [f"{source} [{name}], row {i}" for i in range(len(part))])
            for name, part in parts.items()
        }
    )


def _split(parts: DatasetDict, config: DataConfig) -> dict[str, Dataset]:
    """Return the training part and, when there is one, the evaluation part."""
    train_name = _choose(parts, config.train_split, _TRAIN_NAMES, config.source)
    if train_name is None:
        train_name = str(next(iter(parts)))
    # A split that is named may be the training split itself: a score on it is then what is wanted.
    others = [str(name) for name in parts if name != train_name or name == config.eval_split]
    eval_name = _choose({name: parts[name] for name in others}, config.eval_split, _EVAL_NAMES, config.source)
    if eval_name is None:
        return {"train": parts[train_name]}
    return {"train": parts[train_name], "eval": parts[eval_name]}


def _hold_out(train: Dataset, config: DataConfig) -> dict[str, Dataset]:
    if Path(config.source).suffix == ".txt":
        return hold_end_out(train, config.eval_fraction, config.source)
    return hold_out(train, config.eval_fraction, config.seed, config.source)


def _choose(parts: Mapping[Any, Dataset], wanted: str | None, usual: Sequence[str], source: str) -> str | None:
    if wanted is not None:
        if wanted not in parts:
            raise DataError(f"{source} has no split '{wanted}'; splits = {sorted(map(str, parts))}")
        return wanted
    return next((name for name in usual if name in parts), None)


def _with_roles(part: Dataset, roles: Sequence[str], config: DataConfig, where: str) -> Dataset:
    """Keep the columns that have a role, under the role's name."""
    columns = config.columns
    present = _columns_of(part)
    unknown = sorted(set(columns) - set(roles))
    if unknown:
        raise DataError(f"columns name roles {unknown} that the task does not have; roles = {list(roles)}")
    chosen: dict[str, str] = {}
    for role in roles:
        if role in columns and columns[role] not in present:
            raise DataError(f"{where} has no column '{columns[role]}'; columns = {present}")
        found = _column_of(part, role, config)
        if found is None:
            raise DataError(
                f"{where} has no column for '{role}'; columns = {present}. Name it: --column {role}=<column>"
            )
        chosen[found] = role
    if source_of(part) is not None:
        if any(column != role for column, role in chosen.items()):
            raise DataError(f"{where} is made with the columns {present}; columns {columns} cannot rename them")
        return part
    extra = [name for name in (ORIGIN, GROUP) if name in part.column_names]
    kept = part.select_columns([*chosen, *extra])
    kept = kept.rename_columns({column: role for column, role in chosen.items() if column != role})
    path = Path(config.source)
    for role in roles:
        if ROLES[role].files and path.exists() and kept.features[role] == Value("string"):
            # Names of files are meant from where the table lies.
            folder = path if path.is_dir() else path.parent
            files = [str(folder / name) if name else None for name in kept[role]]
            kept = kept.remove_columns(role).add_column(role, files)
    if "image" in roles and path.exists() and kept.features["image"] == Value("string"):
        kept = kept.cast_column("image", ImageFeature())
    for name, feature in kept.features.items():
        if isinstance(feature, AudioFeature):
            # Decoding by `datasets` needs a library more; sound is read as all sound here.
            kept = kept.cast_column(name, AudioFeature(decode=False))
    return kept


def _offers(part: Dataset, role: str, config: DataConfig) -> bool:
    # A column that was named for another role is not found by its name.
    free = set(_columns_of(part)) - set(config.columns.values())
    return role in config.columns or bool(free & set(ROLES[role].names))


def _column_of(part: Dataset, role: str, config: DataConfig) -> str | None:
    present = _columns_of(part)
    return config.columns.get(role) or next((name for name in ROLES[role].names if name in present), None)


def _columns_of(part: Dataset) -> list[str]:
    source = source_of(part)
    return [name for name in part.column_names if name not in (ORIGIN, GROUP)] if source is None else list(source.roles)


def _encoded(part: Dataset, labelling: Labelling, names: tuple[str, ...]) -> Dataset:
    """Return a split with ids instead of labels, which rows that are made have from the beginning."""
    source = source_of(part)
    if source is None:
        return labelling.encode(part, names)
    if source.labels != names:
        raise DataError(f"the data is made with the labels {list(source.labels)}, not {list(names)}")
    return part


def _roles_only(part: Dataset, roles: Sequence[str]) -> Dataset:
    return part.select_columns(list(roles)) if source_of(part) is None else part


def _check(part: Dataset, roles: Sequence[str], where: str) -> None:
    if source_of(part) is not None:
        return
    if not len(part):
        raise DataError(f"{where} has no examples")
    raw = part.cast_column("image", ImageFeature(decode=False)) if "image" in roles else part
    for role in roles:
        for value, origin in zip(raw[role], raw[ORIGIN], strict=True):
            problem = ROLES[role].check(value)
            if problem:
                raise DataError(f"{origin}: {problem}")
    for pair, check in ROW_CHECKS:
        if not set(pair) <= set(roles):
            continue
        for first, second, origin in zip(raw[pair[0]], raw[pair[1]], raw[ORIGIN], strict=True):
            problem = check(first, second)
            if problem:
                raise DataError(f"{origin}: {problem}")


def _limited(part: Dataset, config: DataConfig) -> Dataset:
    if config.limit is None or config.limit >= len(part):
        return part
    order = np.random.default_rng(config.seed).permutation(len(part))
    return part.select(sorted(order[: config.limit]))
