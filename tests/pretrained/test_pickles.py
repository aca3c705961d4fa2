"""DeepMind's own files load exactly; anything that is more than arrays and mappings is refused unread."""

import copyreg
import json
import os
import pickle
import struct
import sys
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golden_models import FULL_SIZE_GOLDENS, GOLDENS, Golden, config_of
from perceivers.model import PerceiverIO
from perceivers.pretrained.haiku import load_haiku, save_haiku
from perceivers.pretrained.pickles import read_pickle

SAMPLES = ("imagenet_conv_small.numpy2_jaxarray", "imagenet_fourier_small.flatmapping_p3")
WEIGHTS = {"linear": {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(3, np.float32)}}

Read = Callable[[bytes], dict[str, np.ndarray]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_bytes(data: bytes) -> dict[str, np.ndarray]:
        path = tmp_path / "checkpoint.pickle"
        path.write_bytes(data)
        return read_pickle(path)

    return read_bytes


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples(name: str) -> None:
    golden = Golden(GOLDENS / f"{name.split('.')[0]}.npz")
    found = read_pickle(GOLDENS / f"{name}.pickle")
    assert_same(found, golden.weights())
    model = PerceiverIO(config_of(golden.recipe))
    load_haiku(model, found)
    assert_same(save_haiku(model), golden.weights())


@pytest.mark.shared
def test_every_sample() -> None:
    folder = FULL_SIZE_GOLDENS.parent / "pickles"
    if not folder.is_dir():
        pytest.skip(f"needs the sample checkpoints in {folder}")
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    assert len(index) >= 20
    for name, about in index.items():
        assert_same(read_pickle(folder / name), Golden(folder.parent / about["weights_of"]).weights())


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_own_pickles(read: Read, protocol: int) -> None:
    arrays = {
        "column_major": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big_endian": np.arange(3, dtype=">i4"),
        "scalar": np.array(7, np.int32),
        "empty": np.zeros((0, 3), np.float16),
        "strided": np.arange(10, dtype=np.uint8)[::3],
        "flags": np.array([True, False]),
    }
    found = read(pickle.dumps(OrderedDict(part=arrays), protocol))
    assert_same(found, {f"part/{name}": value.astype(value.dtype.newbyteorder("=")) for name, value in arrays.items()})


def test_parameters_and_state(read: Read) -> None:
    state = {"linear": {"average": np.ones(2)}}
    found = read(pickle.dumps({"params": WEIGHTS, "state": state}, 4))
    assert_same(found, {f"linear/{k}": v for k, v in {**WEIGHTS["linear"], **state["linear"]}.items()})
    assert set(read(pickle.dumps({"params": WEIGHTS, "state": {}}, 4))) == {"linear/w", "linear/b"}


# Instructions of a pickle, written by hand.


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value) if -(2**31) <= value < 2**31 else pickle.dumps(value, 2)[2:-1]


def data(value: bytes) -> bytes:
    return b"C" + bytes([len(value)]) + value


def named(full_name: str) -> bytes:
    module, name = full_name.rsplit(".", 1)
    return f"c{module}\n{name}\n".encode()


def dtype(code: str = "f4", order: str = "<", rest: bytes = b"NNN" + number(-1) * 2 + number(0)) -> bytes:
    made = named("numpy.dtype") + text(code) + b"\x89\x88\x87R"
    return made + b"(" + number(3) + text(order) + rest + b"tb"


NEW_ARRAY = named("numpy.core.multiarray._reconstruct") + named("numpy.ndarray") + number(0) + b"\x85" + data(b"b")


def shaped(*sides: int, content: bytes = b"\0" * 8, kind: bytes | None = None) -> bytes:
    sides_tuple = b"(" + b"".join(number(side) for side in sides) + b"t"
    state = b"(" + number(1) + sides_tuple + (kind or dtype()) + b"\x89" + data(content) + b"t"
    return NEW_ARRAY + b"\x87R" + state + b"b"


def checkpoint(leaf: bytes) -> bytes:
    return b"\x80\x04}" + text("linear") + b"}" + text("w") + leaf + b"ss."


def test_hand_written_instructions_are_right(read: Read) -> None:
    """What the hostile files below are variations of."""
    good = checkpoint(shaped(2))
    assert_same(read(good), {"linear/w": np.zeros(2, np.float32)})
    assert_same({"linear/w": pickle.loads(good)["linear"]["w"]}, {"linear/w": np.zeros(2, np.float32)})


