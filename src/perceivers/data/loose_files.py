"""Folders of files without classes, for tasks that need nothing but the files."""

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset, DatasetDict, Features, Value
from datasets import Image as ImageFeature

from perceivers.data.class_folders import FILE_KINDS
from perceivers.data.tables import ORIGIN, image_files


def read_loose_files(folder: Path, roles: Sequence[str], split_names: Sequence[str]) -> DatasetDict | None:
    """Read the files that lie in a folder itself, or in folders of splits in it.

    Args:
        folder: Where to look.
        roles: What is wanted: images, sounds or clouds of points alone.
        split_names: What folders of splits are called.

    Returns:
        The splits; without folders of splits one called "train". `None` if more than files is wanted, or there is none.
    """
    role, *others = roles
    if others or (role != "image" and role not in FILE_KINDS):
        return None
    splits = {name: folder / name for name in split_names if (folder / name).is_dir()} or {"train": folder}
    parts = {name: _files(path, role) for name, path in splits.items()}
    return DatasetDict({name: _table(files, role) for name, files in parts.items() if files}) or None


def _files(folder: Path, role: str) -> list[Path]:
    found = image_files(folder) if role == "image" else FILE_KINDS[role].files(folder)
    return [path for path in found if path.parent == folder]


def _table(files: Sequence[Path], role: str) -> Dataset:
    # Relative names are meant from the source's folder; these already begin there.
    names = [str(file.absolute()) for file in files]
    features = Features(
        {role: ImageFeature() if role == "image" else Value("string"), ORIGIN: Value("string")},
    )
    return Dataset.from_dict({role: names, ORIGIN: [str(file) for file in files]}, features=features)
