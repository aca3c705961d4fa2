"""Files of `torch.save`, looked through before PyTorch reads them.

PyTorch's reader for weights alone runs no foreign code, yet it makes what a file asks for: an array of bytes of all
memory, or a message about a tuple that is longer than any. What a `state_dict` needs is much less. Here the file's
instructions are carried out on stand-ins, by the machine that reads the original's pickles; nothing is made of them.
"""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from perceivers.pretrained.pickles import Function, Machine, Unfinished, refuse_call


def check_torch_file(path: Path) -> None:
    """Refuse a file that holds anything but a mapping from names to tensors.

    Raises:
        ValueError: It does, or is broken.
        zipfile.BadZipFile: It is a broken archive.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no whole archive, as torch.save writes since version 1.6")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        # What is packed could unfold without bounds; torch.save packs nothing.
        packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise ValueError(f"it has compressed entries {packed[:3]}, which torch.save never writes")
        # Which one PyTorch takes is its own affair: all must pass.
        pickles = [archive.read(entry) for entry in entries if entry.filename.lower().endswith(".pkl")]
    if not pickles:
        raise ValueError("it has no entry data.pkl")
    for data in pickles:
        _check_names(Machine(_FUNCTIONS, _storage).run(data))


def _check_names(content: object) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}; it must map names to tensors")
    for name, value in content.items():
        if not isinstance(value, _Tensor):
            raise ValueError(f"it must map names to tensors; {name[:100]!r} is none")


@dataclass(frozen=True)
class _Storage:
    """Stands for memory that lies elsewhere in the archive."""


@dataclass(frozen=True)
class _Tensor:
    """Stands for a tensor."""


class _Names(dict[str, object], Unfinished):
    """An ordered mapping; of a `state_dict` it also has the versions of its modules."""

    def build(self, state: object) -> None:
        """Take these versions."""
        if not isinstance(state, dict):
            raise ValueError(f"a mapping has a {type(state).__name__} of attributes")


def _storage(reference: object) -> _Storage:
    """Return what stands for `("storage", type, key, device, number of items)`."""
    if not isinstance(reference, tuple) or len(reference) != 5 or reference[0] != "storage":
        raise ValueError("the file refers to something that is no storage")
    _, kind, key, device, count = reference
    if kind not in _STORAGES.values() or not (isinstance(key, str) and isinstance(device, str) and type(count) is int):
        raise ValueError("the file refers to a storage in an unknown form")
    return _Storage()


def _tensor(storage: object, offset: object, shape: object, strides: object, grad: object, hooks: object) -> _Tensor:
    if not isinstance(storage, _Storage) or type(offset) is not int or not _are_sides(shape) or not _are_sides(strides):
        raise ValueError("a tensor has a content of unknown form")
    return _with_hooks(grad, hooks)


def _parameter(tensor: object, grad: object, hooks: object) -> _Tensor:
    if not isinstance(tensor, _Tensor):
        raise ValueError("a parameter is made of something that is no tensor")
    return _with_hooks(grad, hooks)


def _with_hooks(grad: object, hooks: object) -> _Tensor:
    if type(grad) is not bool or not isinstance(hooks, dict) or hooks:
        raise ValueError("a tensor has a content of unknown form")
    return _Tensor()


def _are_sides(sides: object) -> bool:
    return isinstance(sides, tuple) and all(type(side) is int for side in sides)


def _storages() -> dict[str, Function]:
    kinds = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
    names = [f"torch.{kind}Storage" for kind in (*kinds, "ComplexDouble", "ComplexFloat")]
    return {name: Function(name, lambda name=name: refuse_call(name)) for name in names}


_STORAGES = _storages()
_CALLS: dict[str, Callable[..., object]] = {
    "collections.OrderedDict": _Names,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}
_FUNCTIONS = {name: Function(name, call) for name, call in _CALLS.items()} | _STORAGES
