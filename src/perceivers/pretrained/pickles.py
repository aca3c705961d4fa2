"""DeepMind's own checkpoint files: pickles, read by a machine that knows arrays and mappings and nothing else.

Python's unpickler calls whatever a file names. Here a file is taken apart by `pickletools`, which only decodes,
and its instructions are carried out on plain data: the names it may use stand in one table, each with a function
of this module in its place. Nothing is imported and nothing of the file's choosing is called.
"""

import pickletools
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

_PARAMS, _STATE = "params", "state"


def read_pickle(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of a DeepMind checkpoint by their full names, `<module path>/<leaf>`.

    Args:
        path: A `*.pickle` or `*.pystate` file: `{module: {leaf: array}}`, or two of them under `params` and `state`.

    Raises:
        ValueError: The file is broken, names anything but arrays and mappings, or holds something else.
    """
    try:
        # Mapped, not read: what is no pickle is seen by its first bytes, however long it is.
        with Path(path).open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            arrays = _flat(Machine(_FUNCTIONS).run(data))
            size = len(data)
        claimed = sum(array.nbytes for array in arrays.values())
        if claimed > size:
            raise ValueError(f"its arrays have {claimed} bytes and the file has {size}")
    except (ValueError, OSError, MemoryError) as error:
        raise ValueError(f"'{path}' is no checkpoint that can be read: {str(error) or repr(error)}") from error
    return arrays


class Unfinished(ABC):
    """A value of which a later instruction gives the rest."""

    @abstractmethod
    def build(self, state: object) -> None:
        """Take the rest, or refuse it with a `ValueError`."""


@dataclass
class _Dtype(Unfinished):
    """A number format; its byte order comes with a later instruction.

    Args:
        code: Kind and size, e.g. `f4`.
        order: `<`, `>`, or `|` where the order does not matter.
    """

    code: str
    order: str | None = None

    def build(self, state: object) -> None:
        """Take the byte order; everything else that a format could have is refused."""
        plain = (None, None, None, -1, -1, 0)
        if not isinstance(state, tuple) or len(state) != 8 or state[2:] != plain or state[1] not in ("<", ">", "|"):
            raise ValueError(f"the number format '{self.code}' is no plain one")
        self.order = state[1]

    def numpy(self) -> np.dtype:
        """Return numpy's own."""
        if self.order is None:
            raise ValueError(f"the number format '{self.code}' has no byte order")
        return np.dtype(self.order + self.code)


@dataclass
class _Array(Unfinished):
    """An array; its content comes with a later instruction."""

    value: np.ndarray | None = None

    def build(self, state: object) -> None:
        """Take shape and content."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array has a content of unknown form")
        _, shape, dtype, column_major, content = state
        self.value = _array(content, dtype, shape, "F" if column_major is True else "C")


@dataclass(frozen=True)
class Function:
    """What stands for an admitted name: never the object of that name itself."""

    name: str
    call: Callable[..., object]


def _array(content: object, dtype: object, shape: object, order: object) -> np.ndarray:
    """Return an array over `content`; nothing is allocated, so a file cannot claim more than it holds."""
    if not isinstance(content, bytes | bytearray) or not isinstance(dtype, _Dtype) or order not in ("C", "F"):
        raise ValueError("an array has a content of unknown form")
    if not isinstance(shape, tuple) or len(shape) > _MAX_AXES or not all(_is_side(side) for side in shape):
        raise ValueError("an array has a shape of unknown form")
    size = prod(shape) * dtype.numpy().itemsize
    if len(content) != size:
        raise ValueError(f"an array of shape {shape} and format '{dtype.code}' has {len(content)} bytes, not {size}")
    array = np.frombuffer(content, dtype.numpy()).reshape(shape, order="F" if order == "F" else "C")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _is_side(side: object) -> bool:
    return type(side) is int and 0 <= side <= sys.maxsize


_MAX_AXES = 8
# The largest released checkpoint takes some ten thousand.
_MAX_STEPS = 1_000_000
_NDARRAY = Function("numpy.ndarray", lambda: refuse_call("numpy.ndarray"))
_CODES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


def refuse_call(name: str) -> None:
    """Refuse a call of something that may only be named."""
    raise ValueError(f"the file calls '{name}', which it may only name")


def _new_array(kind: object, shape: object, code: object) -> _Array:
    if kind is not _NDARRAY or shape != (0,) or code not in (b"b", "b"):
        raise ValueError("an array begins in an unknown form")
    return _Array()


def _array_in_place(content: object, dtype: object, shape: object, order: object) -> _Array:
    return _Array(_array(content, dtype, shape, order))


def _new_dtype(code: object, align: object, copy: object) -> _Dtype:
    # Only text is ever put into a message: a tuple of tuples of tuples in a small file may be longer than any memory.
    if not isinstance(code, str) or code not in _CODES:
        named = repr(code[:20]) if isinstance(code, str) else type(code).__name__
        raise ValueError(f"arrays of format {named} are not admitted; admitted = {list(_CODES)}")
    return _Dtype(code)


def _device_array(function: object, arguments: object, content: object, about: object) -> _Array:
    if not isinstance(function, Function) or function.call is not _new_array or not isinstance(arguments, tuple):
        raise ValueError("a JAX array begins in an unknown form")
    array = _new_array(*arguments)
    array.build(content)
    return array


def _mapping(content: object = None) -> dict[str, object]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError("a Haiku mapping is made of something that is no mapping")
    return content


# Everything that a checkpoint may name, under the names of all versions that wrote checkpoints.
_ADMITTED: dict[str, Callable[..., object]] = {
    "numpy.core.multiarray._reconstruct": _new_array,
    "numpy._core.multiarray._reconstruct": _new_array,
    "numpy.core.numeric._frombuffer": _array_in_place,
    "numpy._core.numeric._frombuffer": _array_in_place,
    "numpy.dtype": _new_dtype,
    "jax._src.array._reconstruct_array": _device_array,
    "jax._src.device_array.reconstruct_device_array": _device_array,
    "haiku._src.data_structures.FlatMapping": _mapping,
    "haiku._src.data_structures.FlatMap": _mapping,
    "haiku._src.data_structures.frozendict": _mapping,
    "collections.OrderedDict": _mapping,
}
_FUNCTIONS = {name: Function(name, call) for name, call in _ADMITTED.items()} | {_NDARRAY.name: _NDARRAY}

_VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1"),
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS = {"BINPUT", "LONG_BINPUT"}
_GETS = {"BINGET", "LONG_BINGET"}
_FRAMING = {"PROTO", "FRAME", "STOP"}


class Machine:
    """Carries out a pickle's instructions on a stack of plain values.

    Those that arrays and mappings do not need (instances, lists, extension codes) do not exist.

    Args:
        functions: What the file may name, by its full name.
        refer: Gives the value that the file refers to as lying elsewhere; `None` when there are none.
    """

    def __init__(self, functions: Mapping[str, Function], refer: Callable[[object], object] | None = None) -> None:
        self.functions = functions
        self.refer = refer
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes | mmap) -> object:
        """Return what `data` describes."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(cast("IO[bytes]", data))):
            if count == _MAX_STEPS:
                raise ValueError(f"it has more than {_MAX_STEPS} instructions")
            self._step(opcode.name, argument)
        if len(self.stack) != 1 or self.marks:
            raise ValueError("the file ends in the middle")
        return self.stack[0]

    def _step(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _PUTS:
            self.memo[argument] = self._top()
        elif name in _GETS:
            if argument not in self.memo:
                raise ValueError(f"the file refers to value {argument}, which it does not have")
            self.stack.append(self.memo[argument])
        elif name in _TUPLES:
            self.stack.append(tuple(self._pop(_TUPLES[name])))
        elif name == "BINPERSID" and self.refer is not None:
            self.stack.append(self.refer(self._pop(1)[0]))
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name not in _FRAMING:
            detail = f" ('{argument[:200]}')" if isinstance(argument, str) else ""
            raise ValueError(f"the pickle instruction {name}{detail} is not admitted")

    def mark(self, argument: None) -> None:
        """Remember where a group begins."""
        self.marks.append(len(self.stack))

    def memoize(self, argument: None) -> None:
        """Number the newest value."""
        self.memo[len(self.memo)] = self._top()

    def empty_dict(self, argument: None) -> None:
        """Begin a mapping."""
        self.stack.append({})

    def tuple_of_group(self, argument: None) -> None:
        """Make a tuple of a group."""
        self.stack.append(tuple(self._group()))

    def set_item(self, argument: None) -> None:
        """Add one entry to a mapping."""
        self._add(self._pop(2))

    def set_items(self, argument: None) -> None:
        """Add a group of entries to a mapping."""
        self._add(self._group())

    def name(self, argument: str) -> None:
        """Look up `module name`."""
        self._look_up(*argument.split(" ", 1))

    def name_from_stack(self, argument: None) -> None:
        """Look up a module and a name that lie on the stack."""
        self._look_up(*self._pop(2))

    def call(self, argument: None) -> None:
        """Call what stands for an admitted name."""
        function, arguments = self._pop(2)
        if not isinstance(function, Function) or not isinstance(arguments, tuple):
            raise ValueError(f"the file calls a {type(function).__name__}")
        try:
            self.stack.append(function.call(*arguments))
        except TypeError as error:
            raise ValueError(f"the file calls '{function.name}' with {len(arguments)} arguments") from error

    def build(self, argument: None) -> None:
        """Give a value the rest of it."""
        (state,) = self._pop(1)
        target = self._top()
        if not isinstance(target, Unfinished):
            raise ValueError(f"the file sets the state of a {type(target).__name__}")
        target.build(state)

    def _look_up(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError(f"the file names a global by a {type(module).__name__} and a {type(name).__name__}")
        full_name = f"{module}.{name}"
        if full_name not in self.functions:
            raise ValueError(f"the global '{full_name[:200]}' is refused; admitted = {sorted(self.functions)}")
        self.stack.append(self.functions[full_name])

    def _add(self, entries: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, dict) or len(entries) % 2:
            raise ValueError(f"the file adds {len(entries)} values to a {type(target).__name__}")
        for key, value in zip(entries[::2], entries[1::2], strict=True):
            if not isinstance(key, str):
                raise ValueError(f"names must be text, not {type(key).__name__}")
            if key in target:
                raise ValueError(f"the name '{key[:100]}' occurs twice")
            target[key] = value

    def _top(self) -> Any:
        (value,) = self._pop(1)
        self.stack.append(value)
        return value

    def _pop(self, count: int) -> list[Any]:
        floor = self.marks[-1] if self.marks else 0
        if len(self.stack) - floor < count:
            raise ValueError("the file takes a value that it does not have")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def _group(self) -> list[Any]:
        if not self.marks:
            raise ValueError("the file ends a group that it did not begin")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values


_STEPS: dict[str, Callable[[Machine, Any], None]] = {
    "MARK": Machine.mark,
    "MEMOIZE": Machine.memoize,
    "EMPTY_DICT": Machine.empty_dict,
    "TUPLE": Machine.tuple_of_group,
    "SETITEM": Machine.set_item,
    "SETITEMS": Machine.set_items,
    "GLOBAL": Machine.name,
    "STACK_GLOBAL": Machine.name_from_stack,
    "REDUCE": Machine.call,
    "BUILD": Machine.build,
}


def _flat(content: object) -> dict[str, np.ndarray]:
    """Return `{module: {leaf: array}}`, or both parts of a file with parameters and state, under full names."""
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not a mapping of modules")
    parts = list(content.values()) if set(content) == {_PARAMS, _STATE} else [content]
    arrays: dict[str, np.ndarray] = {}
    seen: set[int] = set()
    for part in parts:
        for module, leaves in _entries(part, "the checkpoint", seen):
            for leaf, array in _entries(leaves, f"module '{module}'", seen):
                name = f"{module}/{leaf}"
                if not isinstance(array, _Array) or array.value is None:
                    raise ValueError(f"'{name}' is no array but a {type(array).__name__}")
                if name in arrays:
                    raise ValueError(f"the name '{name}' occurs twice")
                arrays[name] = array.value
    return arrays


def _entries(mapping: object, what: str, seen: set[int]) -> list[tuple[str, object]]:
    if not isinstance(mapping, dict):
        raise ValueError(f"{what} is no mapping but a {type(mapping).__name__}")
    # A small file could otherwise name the same entries over and over.
    if id(mapping) in seen:
        raise ValueError(f"{what} is the same mapping as another part of the file")
    seen.add(id(mapping))
    return list(mapping.items())
