"""Folders of files in class folders: sound, point clouds and whatever else has a kind here.

Images and videos, which have rules of their own, are read by `tables` and `clips`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, DatasetDict

from perceivers.data.roles import DataError
from perceivers.data.tables import ORIGIN, is_hidden
from perceivers.processing.points import POINT_SUFFIXES
from perceivers.processing.sounds import SOUND_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class FileKind:
    """Files that hold the values of a role.

    Args:
        role: The role.
        noun: What one such file is, in words.
        suffixes: What their names end in.
    """

    role: str
    noun: str
    suffixes: tuple[str, ...]

    def files(self, folder: Path) -> list[Path]:
        """Return the files of this kind under `folder`, sorted."""
        return sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in self.suffixes and path.is_file() and not is_hidden(path, folder)
        )

    @property
    def expected(self) -> str:
        """Say how a folder of such files must look."""
        return f"{self.noun}s in class folders (<class>/<file> or train/<class>/<file>; kinds = {list(self.suffixes)})"


FILE_KINDS = {
    "audio": FileKind(role="audio", noun="sound", suffixes=SOUND_SUFFIXES),
    "points": FileKind(role="points", noun="point cloud", suffixes=POINT_SUFFIXES),
}


def read_class_folders(folder: Path, kind: FileKind, split_names: Sequence[str]) -> DatasetDict | None:
    """Read `<split>/<class>/<file>`, `<class>/<split>/<file>` or `<class>/<file>`, labelled by the class folders.

    Args:
        folder: Where to look.
        kind: Which files.
        split_names: What folders of splits are called.

    Returns:
        The splits; without folders of splits one called "train". `None` if no class folder has files of this kind.

    Raises:
        DataError: A class folder has no such files, or files lie beside class folders.
    """
    splits = [path for path in _folders(folder) if path.name in split_names]
    if splits:
        parts = {path.name: {own.name: own for own in _folders(path)} for path in splits}
        beside = [*_loose(folder, kind), *(file for path in splits for file in _loose(path, kind))]
    else:
        classes = _folders(folder)
        names = sorted({path.name for own in classes for path in _folders(own) if path.name in split_names})
        parts = {name: {own.name: own / name for own in classes} for name in names}
        parts = parts or {"train": {own.name: own for own in classes}}
        beside = _loose(folder, kind)
    if not any(kind.files(own) for part in parts.values() for own in part.values() if own.is_dir()):
        return None
    if beside:
        raise DataError(f"{beside[0]}: a {kind.noun} beside class folders; move it into one of them, or away")
    return DatasetDict({name: _read_part(part, kind) for name, part in parts.items()})


def _read_part(classes: dict[str, Path], kind: FileKind) -> Dataset:
    files: list[Path] = []
    labels: list[str] = []
    for name, folder in classes.items():
        found = kind.files(folder)
        if not found:
            raise DataError(f"{folder}: the class folder has no {kind.noun}s; known kinds = {list(kind.suffixes)}")
        files += found
        labels += [name] * len(found)
    # Relative names are meant from the source's folder; these already begin there.
    names = [str(file.absolute()) for file in files]
    return Dataset.from_dict({kind.role: names, "label": labels, ORIGIN: [str(file) for file in files]})


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path, folder))


def _loose(folder: Path, kind: FileKind) -> list[Path]:
    return [path for path in kind.files(folder) if path.parent == folder]
