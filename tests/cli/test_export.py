"""`perceivers export`: from a folder to a checked file."""

import json
from pathlib import Path

import pytest
import torch

import perceivers
from perceivers.pretrained.folder import save_folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "language"
    model = perceivers.build("language-small", seed=0)
    folder.mkdir()
    save_folder(model, folder, {"name": "fill-mask"})
    return folder


def test_lines(cli, saved: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    result = cli("export", saved, target)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:6] == [
        f"read      {saved} (folder)",
        "task      fill-mask",
        "inputs    input_ids  (batch, length) int64",
        "inputs    keep_mask  (batch, length) bool",
        "inputs    where      (queries,) int64",
        "outputs   outputs  (batch, queries, 262) float32",
    ]
    assert [line.split(":")[0] for line in lines[6:8]] == [
        "checked   batch 1, length 128, queries 7",
        "checked   batch 2, length 42, queries 1",
    ]
    assert lines[8].startswith(f"wrote     {target} (onnx, whole, ")


def test_the_file_answers_like_the_folder(cli, saved: Path, tmp_path: Path) -> None:
    import onnxruntime

    target = tmp_path / "model.onnx"
    assert cli("export", saved, target, "--fix", "batch=1").exit_code == 0
    batch = {"input_ids": torch.randint(6, 262, (1, 20)), "keep_mask": torch.ones(1, 20, dtype=torch.bool)}
    where = torch.tensor([3, 19])
    session = onnxruntime.InferenceSession(target)
    assert session.get_modelmeta().custom_metadata_map["perceivers.task"] == "fill-mask"
    (found,) = session.run(["outputs"], {name: value.numpy() for name, value in {**batch, "where": where}.items()})
    with torch.no_grad():
        expected = perceivers.load(saved)(batch, where=where)
    assert torch.allclose(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4)


def test_json_and_parts(cli, saved: Path, tmp_path: Path) -> None:
    target = tmp_path / "decoder.pt2"
    result = cli("export", saved, target, "--part", "decode", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["format"], report["part"], report["file"]) == ("torch", "decode", str(target))
    assert report["bytes"] == target.stat().st_size
    assert report["inputs"]["latents"] == "(batch, 64, 128) float32"
    assert [check["sizes"]["batch"] for check in report["checks"]] == [1, 2]
    assert all(0 <= check["error"] <= 1e-4 for check in report["checks"])


def test_unchecked_and_whole_outputs(cli, saved: Path, tmp_path: Path) -> None:
    result = cli("export", saved, tmp_path / "all.pt2", "--no-check", "--all-outputs")
    assert result.exit_code == 0, result.output
    assert "checked   not" in result.stdout.splitlines()
    assert "outputs   outputs  (batch, length, 262) float32" in result.stdout.splitlines()


def test_errors_are_one_line(cli, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "taken.onnx").write_bytes(b"mine")
    for words, message in (
        (("taken.onnx",), "exists; overwrite it, or name another file"),
        (("model.bin",), "must end in .onnx or .pt2"),
        (("m.onnx", "--format", "torch"), "must end in .pt2"),
        (("m.onnx", "--fix", "batch"), "--fix 'batch' must have the form name=value"),
        (("m.onnx", "--fix", "batch=few"), "--fix 'batch=few' must give a whole number"),
        (("m.onnx", "--fix", "length=999"), "fixed.length (999) must be at least 1 and at most 128"),
    ):
        name, *options = words
        result = cli("export", saved, tmp_path / name, *options)
        assert result.exit_code == 2, result.output
        assert message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    # The place is looked at before the model.
    assert "exists; overwrite it" in cli("export", tmp_path / "absent", tmp_path / "taken.onnx").stderr
    assert (tmp_path / "taken.onnx").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["taken.onnx"]
