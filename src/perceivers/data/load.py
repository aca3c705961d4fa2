"""A name, folder or file to two checked splits whose columns are roles."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Audio as AudioFeature
from datasets import (
    ClassLabel,
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

from perceivers.data.class_folders import FILE_KINDS, read_class_folders
from perceivers.data.clips import read_video_folders
from perceivers.data.coco import coco_files
from perceivers.data.flow_pairs import read_flow_folder
from perceivers.data.labels import LABELLINGS
from perceivers.data.loose_files import read_loose_files
from perceivers.data.questions import one_row_a_question
from perceivers.data.roles import ROLES, ROW_CHECKS, DataError
from perceivers.data.sources import SOURCES
from perceivers.data.tables import GROUP, ORIGIN, TABLE_SUFFIXES, has_image_classes, read_image_folder, read_table

_TRAIN_NAMES = ("train", "training")
# The held-out test comes first: what a run reports should not be what it was tuned on.
_EVAL_NAMES = ("test", "eval", "evaluation", "validation", "valid", "val", "dev")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which data.

    Args:
        source: A built-in name, a folder, a file, or a data set of the Hugging Face Hub.
        subset: Configuration of a Hub data set; for a folder of text files the part of the name
            before `.train.txt`; for a folder of optical flow see `read_flow_folder`.
        train_split: Name of the training split; `None` finds it.
        eval_split: Name of the evaluation split; `None` prefers a test split.
        columns: Which column has which role, e.g. `{"text": "review"}`; others are found by name.
        eval_fraction: Share held out when the source has one split only.
        limit: Keep at most so many examples of each split, chosen at random.
        seed: Seed of holding out and limiting.
        text_characters: Rough length of the pieces that text files are cut into.
    """

    source: str
    subset: str | None = None
    train_split: str | None = None
    eval_split: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    eval_fraction: float = 0.2
    limit: int | None = None
    seed: int = 0
    text_characters: int = 4000

    def __post_init__(self) -> None:
        if not 0 < self.eval_fraction < 1:
            raise ValueError(f"eval_fraction ({self.eval_fraction}) must lie between 0 and 1")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit ({self.limit}) must be at least 1")
        if self.text_characters < 1:
            raise ValueError(f"text_characters ({self.text_characters}) must be at least 1")


@dataclass(frozen=True)
class Splits:
    """Checked data.

    Args:
        train: Training split; its columns are the roles.
        eval: Evaluation split.
        labels: Label names in the order of the ids, when there are labels.
        description: Source and sizes, in words.
        held_out: Whether the evaluation split was cut off a source without splits.
    """

    train: Dataset
    eval: Dataset
    labels: tuple[str, ...] | None
    description: str
    held_out: bool = False


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
        return _load(config, tuple(roles), labels, optional_roles)


