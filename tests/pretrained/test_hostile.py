"""Checkpoints that are broken or made to do harm: each is refused in one sentence that names the file."""

import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hf_families import FAMILIES
from perceivers.pretrained.folder import own_tensors, save_folder
from perceivers.pretrained.load import seeded_model
from perceivers.pretrained.pickles import read_pickle
from perceivers.pretrained.source import open_source
from train_examples import tiny_config

WEIGHTS = "model.safetensors"


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A model that was saved here."""
    save_folder(seeded_model(tiny_config(), 0), tmp_path / "ours")
    return tmp_path / "ours"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A model in the layout of `transformers`."""
    FAMILIES["text"]().model().save_pretrained(tmp_path / "theirs")
    return tmp_path / "theirs"


def refused(source: Path, *parts: str) -> str:
    """Return the one line that says why a source cannot be opened; it names `parts`, and no memory was taken."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            open_source(source)
        assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 5000
    for part in (source.name, *parts):
        assert part in message, message
    return message


def change(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def change_tensors(folder: Path, to: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(folder / WEIGHTS)
    to(tensors)
    save_file(tensors, folder / WEIGHTS)


HEADERS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", WEIGHTS),
    "short": (b"\x08\0\0", WEIGHTS),
    "header longer than the file": (struct.pack("<Q", 1000) + b"{}", WEIGHTS),
    "header of all memory": (struct.pack("<Q", 2**63) + b"{}", WEIGHTS),
    "header is no json": (struct.pack("<Q", 4) + b"nope", WEIGHTS),
    "tensor outside the file": (
        struct.pack("<Q", 66) + b'{"a": {"dtype": "F32", "shape": [100], "data_offsets": [0, 400]}}'.ljust(66),
        WEIGHTS,
    ),
    "tensor of all memory": (
        struct.pack("<Q", 80)
        + b'{"a": {"dtype": "F32", "shape": [4611686018427387904], "data_offsets": [0, 4]}}'.ljust(80)
        + b"\0\0\0\0",
        WEIGHTS,
    ),
    "deep header": (struct.pack("<Q", 200_000) + b'{"a":' * 40_000, WEIGHTS),
}


@pytest.mark.parametrize("case", HEADERS)
@pytest.mark.parametrize("layout", ["ours", "theirs"])
def test_broken_safetensors(request: pytest.FixtureRequest, layout: str, case: str) -> None:
    folder: Path = request.getfixturevalue(layout)
    content, part = HEADERS[case]
    (folder / WEIGHTS).write_bytes(content)
    refused(folder, part)


def test_names_that_occur_twice(ours: Path) -> None:
    entry = b'"a": {"dtype": "F32", "shape": [1], "data_offsets": [%d, %d]}'
    header = b"{" + entry % (0, 4) + b"," + entry % (4, 8) + b"}"
    (ours / WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    refused(ours, WEIGHTS)
    (ours / "config.json").write_text('{"format": 1, "format": 1}')
    refused(ours, "config.json", "the name 'format' occurs twice")


@pytest.mark.parametrize("layout", ["ours", "theirs"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(request: pytest.FixtureRequest, layout: str, value: float) -> None:
    folder: Path = request.getfixturevalue(layout)
    change_tensors(folder, lambda tensors: next(iter(tensors.values())).view(-1)[0].fill_(value) and None)
    refused(folder, "values that are not finite (NaN or infinity) in ['")


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_numbers_of_a_kind_that_does_not_fit(ours: Path, dtype: torch.dtype) -> None:
    change_tensors(ours, lambda tensors: tensors.update({"encoder.latents": tensors["encoder.latents"].to(dtype)}))
    refused(ours, f"types that do not fit: encoder.latents: {str(dtype).removeprefix('torch.')}")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("layout", ["ours", "theirs"])
def test_models_keep_the_precision_of_their_weights(
    request: pytest.FixtureRequest, layout: str, dtype: torch.dtype
) -> None:
    folder: Path = request.getfixturevalue(layout)
    before = own_tensors(open_source(folder).model)
    change_tensors(folder, lambda tensors: tensors.update({name: t.to(dtype) for name, t in tensors.items()}))
    model = open_source(folder).model
    for name, tensor in own_tensors(model).items():
        assert tensor.dtype == dtype
        assert torch.equal(tensor, before[name].to(dtype))
    answers: Any = model(model.inputs.example_batch(2))
    assert answers.dtype == dtype
    assert answers.isfinite().all()


def test_several_precisions_give_the_one_that_holds_them_all(ours: Path) -> None:
    change_tensors(ours, lambda t: t.update({"encoder.latents": t["encoder.latents"].half()}))
    assert open_source(ours).model.encoder.latents.dtype == torch.float32
    change_tensors(
        ours,
        lambda t: t.update(
            {name: x.bfloat16() for name, x in t.items()} | {"encoder.latents": t["encoder.latents"].half()}
        ),
    )
    assert open_source(ours).model.encoder.latents.dtype == torch.float32


class Hostile:
    """Makes a file when it is unpickled by an unpickler that runs what it is told."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def torch_file(folder: Path, content: Any) -> Path:
    (folder / WEIGHTS).unlink(missing_ok=True)
    path = folder / "pytorch_model.bin"
    torch.save(content, path)
    return path


