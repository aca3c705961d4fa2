"""Names, folders and files to raw splits, as they are."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, concatenate_datasets, load_dataset
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from perceivers.config import from_json
from perceivers.data.class_folders import FILE_KINDS, read_class_folders
from perceivers.data.clips import read_video_folders
from perceivers.data.coco import coco_files
from perceivers.data.config import DataConfig
from perceivers.data.flow_pairs import read_flow_folder
from perceivers.data.generated import GENERATED
from perceivers.data.loose_files import read_loose_files
from perceivers.data.named import NAMED
from perceivers.data.roles import DataError
from perceivers.data.sources import SOURCES
from perceivers.data.tables import ORIGIN, TABLE_SUFFIXES, has_image_classes, read_image_folder, read_table

_TRAIN_NAMES = ("train", "training")
# The held-out test comes first: what a run reports should not be what it was tuned on.
_EVAL_NAMES = ("test", "eval", "evaluation", "validation", "valid", "val", "dev")


def open_parts(config: DataConfig, roles: Sequence[str]) -> dict[str, Dataset]:
    """Return the training part (`train`) and, when there is one, the evaluation part (`eval`), with their own columns.

    Args:
        config: Which data.
        roles: What it may have to offer, which tells kinds of folders apart.

    Raises:
        DataError: There is no such data, or no such split.
    """
    parts = _open(config, roles)
    names = choose_splits([str(name) for name in parts], config)
    return {part: parts[name] for part, name in names.items()}


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
    loaded = from_hub(config)
    if not isinstance(loaded, DatasetDict):
        raise DataError(f"'{config.source}' has no named splits")
    return _with_origins(loaded, config.source)


def from_hub(config: DataConfig, *, streaming: bool = False) -> Any:
    """Load a data set of the Hub, or open it as a stream.

    Raises:
        DataError: There is none of that name, or the Hub has no answer.
    """
    named = NAMED.get(config.source)
    name, subset = (named.repository, config.subset or named.subset) if named else (config.source, config.subset)
    try:
        _see_hub(name)
        return load_dataset(name, subset, streaming=streaming)
    except (FileNotFoundError, ConnectionError, ValueError, OSError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"'{config.source}' is no folder or file, none of the built-in {[*SOURCES, *GENERATED]}, "
            f"and could not be loaded from the Hub: {first_line}"
        ) from error


def _see_hub(name: str) -> None:
    """Ask the Hub for a data set; without an answer, say so at once instead of trying again and again."""
    try:
        HfApi().dataset_info(name, timeout=10)
    except (HfHubHTTPError, OfflineModeIsEnabled):
        pass  # The Hub's own word, or offline mode: `load_dataset` uses the cache or says what is wrong.
    except Exception as error:
        # The error's type belongs to the HTTP client, which differs between versions of the Hub library.
        raise ConnectionError("the Hub cannot be reached; HF_HUB_OFFLINE=1 uses what was loaded before") from error


def _open_folder(folder: Path, config: DataConfig, roles: Sequence[str]) -> DatasetDict:
    known = known_splits(config)
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
    files = table_files(folder, config, known)
    if not files:
        return None
    return DatasetDict({name: read_tables(paths, config) for name, paths in files.items()})


def read_tables(paths: Sequence[Path], config: DataConfig) -> Dataset:
    """Read the tables of one split."""
    return concatenate_datasets([read_table(path, config.text_characters) for path in paths])


def known_splits(config: DataConfig) -> tuple[str, ...]:
    """Return the names that splits may have."""
    return _TRAIN_NAMES + _EVAL_NAMES + tuple(name for name in (config.train_split, config.eval_split) if name)


def table_files(folder: Path, config: DataConfig, known: Sequence[str]) -> dict[str, list[Path]]:
    """Return the tables of a folder by their splits: `train.csv`, or `train-00000-of-00008.parquet` and its like.

    Raises:
        DataError: The subset does not exist.
    """
    files: dict[str, list[Path]] = {}
    subsets: set[str] = set()
    for path in sorted(folder.iterdir()):
        found = re.fullmatch(r"(?:(.+)[.\-_])??([a-z]+)(?:[\-_]\d+(?:-of-\d+)?)?", path.stem)
        if path.suffix not in TABLE_SUFFIXES or not found or found.group(2) not in known:
            continue
        subsets |= {found.group(1)} - {None}
        if config.subset in (None, found.group(1)):
            files.setdefault(found.group(2), []).append(path)
    if config.subset is not None and not files:
        raise DataError(f"{folder} has no subset '{config.subset}'; choices = {sorted(subsets)}")
    return files


def _with_origins(parts: DatasetDict, source: str) -> DatasetDict:
    return DatasetDict(
        {
            str(name): part.add_column(ORIGIN, [f"{source} [{name}], row {i}" for i in range(len(part))])
            for name, part in parts.items()
        }
    )


def choose_splits(names: Sequence[str], config: DataConfig) -> dict[str, str]:
    """Return which of some splits is for training (`train`) and, when there is one, for evaluation (`eval`).

    Raises:
        DataError: A split that is asked for does not exist.
    """
    train = _choose(names, config.train_split, _TRAIN_NAMES, config.source) or names[0]
    # A split that is named may be the training split itself: a score on it is then what is wanted.
    others = [name for name in names if name != train or name == config.eval_split]
    evaluation = _choose(others, config.eval_split, _EVAL_NAMES, config.source)
    return {"train": train} if evaluation is None else {"train": train, "eval": evaluation}


def _choose(names: Sequence[str], wanted: str | None, usual: Sequence[str], source: str) -> str | None:
    if wanted is not None:
        if wanted not in names:
            raise DataError(f"{source} has no split '{wanted}'; splits = {sorted(names)}")
        return wanted
    return next((name for name in usual if name in names), None)
