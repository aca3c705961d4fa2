"""Folders as data sources: files named after their split, or images sorted into folders by class."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from perceivers.data.errors import DataError, listed
from perceivers.data.files import READERS, read_file
from perceivers.data.roles import IMAGE_SUFFIXES, Reading
from perceivers.data.table import Table, join, table_from_cells

# Split -> reader of it; a split that is not wanted is not read.
Found = dict[str, Callable[[], Table]]

TRAIN_SPLITS = ("train", "training")
# For choosing models a validation split comes before the test split, which should stay unseen.
EVAL_SPLITS = ("validation", "valid", "val", "dev", "eval", "evaluation", "test", "testing")
WHOLE = "all"

_SPLIT_FILE = re.compile(
    rf"(?:(?P<subset>.+)[._-])?(?P<split>{'|'.join(TRAIN_SPLITS + EVAL_SPLITS)})(?:-\d{{5}}-of-\d{{5}})?", re.IGNORECASE
)
_SYSTEM_FILES = ("thumbs.db", "desktop.ini")


def find_local(path: Path, subset: str | None, reading: Reading) -> Found:
    """Return the splits of a file or folder; `all` when it has none.

    Args:
        path: The file or folder.
        subset: Which of the subsets in the folder; `None` takes all together.
        reading: What to read.

    Raises:
        DataError: The folder has nothing that can be read, or not this subset.
    """
    if path.is_file():
        _refuse_subset(path, subset)
        return {WHOLE: partial(read_file, path, reading)}
    files = _data_files(path, reading)
    if any(_SPLIT_FILE.fullmatch(file.stem) for file in files):
        return _split_files(path, files, subset, reading)
    _refuse_subset(path, subset)
    if len(files) == 1 or (files and all(file.suffix.lower() == ".txt" for file in files)):
        return {WHOLE: partial(_read_files, files, reading)}
    if files:
        names = listed([file.name for file in files])
        raise DataError(f"{path}: which of {names} is the data? Name one file, or call them train.* and test.*")
    if "image" in reading.roles:
        return _image_splits(path, reading)
    raise DataError(f"{path} has no data file; expected train.*, test.* or a single file of {list(READERS)}")


def _data_files(folder: Path, reading: Reading) -> list[Path]:
    # A .txt can hold text only; beside labelled data it is a note or a list of names.
    suffixes = [suffix for suffix in READERS if suffix != ".txt" or reading.roles == ("text",)]
    return [path for path in _visible(folder) if path.is_file() and path.suffix.lower() in suffixes]


def _split_files(folder: Path, files: Sequence[Path], subset: str | None, reading: Reading) -> Found:
    splits: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        match = _SPLIT_FILE.fullmatch(file.stem)
        if match is not None:
            splits[match["split"].lower()][match["subset"] or ""].append(file)
    subsets = sorted({name for groups in splits.values() for name in groups if name})
    if subset is not None and subset not in subsets:
        raise DataError(f"{folder} has no subset '{subset}'; choices = {subsets}")
    found: Found = {}
    for split, groups in splits.items():
        for group in groups.values():
            if len({file.suffix.lower() for file in group}) > 1:
                names = listed([file.name for file in group])
                raise DataError(f"{folder}: which of {names} is the split '{split}'? Keep one")
        chosen = [file for name, group in sorted(groups.items()) if subset in (None, name) for file in group]
        if chosen:
            found[split] = partial(_read_files, chosen, reading)
    return found


def _read_files(files: Sequence[Path], reading: Reading) -> Table:
    return join([read_file(file, reading) for file in files])


def _image_splits(folder: Path, reading: Reading) -> Found:
    other = [role for role in reading.roles if role not in ("image", "label")]
    if other:
        raise DataError(f"{folder} has images only, not {listed(other)}; expected a file with columns, e.g. train.csv")
    folders = [path for path in _visible(folder) if path.is_dir()]
    names = {path.name.lower(): path for path in folders}
    # Only when all are splits: "train" may well be a class beside "bus" and "tram".
    if names and set(names) <= {*TRAIN_SPLITS, *EVAL_SPLITS}:
        return {name: partial(_read_image_folder, path, reading) for name, path in names.items()}
    return {WHOLE: partial(_read_image_folder, folder, reading)}


def _read_image_folder(folder: Path, reading: Reading) -> Table:
    images: list[str] = []
    labels: list[str] = []
    if "label" in reading.roles:
        for path in _visible(folder):
            if not path.is_dir():
                raise DataError(f"{path} lies beside the class folders; expected each image in the folder of its class")
            files = _images_under(path)
            if not files:
                raise DataError(f"{path} has no images; expected at least one of class '{path.name}'")
            images += files
            labels += [path.name] * len(files)
    else:
        images = _images_under(folder)
    if not images:
        raise DataError(f"{folder} has no images; expected folders of {list(IMAGE_SUFFIXES)}, one folder a class")
    columns = {"image": [str(Path(image).absolute()) for image in images], "label": labels}
    return table_from_cells({role: columns[role] for role in reading.roles}, folder, str(folder), lambda i: str(folder))


def _images_under(folder: Path) -> list[str]:
    files: list[str] = []
    for path in _visible(folder):
        if path.is_dir():
            files += _images_under(path)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            files.append(str(path))
        else:
            raise DataError(f"{path} is no image ({', '.join(IMAGE_SUFFIXES)}); move it out of the image folder")
    return files


def _visible(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted, without the files that systems leave behind."""
    paths = sorted(folder.iterdir())
    return [path for path in paths if not path.name.startswith(".") and path.name.lower() not in _SYSTEM_FILES]


def _refuse_subset(path: Path, subset: str | None) -> None:
    if subset is not None:
        raise DataError(
            f"{path} has no subset '{subset}'; only files called SUBSET.train.*, SUBSET.test.* make subsets"
        )