def test_pickles_of_torch_run_nothing(theirs: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    torch_file(theirs, {"x": Hostile(marker)})
    refused(theirs, "pytorch_model.bin", "cannot be read")
    (theirs / "pytorch_model.bin").write_bytes(pickle.dumps(Hostile(marker)))
    refused(theirs, "pytorch_model.bin", "cannot be read")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ([torch.zeros(1)], "instruction EMPTY_LIST is not admitted"),
        ({"a": 1}, "'a' is none"),
        ({1: torch.zeros(1)}, "names must be text, not int"),
        ({"a": torch.zeros(3, 3).to_sparse()}, "global 'torch._utils._rebuild_sparse_tensor' is refused"),
        ({"a": torch.zeros(1).expand(10**12)}, "claims 4000000000000 bytes of tensors"),
        ({"a": torch.zeros(1).expand(10**9), "b": torch.zeros(1).expand(10**12)}, "claims"),
    ],
)
def test_torch_files_that_hold_something_else(theirs: Path, content: Any, part: str) -> None:
    torch_file(theirs, content)
    refused(theirs, "pytorch_model.bin", part)


def test_packed_torch_files(theirs: Path) -> None:
    path = torch_file(theirs, {"a": torch.zeros(100_000)})
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    refused(theirs, "pytorch_model.bin", "compressed entries")
    path.write_bytes(path.read_bytes()[:-100])
    refused(theirs, "pytorch_model.bin", "cannot be read")


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "as many latents as there is no memory for": ({"num_latents": 10**12}, "wrong type or size in ['num_latents = "),
    "latents that could be": ({"num_latents": 2**30}, "encoder.latents: (5, 12), the model has (1073741824, 12)"),
    "wide": ({"d_latents": 3 * 2**28, "d_model": 2**30}, "the model has"),
    "deep": ({"num_self_attends_per_block": 2**30}, "encoder.num_layers_per_block = 1073741824, and there are"),
    "none": ({"num_latents": 0}, "num_latents = 0"),
    "negative": ({"d_latents": -12}, "d_latents = -12"),
    "fraction": ({"num_latents": 5.0}, "num_latents = 5.0"),
    "yes": ({"num_blocks": True}, "num_blocks = True"),
    "text": ({"qk_channels": "6"}, "qk_channels = '6'"),
    "long text": ({"hidden_act": "x" * 10**6}, "hidden_act"),
    "a dropout of all": ({"attention_probs_dropout_prob": 2}, "attention_probs_dropout_prob = 2"),
    "heads that do not divide": ({"num_self_attention_heads": 7}, "7"),
    "no class": ({"architectures": []}, "architectures = []"),
    "two classes": ({"architectures": ["PerceiverForMaskedLM"] * 2}, "must name the one class"),
    "a number": ({"architectures": [1]}, "must name the one class"),
    "unknown class": ({"architectures": ["PerceiverForOracles"]}, "PerceiverForOracles is no model"),
    "the encoder alone": ({"architectures": ["PerceiverModel"]}, "PerceiverModel is no model"),
    "another type": ({"model_type": "bert"}, "'bert', not 'perceiver'"),
    "a list as type": ({"model_type": ["perceiver"]}, "not 'perceiver'"),
    "shape for attention": ({"cross_attention_shape_for_attention": "both"}, "both"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_configs_of_transformers(theirs: Path, case: str) -> None:
    fields, part = CONFIGS[case]
    change(theirs, **fields)
    refused(theirs, part)


OUR_CONFIGS: dict[str, tuple[str, Any, str]] = {
    "latents": ("encoder.num_latents", 10**12, "encoder.latents: (4, 16), the model has (1000000000000, 16)"),
    "more than numbers count": ("encoder.latent_channels", 2**62, "config"),
    "beyond numbers": ("encoder.num_latents", 10**30, "config"),
    "none": ("encoder.num_latents", 0, "encoder.latents"),
    "negative": ("encoder.num_latents", -4, "config"),
    "deep": ("encoder.num_layers_per_block", 10**9, "encoder.num_layers_per_block = 1000000000, and there are"),
    "wrong type": ("encoder.num_latents", "4", "model.encoder.num_latents = '4' must be of type int"),
    "heads": ("encoder.num_self_heads", 0, ""),
    "bands": ("inputs.positioned.positions.num_bands", 10**12, "the model has"),
    "patches": ("inputs.patch_size", 0, ""),
}


@pytest.mark.parametrize("case", OUR_CONFIGS)
def test_configs_of_ours(ours: Path, case: str) -> None:
    path, value, part = OUR_CONFIGS[case]
    document = json.loads((ours / "config.json").read_text())
    *parents, leaf = path.split(".")
    node = document["model"]
    for parent in parents:
        node = node[parent]
    assert leaf in node
    node[leaf] = value
    (ours / "config.json").write_text(json.dumps(document))
    refused(ours, part)


@pytest.mark.parametrize("layout", ["ours", "theirs"])
@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"a":' * 50_000, "is nested too deeply"),
        (b" " * (17 * 2**20), "a config has at most"),
        (b"\xff\xfe", "is no JSON"),
        (b'{"model_type": 1' + b"1" * 10_000 + b"}", ""),
        (b"7", "must hold an object"),
    ],
    ids=["lists", "objects", "huge", "no text", "long number", "a number"],
)
def test_json_that_is_no_config(request: pytest.FixtureRequest, layout: str, content: bytes, part: str) -> None:
    folder: Path = request.getfixturevalue(layout)
    (folder / "config.json").write_bytes(content)
    refused(folder, "config.json", part)