class Calls:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch {marker}",), "system"),
        (eval, ("open('{marker}', 'w')",), "eval"),
        (getattr, ("x", "y"), "getattr"),
        (np.load, ("{marker}",), "load"),
        (np.save, ("{marker}", 1), "save"),
        (np.frombuffer, (b"1234",), "frombuffer"),
    ],
)
def test_other_names_are_refused_by_name(
    read: Read, tmp_path: Path, function: Any, arguments: tuple[Any, ...], name: str, protocol: int
) -> None:
    marker = tmp_path / "executed.npy"
    filled = tuple(a.format(marker=marker) if isinstance(a, str) else a for a in arguments)
    call = Calls(function, *filled)
    for content in (call, {"linear": {"w": call}}):
        with pytest.raises(ValueError, match=name if protocol else f"{name}|not admitted"):
            read(pickle.dumps(content, protocol))
    assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    [
        "numpy.array",
        "numpy.zeros",
        "numpy.core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct.__globals__",
        "builtins.dict",
        "haiku._src.data_structures.to_immutable_dict",
        "jax._src.array.ArrayImpl",
        "perceivers.pretrained.pickles._mapping",
    ],
)
def test_neighbours_of_admitted_names_are_refused(read: Read, name: str) -> None:
    module, last = name.rsplit(".", 1)
    from_stack = text(module) + text(last) + b"\x93"
    for lookup in (named(name), from_stack):
        with pytest.raises(ValueError, match=rf"'{name}' is refused; admitted = \['collections.OrderedDict'"):
            read(checkpoint(lookup + b")R"))


class Plain:
    pass


FRAGMENTS = {
    "object array": (pickle.dumps({"a": {"b": np.array([1, "x"], object)}}, 4), "format 'O8' are not admitted"),
    "text array": (pickle.dumps({"a": {"b": np.array(["x"])}}, 4), "format 'U1' are not admitted"),
    "records": (pickle.dumps({"a": {"b": np.zeros(2, "i4,f4")}}, 4), "format 'V8' are not admitted"),
    "instance": (pickle.dumps({"a": {"b": Plain()}}, 4), "Plain' is refused"),
    "numpy scalar": (pickle.dumps({"a": {"b": np.float32(1)}}, 4), "scalar' is refused"),
    "old instance": (checkpoint(b"(ios\nsystem\n"), r"INST \('os system'\) is not admitted"),
    "object": (checkpoint(b"(" + named("numpy.dtype") + b"o"), "OBJ is not admitted"),
    "new object": (checkpoint(named("numpy.dtype") + b")\x81"), "NEWOBJ is not admitted"),
    "persistent id": (checkpoint(text("0") + b"Q"), "BINPERSID is not admitted"),
    "persistent id in words": (checkpoint(b"Pid\n"), r"PERSID \('id'\) is not admitted"),
    "extension": (checkpoint(b"\x82\x01"), "EXT1 is not admitted"),
    "list": (checkpoint(b"]"), "EMPTY_LIST is not admitted"),
    "out-of-band buffer": (checkpoint(b"\x97"), "NEXT_BUFFER is not admitted"),
    "state of a mapping": (checkpoint(b"}}b"), "sets the state of a dict"),
    "state of a name": (checkpoint(named("numpy.dtype") + b"}b"), "sets the state of a Function"),
    "state of a mapping class": (
        checkpoint(named("haiku._src.data_structures.FlatMapping") + b"}" + text("x") + number(1) + b"sb"),
        "sets the state of a Function",
    ),
    "call of text": (checkpoint(text("numpy.dtype") + b")R"), "calls a str"),
    "call of an array class": (checkpoint(named("numpy.ndarray") + b")R"), "calls 'numpy.ndarray', which it may only"),
    "wrong arguments": (checkpoint(named("numpy.dtype") + b")R"), "calls 'numpy.dtype' with 0 arguments"),
    "array of another class": (
        checkpoint(NEW_ARRAY.replace(named("numpy.ndarray"), named("numpy.dtype")) + b"\x87R"),
        "begins in an unknown form",
    ),
    "array that claims memory": (
        checkpoint(NEW_ARRAY.replace(number(0), number(2**62)) + b"\x87R"),
        "begins in an unknown form",
    ),
    "array without content": (checkpoint(NEW_ARRAY + b"\x87R"), "'linear/w' is no array"),
    "subarray format": (
        checkpoint(shaped(2, kind=dtype(rest=dtype() + number(2**30) + b"\x86NN" + number(-1) * 2 + number(0)))),
        "'f4' is no plain one",
    ),
    "format without byte order": (
        checkpoint(shaped(2, kind=named("numpy.dtype") + text("f4") + b"\x89\x88\x87R")),
        "has no byte order",
    ),
    "JAX array of a mapping": (
        checkpoint(
            named("jax._src.array._reconstruct_array")
            + b"("
            + named("haiku._src.data_structures.FlatMapping")
            + b"})}}tR"
        ).replace(b"})}}", b")}}"),
        "a JAX array begins in an unknown form",
    ),
    "mapping of text": (
        checkpoint(named("haiku._src.data_structures.FlatMapping") + text("x") + b"\x85R"),
        "no mapping",
    ),
    "larger than its content": (
        checkpoint(shaped(2**31, 2**31)),
        r"\(2147483648, 2147483648\).* has 8 bytes, not 1844",
    ),
    "smaller than its content": (checkpoint(shaped(1)), "has 8 bytes, not 4"),
    "negative side": (checkpoint(shaped(-1)), "shape of unknown form"),
    "absurd side": (checkpoint(shaped(2**63, content=b"")), "shape of unknown form"),
    "absurd sides": (checkpoint(shaped(0, *[2**62] * 7, content=b"")), "is no checkpoint that can be read"),
    "too many axes": (checkpoint(shaped(*[1] * 100, content=b"\0" * 4)), "shape of unknown form"),
    "absurd text": (checkpoint(b"\x8d" + struct.pack("<Q", 2**62)), "is no checkpoint that can be read"),
    "absurd bytes": (checkpoint(b"\x8e" + struct.pack("<Q", 2**40)), "is no checkpoint that can be read"),
    "unknown instruction": (checkpoint(b"\xff"), "opcode b'\\\\xff' unknown"),
    "unknown memo": (checkpoint(b"h\x07"), "refers to value 7"),
    "empty stack": (b"\x80\x04R.", "takes a value that it does not have"),
    "values of another group": (checkpoint(number(1) + b"(\x85"), "takes a value that it does not have"),
    "group without beginning": (b"\x80\x04t.", "ends a group that it did not begin"),
    "group without end": (b"\x80\x04}(.", "ends in the middle"),
    "odd entries": (b"\x80\x04}(" + text("a") + b"u.", "adds 1 values"),
    "entries of a number": (b"\x80\x04" + number(1) + text("a") + number(1) + b"s.", "adds 2 values to a int"),
    "empty": (b"", "is no checkpoint that can be read"),
    "text": (b"this is no pickle", "is no checkpoint that can be read"),
    "no mapping": (pickle.dumps(3, 4), "it holds a int, not a mapping"),
    "array alone": (pickle.dumps(np.ones(2), 4), "it holds a _Array, not a mapping"),
    "flat mapping": (pickle.dumps({"a": np.ones(2)}, 4), "module 'a' is no mapping but a _Array"),
    "too deep": (pickle.dumps({"a": {"b": {"c": np.ones(2)}}}, 4), "'a/b' is no array but a dict"),
    "leaf of text": (pickle.dumps({"a": {"b": "x"}}, 4), "'a/b' is no array but a str"),
    "state of text": (pickle.dumps({"params": WEIGHTS, "state": "x"}, 4), "the checkpoint is no mapping but a str"),
    "name that is a number": (pickle.dumps({1: {}}, 4), "names must be text, not int"),
    "name twice": (b"\x80\x04}(" + (text("a") + b"}") * 2 + b"u.", "the name 'a' occurs twice"),
    "full name twice": (
        pickle.dumps({"a": {"b/c": np.ones(1)}, "a/b": {"c": np.ones(1)}}, 4),
        "the name 'a/b/c' occurs twice",
    ),
    "in parameters and state": (
        pickle.dumps({"params": {"a": {"b": np.ones(1)}}, "state": {"a": {"b": np.zeros(1)}}}, 4),
        "the name 'a/b' occurs twice",
    ),
    "one mapping under many names": (pickle.dumps(dict.fromkeys("abc", WEIGHTS["linear"]), 4), "'b'.* is the same"),
    "mapping within itself": (b"\x80\x04}q\x00" + text("params") + b"h\x00s" + text("state") + b"}s.", "is the same"),
}


