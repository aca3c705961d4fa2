"""Folders of video files, with a class a folder or without classes."""

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset, DatasetDict

from perceivers.data.roles import DataError
from perceivers.data.tables import ORIGIN, is_hidden


def read_video_folders(folder: Path, split_names: Sequence[str]) -> DatasetDict | None:
    """Read the videos of `folder`, or of the splits in it; `None` if there are none.

    Raises:
        DataError: See `read_video_folder`.
    """
    parts = {name: folder / name for name in split_names if (folder / name).is_dir() and video_files(folder / name)}
    if not parts and video_files(folder):
        parts = {"train": folder}
    return DatasetDict({name: read_video_folder(part) for name, part in parts.items()}) if parts else None


def read_video_folder(folder: Path) -> Dataset:
    """Read `folder/<class>/*.mp4`, the label being the folder's name, or `folder/*.mp4` without labels.

    Raises:
        DataError: There are videos both in class folders and beside them, or a class folder has none.
    """
    loose = [path for path in video_files(folder) if path.parent == folder]
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path, folder))
    if loose and classes:
        raise DataError(f"{loose[0]}: beside the class folder {classes[0].name}; move one of them away")
    if loose:
        return _table(loose)
    files, labels = [], []
    for path in classes:
        found = video_files(path)
        if not found:
            raise DataError(f"{path}: the class folder has no videos")
        files += found
        labels += [path.name] * len(found)
    return _table(files).add_column("label", labels)


def video_files(folder: Path) -> list[Path]:
    """Return the video files under `folder`, sorted."""
    from perceivers.processing.video_frames import is_video

    return sorted(
        path for path in folder.rglob("*") if is_video(path) and path.is_file() and not is_hidden(path, folder)
    )


def _table(files: Sequence[Path]) -> Dataset:
    # Relative names are meant from the source's folder; these already begin there.
    return Dataset.from_dict({"video": [str(file.absolute()) for file in files], ORIGIN: [str(file) for file in files]})