@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
def test_folders_named_like_files(ours: Path, theirs: Path, name: str) -> None:
    for folder in (ours, theirs):
        (folder / name).unlink()
        (folder / name).mkdir()
        refused(folder)


def test_weights_without_their_folder(ours: Path) -> None:
    refused(ours / WEIGHTS, "holds weights alone; give the folder")


def test_links(ours: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(ours)
    assert len(open_source(tmp_path / "link").model.encoder.latents) == 4
    (tmp_path / "elsewhere").write_bytes((ours / WEIGHTS).read_bytes())
    (ours / WEIGHTS).unlink()
    (ours / WEIGHTS).symlink_to(tmp_path / "elsewhere")
    assert len(open_source(ours).model.encoder.latents) == 4
    (tmp_path / "elsewhere").unlink()
    refused(ours, WEIGHTS)
    (ours / WEIGHTS).unlink()
    (ours / WEIGHTS).symlink_to(ours / WEIGHTS)
    refused(ours, WEIGHTS)


def shard(folder: Path, form: str = "safetensors") -> Path:
    """Cut the weights in two, as `save_pretrained` does with large ones; returns the list of what lies where."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    whole, names = ("model", "pytorch_model")[form == "bin"], sorted(tensors)
    places = {name: f"{whole}-0000{1 + i % 2}-of-00002.{form}" for i, name in enumerate(names)}
    for place in set(places.values()):
        part = {name: tensors[name] for name in names if places[name] == place}
        if form == "bin":
            torch.save(part, folder / place)
        else:
            save_file(part, folder / place)
    index = folder / f"{whole}.{form}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_weights_in_several_files(theirs: Path, form: str) -> None:
    before = own_tensors(open_source(theirs).model)
    shard(theirs, form)
    after = own_tensors(open_source(theirs).model)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_weights_in_several_files_as_transformers_writes_them(tmp_path: Path) -> None:
    hf_model = FAMILIES["text"]().model()
    hf_model.save_pretrained(tmp_path / "whole")
    hf_model.save_pretrained(tmp_path / "shards", max_shard_size="4KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    before, after = (own_tensors(open_source(tmp_path / name).model) for name in ("whole", "shards"))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_lists_of_files_that_lie(theirs: Path) -> None:
    index = shard(theirs)
    places = json.loads(index.read_text())["weight_map"]
    first = next(iter(places))
    for wrong, part in (
        ({**places, first: "../theirs/model-00001-of-00002.safetensors"}, "does not lie beside it"),
        ({**places, first: "/etc/passwd"}, "does not lie beside it"),
        ({**places, first: "absent.safetensors"}, "absent.safetensors, which is not there"),
        ({**places, "more": places[first]}, "disagree on ['more']"),
        ({name: place for name, place in places.items() if name != first}, f"disagree on ['{first}']"),
        ({}, "weight_map must map"),
        ([first], "weight_map must map"),
        ({**places, first: 1}, "weight_map must map"),
    ):
        index.write_text(json.dumps({"weight_map": wrong}))
        refused(theirs, part)


def laughs(depth: int) -> bytes:
    """Return instructions that put a tuple of 2 ** depth texts on the stack."""
    return b"\x8c\x03lol" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(depth))


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(laughs(60) + b"\x8c\x01x\x93", id="global named by a tuple of all memory"),
        pytest.param(b"cnumpy\ndtype\n" + laughs(60) + b"\x89\x88\x87R", id="format of all memory"),
        pytest.param(b"N" + b"\x85" * 5_000 + b"\x8c\x01x\x93", id="nested deeply"),
        pytest.param(laughs(60), id="tuple alone"),
        pytest.param(b"}q\x00\x8c\x01ah\x00s", id="mapping that holds itself"),
        pytest.param(b"}q\x00\x8c\x06paramsh\x00s\x8c\x05stateh\x00s", id="parts that are the whole"),
    ],
)
def test_pickles_that_are_larger_than_their_file(tmp_path: Path, program: bytes) -> None:
    path = tmp_path / "bomb.pickle"
    path.write_bytes(b"\x80\x02" + program + b".")
    refused(path, "is no checkpoint that can be read")


def test_arrays_that_share_their_content(tmp_path: Path) -> None:
    content = np.zeros(10_000, dtype=np.float32)
    path = tmp_path / "shared.pickle"
    path.write_bytes(pickle.dumps({"a": {f"w{i}": content for i in range(50)}}, protocol=3))
    with pytest.raises(ValueError, match=r"shared.pickle' .* arrays have 2000000 bytes and the file has 4\d{4}"):
        read_pickle(path)
