"""Exported files beside their models: every entry of the zoo that is small, both kinds of file, all parts."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model_examples import leaves, seeded
from perceivers.adapters.base import grid_size
from perceivers.exporting import TOLERANCE, Axis, export
from perceivers.exporting.formats import FORMATS
from perceivers.model import Latents, PerceiverIO
from perceivers.quantization import quantize_int8
from perceivers.zoo import ZOO

SMALL = [name for name in ZOO if name.endswith("-small")]
FULL = [name for name in ZOO if name not in SMALL]
ENDINGS = {"onnx": ".onnx", "torch": ".pt2"}
# One model of each modality as ONNX, the most different also by `torch.export`; the others take minutes together.
IN_ONNX = (
    "audio-spectrogram-small",
    "digits-small",
    "language-small",
    "optical-flow-small",
    "points-small",
    "units-small",
)
IN_BOTH = ("digits-small", "language-small", "video-autoencoding-small")
QUICK = {*((name, "onnx") for name in IN_ONNX + IN_BOTH), *((name, "torch") for name in IN_BOTH)}
FILES = [
    pytest.param(name, kind, marks=() if (name, kind) in QUICK else pytest.mark.heavy)
    for name in SMALL
    for kind in ENDINGS
]
EVERY_FORMAT = pytest.mark.parametrize("kind", ENDINGS)


def model_of(name: str) -> PerceiverIO:
    """Return a model whose every parameter does something."""
    model = seeded(ZOO[name].config).eval()
    for parameter in model.parameters():
        if not parameter.abs().max():
            nn.init.normal_(parameter, std=0.1)
    return model


def open_file(path: Path) -> Any:
    return next(kind for kind in FORMATS.values() if kind.ending == path.suffix).open(path)


def batch_of(model: PerceiverIO, batch_size: int, length: int | None = None) -> dict[str, Tensor]:
    torch.manual_seed(batch_size)
    batch = model.inputs.example_batch(batch_size)
    return batch if length is None else {name: value[:, -length:] for name, value in batch.items()}


def assert_close(found: dict[str, Tensor], expected: Any) -> None:
    theirs = {"outputs": expected} if isinstance(expected, Tensor) else expected
    theirs = {name if name.startswith("outputs") else f"outputs.{name}": value for name, value in theirs.items()}
    assert list(found) == list(theirs)
    for name, value in theirs.items():
        assert found[name].shape == value.shape
        error = (found[name] - value).abs().max() / value.square().mean().sqrt()
        assert error <= TOLERANCE, (name, float(error))


@pytest.mark.parametrize(("name", "kind"), FILES)
@torch.no_grad()
def test_files_compute_what_models_do(name: str, kind: str, tmp_path: Path) -> None:
    model = model_of(name)
    report = export(model, tmp_path / f"model{ENDINGS[kind]}")
    assert report.format == kind
    assert report.num_bytes == report.path.stat().st_size > 0
    # Sizes that neither the trace nor the checks have seen.
    axes = {size.name: size for port in report.inputs for size in port.shape if isinstance(size, Axis)}
    longest = axes["length"].most if "length" in axes else None
    length = None if longest is None else longest - 5
    batch = batch_of(model, 4, length)
    where: Any = None
    if "queries" in axes:
        where = torch.randint(length or 100, (11,))
    elif "queries_video" in axes:
        grids = model.queries.output_grid(model.inputs(batch))
        assert isinstance(grids, dict)
        counts = {part: grid_size(grid) for part, grid in grids.items()}
        few = {"audio": torch.tensor([counts["audio"] - 1, 4]), "video": torch.arange(0, counts["video"], 1111)}
        where = {**few, "label": torch.tensor([0])}
    chosen = where if isinstance(where, dict) else {"": where}
    inputs = {**batch, **{f"where.{key}".rstrip("."): value for key, value in chosen.items() if value is not None}}
    assert list(inputs) == [port.name for port in report.inputs]
    assert_close(open_file(report.path)(inputs), model(batch, where=where))


@EVERY_FORMAT
@pytest.mark.parametrize("name", ["language-small", "optical-flow-small", "video-autoencoding-small"])
@torch.no_grad()
def test_parts_together_are_the_whole(name: str, kind: str, tmp_path: Path) -> None:
    model = model_of(name)
    encoder = export(model, tmp_path / f"encoder{ENDINGS[kind]}", part="encode", check=False)
    decoder = export(model, tmp_path / f"decoder{ENDINGS[kind]}", part="decode", check=False)
    batch = batch_of(model, 2)
    known = open_file(encoder.path)(batch)
    where = {"audio": torch.arange(9), "video": torch.arange(7), "label": torch.tensor([0])}
    asked = {f"where.{key}": value for key, value in where.items()} if "video" in name else {"where": torch.arange(6)}
    given = {**batch, **known, **asked}
    found = open_file(decoder.path)({port.name: given[port.name] for port in decoder.inputs})
    assert_close(found, model(batch, where=where if "video" in name else asked["where"]))
    extra = {"language-small": ["keep_mask"], "optical-flow-small": ["tokens"], "video-autoencoding-small": []}
    assert [p.name for p in decoder.inputs if not p.name.startswith(("latents", "where"))] == extra[name]


@pytest.mark.parametrize("name", ["language-small", "optical-flow-small"])
@torch.no_grad()
def test_all_outputs_have_the_form_of_the_modality(name: str, tmp_path: Path) -> None:
    model = model_of(name)
    report = export(model, tmp_path / "model.pt2", where=False)
    batch = batch_of(model, 2)
    assert_close(open_file(report.path)(batch), model(batch))
    assert "where" not in [port.name for port in report.inputs]


@torch.no_grad()
def test_axes_can_be_closed(tmp_path: Path) -> None:
    import onnxruntime

    model = model_of("language-small")
    report = export(model, tmp_path / "model.onnx", fixed={"batch": 1, "length": 30, "queries": 4})
    session = onnxruntime.InferenceSession(report.path)
    assert {port.name: port.shape for port in session.get_inputs()} == {
        "input_ids": [1, 30],
        "keep_mask": [1, 30],
        "where": [4],
    }
    assert session.get_outputs()[0].shape == [1, 4, 262]


def test_open_axes_have_names_in_onnx(tmp_path: Path) -> None:
    import onnxruntime

    export(model_of("video-autoencoding-small"), tmp_path / "model.onnx", check=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    shapes = {port.name: port.shape for port in (*session.get_inputs(), *session.get_outputs())}
    assert shapes["video"] == ["batch", 8, 48, 48, 3]
    assert shapes["where.video"] == ["queries_video"]
    assert shapes["outputs.video"] == ["batch", "queries_video", 3]


def test_files_tell_what_they_are_and_nothing_of_this_machine(tmp_path: Path) -> None:
    import onnx

    task = {"name": "image-classification", "labels": ["null", "eins"], "fit": "center"}
    for ending in ENDINGS.values():
        export(model_of("digits-small"), tmp_path / f"m{ending}", task=task, check=False)
    told = {prop.key: prop.value for prop in onnx.load(tmp_path / "m.onnx").metadata_props}
    extra = dict.fromkeys([f"perceivers.{name}" for name in ("task", "labels", "settings", "version", "part")], "")
    torch.export.load(tmp_path / "m.pt2", extra_files=extra)
    for facts in (told, extra):
        assert facts["perceivers.task"] == "image-classification"
        assert json.loads(facts["perceivers.labels"]) == ["null", "eins"]
        assert json.loads(facts["perceivers.settings"]) == {"fit": "center"}
        assert facts["perceivers.part"] == "whole"
        assert facts["perceivers.version"]
    config = json.loads(told["perceivers.config"])
    assert config["encoder"]["num_latents"] == 16
    for ending in ENDINGS.values():
        assert str(Path(export.__code__.co_filename).parent).encode() not in (tmp_path / f"m{ending}").read_bytes()


@EVERY_FORMAT
def test_a_file_that_computes_otherwise_does_not_appear(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / f"model{ENDINGS[kind]}"
    target.write_bytes(b"before")
    cls = type(FORMATS[kind])
    right = cls.open
    monkeypatch.setattr(
        cls,
        "open",
        lambda self, path: lambda inputs: {name: 1.001 * v for name, v in right(self, path)(inputs).items()},
    )
    with pytest.raises(
        ValueError, match=r"'outputs' of the file differs from the model's by 0\.00.* at \{'batch': 1\}"
    ):
        export(model_of("digits-small"), target, overwrite=True)
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    export(model_of("digits-small"), target, overwrite=True, check=False)
    assert target.read_bytes() != b"before"


class _Counting(nn.Module):
    """Gives another number of rows for each content: nothing that a graph can hold."""

    def forward(self, x: Tensor) -> Tensor:
        return x * int((x > 0).sum())


def test_refusals_are_one_sentence(tmp_path: Path) -> None:
    model = model_of("digits-small")
    (tmp_path / "taken.onnx").write_bytes(b"mine")
    (tmp_path / "folder.onnx").mkdir()
    refusals: list[tuple[str, dict[str, Any], str]] = [
        ("taken.onnx", {}, "exists; overwrite it, or name another file"),
        ("folder.onnx", {}, "is a folder; name a file"),
        ("absent/m.onnx", {}, "of file 'm.onnx' does not exist"),
        ("m.bin", {}, r"must end in \.onnx or \.pt2"),
        ("m.onnx", {"format": "torch"}, r"must end in \.pt2"),
        ("m.onnx", {"fixed": {"width": 8}}, r"fixed names the axis 'width'; open axes = \['batch'\]"),
        ("m.onnx", {"fixed": {"batch": 0}}, r"fixed.batch \(0\) must be at least 1"),
    ]
    for name, options, message in refusals:
        with pytest.raises(ValueError, match=message):
            export(model, tmp_path / name, **options)
    with pytest.raises(ValueError, match=r"the model is in float64 on cpu; files are made of models in float32"):
        export(model_of("digits-small").double(), tmp_path / "m.onnx")
    assert (tmp_path / "taken.onnx").read_bytes() == b"mine"


def test_what_no_graph_can_hold_is_refused(tmp_path: Path) -> None:
    model = model_of("digits-small")
    model.encoder.blocks.add_module("0", nn.Sequential(model.encoder.blocks[0], _Counting()))
    with pytest.raises(ValueError, match="this model cannot be exported: ") as caught:
        export(model, tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_missing_packages_show_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    # By its module: the package offers the function of the same name.
    monkeypatch.setattr(sys.modules["perceivers.exporting.export"], "trace", None)
    with pytest.raises(ImportError) as caught:
        export(model_of("digits-small"), tmp_path / "m.onnx")
    assert caught.value.name == "onnxruntime"


def test_positions_count_in_the_size_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("optical-flow-small")
    weights = sum(parameter.nbytes for parameter in model.parameters())
    monkeypatch.setattr("perceivers.exporting.formats._MOST_BYTES", weights)
    with pytest.raises(ValueError, match=r"the weights take .* bytes, a file of ONNX at most .*; export to \.pt2"):
        export(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@torch.no_grad()
def test_weights_in_eight_bits_can_be_exported(tmp_path: Path) -> None:
    model = quantize_int8(model_of("digits-small"))
    program = export(model, tmp_path / "m.pt2")
    assert_close(open_file(program.path)(batch_of(model, 4)), model(batch_of(model, 4)))
    with pytest.raises(
        ValueError, match=r"cannot be written as ONNX, but perhaps to \.pt2: No ONNX function"
    ) as caught:
        export(model, tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)
    floats = quantize_int8(model_of("digits-small"), int8_inputs=False)
    graph = export(floats, tmp_path / "m.onnx")
    assert_close(open_file(graph.path)(batch_of(model, 4)), floats(batch_of(model, 4)))


@torch.no_grad()
def test_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    from perceivers.nn.linear import Linear, pack_linears

    model = model_of("digits-small")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    linears = [module for module in model.modules() if isinstance(module, Linear)]
    for linear in linears:
        linear.pack()
    packed = [linear.is_packed for linear in linears]
    answers = leaves(model(batch_of(model, 2)))
    export(model, tmp_path / "a.pt2")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.allclose(leaves(model(batch_of(model, 2)))[0], answers[0], atol=1e-5)
    if any(packed):
        pack_linears(model)
    model.train()
    export(model, tmp_path / "b.pt2", check=False)
    assert model.training
    assert model.encoder.training


def test_hidden_modalities_are_no_inputs(tmp_path: Path) -> None:
    from perceivers.config import override

    config = override(ZOO["video-autoencoding-small"].config, {"inputs.mask_probabilities": {"label": 1.0}})
    report = export(seeded(config), tmp_path / "m.pt2", part="encode")
    assert [port.name for port in report.inputs] == ["audio", "video"]


@pytest.mark.heavy
@pytest.mark.parametrize("name", FULL)
def test_released_models_at_full_size(name: str, tmp_path: Path) -> None:
    parts = ("encode", "decode") if name == "video-autoencoding" else ("whole",)
    for part in parts:
        report = export(model_of(name), tmp_path / "model.onnx", part=part, overwrite=True)
        assert all(math.isfinite(check.error) for check in report.checks)
        assert len(report.checks) == 2


def test_latents_are_what_encode_gives(tmp_path: Path) -> None:
    model = model_of("text-classifier-small")
    report = export(model, tmp_path / "m.pt2", part="encode", check=False)
    batch = batch_of(model, 2, 50)
    with torch.no_grad():
        latents = model.encode(batch)
    assert isinstance(latents, Latents)
    found = open_file(report.path)(batch)
    assert torch.allclose(found["latents"], latents.values, atol=1e-4)
