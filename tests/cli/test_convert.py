"""`perceivers convert`: between the layouts, with the task."""

import json
from pathlib import Path

import pytest
import torch

from golden_models import GOLDENS
from hf_families import FAMILIES
from perceivers.pretrained.folder import own_tensors
from perceivers.pretrained.source import open_source

ORIGINAL = ("--to", "perceivers", "--numerics", "original")


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    FAMILIES["flow"]().model().save_pretrained(tmp_path / "flow")
    return tmp_path / "flow"


@pytest.fixture
def pixels(tmp_path: Path) -> Path:
    FAMILIES["image-pixels"]().model().save_pretrained(tmp_path / "pixels")
    return tmp_path / "pixels"


def test_weights_and_task_travel(cli, pixels: Path, tmp_path: Path) -> None:
    there = cli("convert", pixels, tmp_path / "ours", "--to", "perceivers")
    assert there.exit_code == 0, there.output
    before, after = open_source(pixels), open_source(tmp_path / "ours")
    count = sum(parameter.numel() for parameter in before.model.parameters())
    assert there.stdout.splitlines() == [
        f"read      {pixels} (folder)",
        "numerics  transformers",
        "task      image-classification",
        f"weights   {count:,} parameters, float32",
        f"wrote     {tmp_path / 'ours'} (perceivers)",
    ]
    assert (after.task, after.model.config) == (before.task, before.model.config)
    assert all(torch.equal(own_tensors(after.model)[name], t) for name, t in own_tensors(before.model).items())
    back = cli("convert", tmp_path / "ours", tmp_path / "back", "--to", "hf")
    assert back.exit_code == 0, back.output
    assert "numerics  as saved" in back.stdout
    again = open_source(tmp_path / "back")
    assert (again.task, again.model.config) == (before.task, before.model.config)
    assert all(torch.equal(own_tensors(again.model)[name], t) for name, t in own_tensors(before.model).items())


def test_what_transformers_computes_otherwise_is_said(cli, flow: Path, tmp_path: Path) -> None:
    assert cli("convert", flow, tmp_path / "ours", *ORIGINAL).exit_code == 0
    refused = cli("convert", tmp_path / "ours", tmp_path / "hf", "--to", "hf")
    assert refused.exit_code == 2
    assert "outputs.scale is 0.2, transformers has 0.01 (--inexact lets pass what can pass)" in refused.stderr
    assert not (tmp_path / "hf").exists()
    passed = cli("convert", tmp_path / "ours", tmp_path / "hf", "--to", "hf", "--inexact", "--json")
    assert passed.exit_code == 0, passed.output
    report = json.loads(passed.stdout)
    assert report["differences"] == ["outputs.scale is 0.2, transformers has 0.01"]
    assert (report["layout"], report["dtype"], report["task"]) == ("hf", "float32", "optical-flow")


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("image-pixels", "interpolation is 'opencv', transformers' image processor resizes as 'pillow' does"),
        (
            "text-classes",
            "special_tokens is False, transformers' tokenizer puts [CLS] before and [SEP] after text",
        ),
    ],
)
def test_what_their_processors_do_otherwise_is_said(cli, tmp_path: Path, kind: str, line: str) -> None:
    FAMILIES[kind]().model().save_pretrained(tmp_path / "a")
    assert cli("convert", tmp_path / "a", tmp_path / "ours", *ORIGINAL).exit_code == 0
    result = cli("convert", tmp_path / "ours", tmp_path / "hf", "--to", "hf", "--inexact")
    assert result.exit_code == 0, result.output
    assert f"differs   {line}" in result.stdout.splitlines()


def test_nothing_is_overwritten_unasked(cli, flow: Path, tmp_path: Path) -> None:
    target = tmp_path / "ours"
    assert cli("convert", flow, target, "--to", "perceivers").exit_code == 0
    before = (target / "config.json").read_bytes()
    again = cli("convert", flow, target, *ORIGINAL)
    assert again.exit_code == 2
    assert "is not empty (config.json)" in again.stderr
    assert (target / "config.json").read_bytes() == before
    assert cli("convert", flow, target, *ORIGINAL, "--overwrite").exit_code == 0
    assert (target / "config.json").read_bytes() != before
    # A place that is taken is found before anything is read.
    assert "is not empty" in cli("convert", tmp_path / "absent", target, "--to", "hf").stderr


def test_new_heads(cli, pixels: Path, tmp_path: Path) -> None:
    result = cli("convert", pixels, tmp_path / "ours", "--to", "perceivers", "--num-labels", 4)
    assert result.exit_code == 0, result.output
    opened = open_source(tmp_path / "ours")
    assert opened.task is not None
    assert opened.task["labels"] == [f"LABEL_{i}" for i in range(4)]
    assert own_tensors(opened.model)["outputs.linear.bias"].shape == (4,)


def test_errors_are_one_line(cli, tmp_path: Path) -> None:
    file = GOLDENS / "imagenet_conv_small.numpy2_jaxarray.pickle"
    for words, message in (
        ((tmp_path / "absent",), "is no file, no folder, no repository"),
        ((file,), "fits no released model"),
        ((file, "--revision", "v1"), "revision names a commit of a repository"),
    ):
        source, *options = words
        result = cli("convert", source, tmp_path / "out", "--to", "perceivers", *options)
        assert result.exit_code == 2
        assert message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
