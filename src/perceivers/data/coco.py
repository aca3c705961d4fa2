"""Objects in the JSON of COCO: one document of images, annotations and categories."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from perceivers.data.roles import DataError

_PARTS = ("images", "annotations", "categories")


def is_coco(document: Any) -> bool:
    """Return whether a JSON document has the parts of COCO's instances."""
    return isinstance(document, Mapping) and all(isinstance(document.get(part), list) for part in _PARTS)


def coco_rows(document: Mapping[str, Any], path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where an image is described, and its row: `image`, `width`, `height` and `objects`.

    Boxes stay (x, y, width, height), as `bbox`; categories become their names; crowds are marked.

    Args:
        document: The JSON.
        path: Its file: images are looked for beside it, in `images`, and where COCO has them, in a folder that is
            called as the file is, beside that of the file (`annotations/instances_val2017.json`, `val2017/`).

    Raises:
        DataError: An entry lacks something, or belongs to an image or a category that is not there.
    """
    names = {_entry(one, "id", path, f"category {i}"): one for i, one in enumerate(document["categories"])}
    objects: dict[Any, list[dict[str, Any]]] = {
        _entry(one, "id", path, f"image {i}"): [] for i, one in enumerate(document["images"])
    }
    for i, one in enumerate(document["annotations"]):
        what = f"annotation {i}"
        image, category = _entry(one, "image_id", path, what), _entry(one, "category_id", path, what)
        if image not in objects:
            raise DataError(f"{path}, {what}: there is no image {image!r}")
        if category not in names:
            raise DataError(f"{path}, {what}: there is no category {category!r}; choices = {sorted(names)}")
        label = str(_entry(names[category], "name", path, f"category {category}"))
        crowd = bool(one.get("iscrowd", 0))
        objects[image].append({"label": label, "bbox": _entry(one, "bbox", path, what), "crowd": crowd})
    folders = _image_folders(path)
    for i, one in enumerate(document["images"]):
        name = str(_entry(one, "file_name", path, f"image {i}"))
        file = next((folder / name for folder in folders if (folder / name).is_file()), folders[0] / name)
        row = {"image": str(file.absolute()), "width": one.get("width"), "height": one.get("height")}
        yield f"{path}, image {name}", {**row, "objects": objects[one["id"]]}


def _entry(one: Any, name: str, path: Path, what: str) -> Any:
    if not isinstance(one, Mapping) or one.get(name) is None:
        raise DataError(f"{path}, {what}: lacks '{name}'")
    return one[name]


def _image_folders(path: Path) -> list[Path]:
    own = path.stem.removeprefix("instances_")
    return [path.parent, path.parent / "images", path.parent.parent / own, path.parent.parent / "images" / own]


def coco_files(folder: Path, split_names: Sequence[str]) -> dict[str, Path]:
    """Return the instances of each split, from the layouts of COCO and of Roboflow; empty if there are none.

    - COCO: `annotations/instances_train2017.json`, `annotations/instances_val2017.json`;
    - Roboflow: `train/_annotations.coco.json`, `valid/_annotations.coco.json`, beside the images.
    """
    found = {}
    for path in sorted((folder / "annotations").glob("instances_*.json")):
        name = re.sub(r"\d+$", "", path.stem.removeprefix("instances_"))
        if name in split_names:
            found[name] = path
    for path in sorted(folder.glob("*/_annotations.coco.json")):
        if path.parent.name in split_names:
            found[path.parent.name] = path
    return found