def _load(
    config: DataConfig, roles: tuple[str, ...], labels: Sequence[str] | None, optional_roles: Sequence[str]
) -> Splits:
    opened = _split(_open(config, (*roles, *optional_roles)), config)
    if "answers" in roles:
        opened = {name: one_row_a_question(part) for name, part in opened.items()}
    required = roles
    roles += tuple(
        role
        for role in optional_roles
        if role in config.columns or all(_column_of(part, role, config) for part in opened.values())
    )
    parts = {name: _with_roles(part, roles, config, f"{config.source} [{name}]") for name, part in opened.items()}
    for name, part in parts.items():
        _check(part, roles, f"{config.source} [{name}]")
    names: tuple[str, ...] | None = None
    for role in (role for role in roles if role in LABELLINGS):
        labelling = LABELLINGS[role]
        names = tuple(labels) if labels is not None else labelling.names(parts["train"])
        if len(names) < labelling.fewest and role in required:
            least = f"at least {labelling.fewest} labels"
            raise DataError(f"{config.source}: {labelling.use} needs {least}, found {list(names)}")
        parts = {name: labelling.encode(part, names) for name, part in parts.items()}
    held_out = "eval" not in parts or Path(config.source).is_file()
    if "eval" not in parts:
        parts = _hold_out(parts["train"], config)
    train, evaluation = (_limited(parts[name].select_columns(list(roles)), config) for name in ("train", "eval"))
    words = f"{config.source}: {len(train):,} training and {len(evaluation):,} evaluation examples"
    return Splits(train, evaluation, names, words + (f", {len(names)} labels" if names else ""), held_out)


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
    if config.subset is not None and (config.source in SOURCES or path.is_file()):
        raise DataError(f"'{config.source}' has no subset '{config.subset}'")
    if config.source in SOURCES:
        return _with_origins(SOURCES[config.source](), config.source)
    if path.is_file():
        table = read_table(path, config.text_characters)
        return _end_held_out(table, config) if path.suffix == ".txt" else DatasetDict({"train": table})
    if path.is_dir():
        return _open_folder(path, config, roles)
    try:
        loaded = _from_hub(config.source, config.subset)
    except (FileNotFoundError, ConnectionError, ValueError, OSError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"'{config.source}' is no folder or file, none of the built-in {list(SOURCES)}, "
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
    if files := read_loose_files(folder, roles, known):
        return files
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
    """Hold out the same share of every class; a class of one example is trained on. Groups stay whole."""
    groups = train[GROUP] if GROUP in train.column_names else []
    if len(set(groups)) > 1:
        return _hold_out_groups(train, groups, config)
    # Examples of several labels are held out as if they were of one class.
    one_each = "label" in train.column_names and isinstance(train.features["label"], ClassLabel)
    classes = np.array(train["label"]) if one_each else np.zeros(len(train), dtype=int)
    generator = np.random.default_rng(config.seed)
    held_out: list[int] = []
    for name in np.unique(classes):
        members = generator.permutation(np.flatnonzero(classes == name))
        count = min(max(round(config.eval_fraction * len(members)), 1), len(members) - 1)
        held_out += members[:count].tolist()
    if not held_out:
        raise DataError(f"{config.source}: {len(train)} examples are too few to hold some out for evaluation")
    kept = np.setdiff1d(np.arange(len(train)), held_out)
    return {"train": train.select(kept), "eval": train.select(sorted(held_out))}


def _hold_out_groups(train: Dataset, groups: Sequence[str], config: DataConfig) -> dict[str, Dataset]:
    """Hold out whole groups, at random, until the share is reached; one is left to train on."""
    names = np.random.default_rng(config.seed).permutation(sorted(set(groups))).tolist()
    wanted, count, chosen = config.eval_fraction * len(train), 0, set[str]()
    for name in names[:-1]:
        if count >= wanted:
            break
        chosen.add(name)
        count += sum(group == name for group in groups)
    held_out = [i for i, group in enumerate(groups) if group in chosen]
    kept = [i for i, group in enumerate(groups) if group not in chosen]
    return {"train": train.select(kept), "eval": train.select(held_out)}


def _end_held_out(text: Dataset, config: DataConfig) -> DatasetDict:
    """Hold out the end of a long text, so that no neighbour of a held-out piece is trained on."""
    kept = len(text) - max(round(config.eval_fraction * len(text)), 1)
    if kept < 1:
        raise DataError(
            f"{config.source}: a text of {len(text)} piece is too short to hold some out for evaluation; "
            f"text_characters ({config.text_characters}) could be smaller"
        )
    return DatasetDict({"train": text.select(range(kept)), "eval": text.select(range(kept, len(text)))})


def _choose(parts: Mapping[Any, Dataset], wanted: str | None, usual: Sequence[str], source: str) -> str | None:
    if wanted is not None:
        if wanted not in parts:
            raise DataError(f"{source} has no split '{wanted}'; splits = {sorted(map(str, parts))}")
        return wanted
    return next((name for name in usual if name in parts), None)


def _with_roles(part: Dataset, roles: Sequence[str], config: DataConfig, where: str) -> Dataset:
    """Keep the columns that have a role, under the role's name."""
    columns = config.columns
    present = [name for name in part.column_names if name not in (ORIGIN, GROUP)]
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


def _column_of(part: Dataset, role: str, config: DataConfig) -> str | None:
    return config.columns.get(role) or next((name for name in ROLES[role].names if name in part.column_names), None)


def _check(part: Dataset, roles: Sequence[str], where: str) -> None:
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
