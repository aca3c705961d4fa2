"""Reading files that may be broken or hostile: JSON of bounded size, tensors that claim no more than is there."""

import json
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from perceivers.pretrained.torch_pickles import check_torch_file

_MAX_JSON_BYTES = 16 * 2**20


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        ValueError: It is no JSON object, names an entry twice, or is larger or deeper than any config.
    """
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; a config has at most {_MAX_JSON_BYTES}")
    try:
        document = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_doubles)
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path} must hold an object, not {document!r:.100}")
    return document


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in entries if names.count(name) > 1)
        raise ValueError(f"the name '{double[:100]}' occurs twice")
    return entries


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a `*.safetensors` file, or of one that `torch.save` wrote, by name.

    Of the latter, which is a pickle, only tensors and plain containers are admitted; no code of it runs.

    Raises:
        ValueError: The file is broken, holds something else, or claims tensors larger than itself.
    """
    try:
        tensors = load_file(path) if path.suffix == ".safetensors" else _read_torch(path)
    except (SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile, struct.error, OverflowError) as error:
        raise ValueError(f"{path} cannot be read: {_first_line(error)}") from error
    except (RuntimeError, OSError, EOFError, LookupError, TypeError, AttributeError, MemoryError) as error:
        raise ValueError(f"{path} cannot be read: {_first_line(error)}") from error
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if claimed > path.stat().st_size:
        raise ValueError(f"{path} claims {claimed} bytes of tensors and has {path.stat().st_size}")
    return tensors


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        check_torch_file(path)
    except ValueError as error:
        raise pickle.UnpicklingError(str(error)) from error
    tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(tensors, dict):
        raise pickle.UnpicklingError(f"it holds a {type(tensors).__name__}; it must map names to tensors")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise pickle.UnpicklingError(f"it must map names to tensors; {str(name)[:100]!r} is none")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise pickle.UnpicklingError(f"'{name}' is no plain tensor")
    return dict(tensors)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else repr(error)


def shards(index: Path) -> dict[str, set[str]]:
    """Return which tensors lie in which file, for a checkpoint in several files of which `index` is the list.

    Raises:
        ValueError: The list is broken, or names a file that does not lie beside it.
    """
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(place, str) for place in places.values()):
        raise ValueError(f"{index}: weight_map must map names of tensors to names of files")
    names: dict[str, set[str]] = {}
    for name, place in places.items():
        if Path(place).name != place:
            raise ValueError(f"{index}: weight_map names '{place[:100]}', which does not lie beside it")
        names.setdefault(place, set()).add(name)
    return names


def read_sharded(index: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint in several files.

    Raises:
        ValueError: A file is absent or broken, or holds other tensors than the index says.
    """
    tensors: dict[str, Tensor] = {}
    for place, names in sorted(shards(index).items()):
        path = index.parent / place
        if not path.is_file():
            raise ValueError(f"{index} names {place}, which is not there")
        found = read_tensors(path)
        if set(found) != names:
            raise ValueError(f"{path} and {index.name} disagree on {sorted(set(found) ^ names)[:5]}")
        tensors |= found
    return tensors


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, with the permissions that any new file gets."""
    path.touch()
    mode = path.stat().st_mode
    save_file(dict(tensors), path, metadata=metadata)
    # The library replaces the file by one that its owner alone can read.
    path.chmod(mode)