@pytest.mark.parametrize("name", FRAGMENTS)
def test_refused(read: Read, name: str) -> None:
    content, message = FRAGMENTS[name]
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message) as error:
            read(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**22
    assert len(str(error.value)) < 2000
    assert "checkpoint.pickle" in str(error.value)


@pytest.mark.parametrize("nested", [b"}" + text("a"), b"("], ids=["mappings", "tuples"])
def test_deep_nesting(read: Read, nested: bytes) -> None:
    depth = 10_000
    close = b"s" if nested != b"(" else b"t"
    with pytest.raises(ValueError, match=r"is no (array|mapping) but a"):
        read(b"\x80\x04}" + text("a") + nested * depth + b"N" + close * depth + b"s.")


def test_truncated_anywhere(read: Read) -> None:
    whole = pickle.dumps({"params": WEIGHTS, "state": {}}, 4)
    read(whole)
    for length in range(len(whole)):
        with pytest.raises(ValueError, match="no checkpoint that can be read"):
            read(whole[:length])


def test_registered_extensions_stay_closed(read: Read) -> None:
    """The interpreter's own extension table would hand out a function without asking."""
    copyreg.add_extension("os", "system", 240)
    try:
        with pytest.raises(ValueError, match="EXT1 is not admitted"):
            read(checkpoint(b"\x82\xf0" + text("true") + b"\x85R"))
    finally:
        copyreg.remove_extension("os", "system", 240)


def test_nothing_is_imported(read: Read) -> None:
    with pytest.raises(ValueError, match="antigravity"):
        read(checkpoint(named("antigravity.fly")))
    assert "antigravity" not in sys.modules


def test_arrays_do_not_share_memory_with_one_another(read: Read) -> None:
    found = read(pickle.dumps(WEIGHTS, 4))
    assert not np.shares_memory(found["linear/w"], found["linear/b"])


@pytest.mark.parametrize("size", [0, 2**36])
def test_files_without_content(tmp_path: Path, size: int) -> None:
    path = tmp_path / "holes.pickle"
    with path.open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"holes.pickle' is no checkpoint that can be read"):
            read_pickle(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
