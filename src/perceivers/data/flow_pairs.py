"""Pairs of frames with their optical flow, in the usual layouts of folders."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets import Dataset, DatasetDict

from perceivers.data.headers import FLOW_SUFFIXES
from perceivers.data.roles import DataError
from perceivers.data.tables import GROUP, IMAGE_SUFFIXES, ORIGIN, is_hidden

_SINTEL_PASSES = ("clean", "final")
_KITTI_FLOWS = ("flow_occ", "flow_noc")
_KITTI_FRAMES = ("image_2", "colored_0", "image_0")

Row = dict[str, str]


def read_flow_folder(folder: Path, subset: str | None, split_names: Sequence[str]) -> DatasetDict | None:
    """Read pairs from a folder in one of the usual layouts, or return `None` if it has none of them.

    - FlyingChairs: `NAME_img1.ppm`, `NAME_img2.ppm`, `NAME_flow.flo`, maybe in folders of splits;
    - MPI-Sintel: `training/{clean,final}/SCENE/frame_0001.png`, `training/flow/SCENE/frame_0001.flo`;
    - KITTI: `training/image_2/000000_10.png` and `_11.png`, `training/flow_occ/000000_10.png`.

    Args:
        folder: Where to look.
        subset: Of MPI-Sintel "clean" or "final", `None` takes both; of KITTI "flow_occ" (`None`) or "flow_noc".
        split_names: What folders of splits may be called.

    Raises:
        DataError: A frame or a flow has no partner, or there is no such subset.
    """
    for inner in (folder, folder / "training"):
        if (inner / "flow").is_dir() and any((inner / name).is_dir() for name in _SINTEL_PASSES):
            passes = _chosen(inner, subset, _SINTEL_PASSES, _SINTEL_PASSES)
            return DatasetDict({"train": _table(_sintel(inner, passes))})
        if any((inner / name).is_dir() for name in _KITTI_FLOWS):
            name = _chosen(inner, subset, _KITTI_FLOWS, _KITTI_FLOWS[:1])[0]
            return DatasetDict({"train": _table(_kitti(inner, name))})
    parts = {name: folder / name for name in split_names if _has_pairs(folder / name)}
    if not parts and _has_pairs(folder):
        parts = {"train": folder}
    if parts and subset is not None:
        raise DataError(f"{folder} has no subset '{subset}'")
    return DatasetDict({name: _table(_chairs(part)) for name, part in parts.items()}) if parts else None


def _chosen(folder: Path, subset: str | None, choices: Sequence[str], default: Sequence[str]) -> list[str]:
    present = [name for name in choices if (folder / name).is_dir()]
    if subset is None:
        return [name for name in default if name in present] or present
    if subset not in present:
        raise DataError(f"{folder} has no subset '{subset}'; choices = {present}")
    return [subset]


def _table(rows: Iterator[Row]) -> Dataset:
    return Dataset.from_list(list(rows))


def _row(frame1: Path, frame2: Path, flow: Path, group: str | None = None) -> Row:
    """Return a row, after seeing that all three files are there."""
    files = {"first frame": frame1, "second frame": frame2, "flow": flow}
    for name, path in files.items():
        if not path.is_file():
            partners = [str(other) for other in files.values() if other.is_file()]
            raise DataError(f"{path}: the {name} to {partners} is missing")
    # Relative names are meant from the source's folder; these already begin there.
    row = {"frame1": str(frame1.absolute()), "frame2": str(frame2.absolute()), "flow": str(flow.absolute())}
    row[ORIGIN] = str(flow)
    return row if group is None else {**row, GROUP: group}


def _has_pairs(folder: Path) -> bool:
    return folder.is_dir() and any(_of_pair(path)[1] == "flow" for path in _files(folder))


def _of_pair(path: Path) -> tuple[str, str]:
    """Return name and part ("img1", "img2", "flow") of a file, or two empty strings."""
    found = re.fullmatch(r"(.+)_(img1|img2|flow)", path.stem)
    suffixes = FLOW_SUFFIXES if found and found.group(2) == "flow" else IMAGE_SUFFIXES
    return (found.group(1), found.group(2)) if found and path.suffix.lower() in suffixes else ("", "")


def _chairs(folder: Path) -> Iterator[Row]:
    pairs: dict[str, dict[str, list[Path]]] = {}
    for path in _files(folder):
        name, part = _of_pair(path)
        if part == "flow":
            # Listed in the order of the alphabet, wanted in the order of preference.
            flows = pairs.setdefault(name, {}).setdefault(part, [])
            flows.append(path)
            flows.sort(key=lambda file: FLOW_SUFFIXES.index(file.suffix.lower()))
        elif part:
            pairs.setdefault(name, {}).setdefault(part, []).append(path)
        elif path.suffix.lower() in {*IMAGE_SUFFIXES, *FLOW_SUFFIXES}:
            raise DataError(f"{path}: neither NAME_img1, NAME_img2 nor NAME_flow; move it away")
    for name, parts in pairs.items():
        for part in ("img1", "img2"):
            if len(parts.get(part, [])) > 1:
                raise DataError(f"{parts[part][1]}: a second file of this frame, beside {parts[part][0].name}")
        first, second, flow = (parts.get(part, [folder / f"{name}_{part}.*"]) for part in ("img1", "img2", "flow"))
        yield _row(first[0], second[0], flow[0])


def _sintel(folder: Path, passes: Sequence[str]) -> Iterator[Row]:
    for name in passes:
        for scene in sorted(path for path in (folder / name).iterdir() if path.is_dir()):
            frames = _files(scene)
            flows = folder / "flow" / scene.name
            # Every frame has a flow but the last; a flow without frames is found by its own name.
            starts = {path.stem for path in (*frames[:-1], *_files(flows))}
            for stem in sorted(starts):
                found = re.fullmatch(r"(.*?)(\d+)", stem)
                if not found:
                    raise DataError(f"{scene / stem}: the name must end in the number of the frame")
                following = f"{found.group(1)}{int(found.group(2)) + 1:0{len(found.group(2))}d}"
                yield _row(scene / f"{stem}.png", scene / f"{following}.png", flows / f"{stem}.flo", scene.name)


def _kitti(folder: Path, flow_name: str) -> Iterator[Row]:
    frames = next((folder / name for name in _KITTI_FRAMES if (folder / name).is_dir()), None)
    if frames is None:
        raise DataError(f"{folder}: no folder of frames beside '{flow_name}'; choices = {list(_KITTI_FRAMES)}")
    starts = {path.name for part in (frames, folder / flow_name) for path in part.glob("*_10.png")}
    for name in sorted(starts):
        yield _row(frames / name, frames / name.replace("_10.png", "_11.png"), folder / flow_name / name)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_file() and not is_hidden(path, folder))
