"""Files of `torch.save`: what a `state_dict` needs passes, and nothing is made of what asks for more."""

import resource
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn

from perceivers.pretrained.files import read_tensors


def laughs(depth: int) -> bytes:
    """Return instructions that put a tuple of 2 ** depth texts on the stack."""
    return b"X\x03\0\0\0lol" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(depth))


def write(path: Path, program: bytes, name: str = "data.pkl") -> Path:
    """Write a file as `torch.save` does, but with this program as its pickle `name`."""
    torch.save({"a": torch.zeros(3)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    folder = next(iter(entries)).split("/")[0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for entry, content in {**entries, f"{folder}/{name}": program}.items():
            archive.writestr(entry, content)
    return path


BIG = b"\x8a\x08" + (2**33).to_bytes(8, "little")
STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x03tQ"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
EMPTY = b"ccollections\nOrderedDict\n)R"
PROGRAMS: dict[str, tuple[bytes, str]] = {
    "bytes of all memory": (b"c__builtin__\nbytearray\n" + BIG + b"\x85R", "global '__builtin__.bytearray' is refused"),
    "tensor of all memory": (b"ctorch\nTensor\n" + BIG + b"\x85R", "global 'torch.Tensor' is refused"),
    "storage of all memory": (b"ctorch.storage\nUntypedStorage\n" + BIG + b"\x85\x81", "UntypedStorage' is refused"),
    "call of a long tuple": (laughs(60) + b")R", "calls a tuple"),
    "object of a long tuple": (laughs(60) + b")\x81", "NEWOBJ is not admitted"),
    "state of a long tuple": (laughs(60) + b"}b", "sets the state of a tuple"),
    "reference to a long tuple": (laughs(60) + b"Q", "refers to something that is no storage"),
    "storage of a long tuple": (STORAGE.replace(b"K\x03t", laughs(60) + b"t"), "a storage in an unknown form"),
    "tensor of no storage": (REBUILD + b"(K\x00K\x00K\x03\x85K\x01\x85\x89" + EMPTY + b"tR", "content of unknown form"),
    "shape of a long tuple": (
        REBUILD + b"(" + STORAGE + b"K\x00" + laughs(60) + b"K\x01\x85\x89" + EMPTY + b"tR",
        "content of unknown form",
    ),
    "call of a storage": (b"ctorch\nFloatStorage\n)R", "calls 'torch.FloatStorage', which it may only name"),
    "code": (b"cos\nsystem\nX\x04\0\0\0true\x85R", "global 'os.system' is refused"),
    "number": (b"K\x01", "'a' is none"),
}


@pytest.mark.parametrize("case", PROGRAMS)
def test_refused_without_memory(tmp_path: Path, case: str) -> None:
    program, part = PROGRAMS[case]
    path = write(tmp_path / "pytorch_model.bin", b"\x80\x02}X\x01\0\0\0a" + program + b"s.")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="cannot be read") as caught:
        read_tensors(path)
    assert part in str(caught.value)
    assert len(str(caught.value)) < 1500
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize("name", ["DATA.PKL", "other/data.pkl"])
def test_every_pickle_in_the_archive_is_looked_through(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "pytorch_model.bin", b"\x80\x02cos\nsystem\n.", name)
    with pytest.raises(ValueError, match=r"global 'os\.system' is refused"):
        read_tensors(path)


def test_more_instructions_than_any_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perceivers.pretrained.pickles._MAX_STEPS", 1000)
    path = write(tmp_path / "pytorch_model.bin", b"\x80\x02" + b"}" * 2000 + b".")
    with pytest.raises(ValueError, match="more than 1000 instructions"):
        read_tensors(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_models_are_saved_as(tmp_path: Path, dtype: torch.dtype) -> None:
    linear = nn.Linear(2, 3)
    linear.weight.requires_grad_(False)
    model = nn.Sequential(linear, nn.BatchNorm1d(3)).to(dtype)
    states = {
        "state_dict": model.state_dict(),
        "kept": model.state_dict(keep_vars=True),
        "parameters": dict(model.named_parameters()),
        "shared": OrderedDict(a=linear.weight, b=linear.weight.T, c=linear.weight[1:]),
        "none": {},
    }
    for name, state in states.items():
        path = tmp_path / f"{name}.bin"
        torch.save(state, path)
        found = read_tensors(path)
        assert set(found) == set(state)
        assert all(torch.equal(found[key], tensor) for key, tensor in state.items())


def test_archives_that_point_outside_themselves(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.zeros(3)}, path)
    content = bytearray(path.read_bytes())
    for start in range(len(content) - 22, len(content)):
        for value in (0, 0xFF):
            path.write_bytes(content[:start] + bytes([value]) + content[start + 1 :])
            with suppress(ValueError):  # and no other kind of error
                assert set(read_tensors(path)) == {"a"}


def test_files_of_older_versions(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"no whole archive, as torch.save writes since version 1\.6"):
        read_tensors(path)
