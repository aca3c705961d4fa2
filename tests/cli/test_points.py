"""Clouds of points through the command line: from meshes in folders to a model, a score and pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TINY = (
    "--set=overrides.encoder.num_latents=4",
    "--set=overrides.encoder.latent_channels=16",
    "--set=overrides.encoder.num_layers_per_block=1",
    "--set=overrides.queries.num_channels=16",
    "--set=settings.num_points=32",
)


@pytest.fixture(scope="module")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flat squares and upright ones, as ModelNet has its folders."""
    folder = tmp_path_factory.mktemp("meshes")
    noise = np.random.default_rng(0)
    for label, axes in (("flat", (0, 1)), ("upright", (0, 2))):
        for split, count in (("train", 16), ("test", 4)):
            (folder / label / split).mkdir(parents=True)
            for i in range(count):
                corners = np.zeros((4, 3))
                corners[:, list(axes)] = [[0, 0], [1, 0], [1, 1], [0, 1]]
                rows = "\n".join(" ".join(map(str, row)) for row in corners * noise.uniform(1, 9))
                (folder / label / split / f"{i}.off").write_text(f"OFF\n4 1 0\n{rows}\n4 0 1 2 3\n")
    return folder


def test_meshes_are_learned_scored_and_drawn(cli, meshes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = cli(
        "train", "point-cloud-classification", "--data", meshes, "--output", run, *TINY, "--max-steps", 40,
        "--batch-size", 8, "--learning-rate", 0.01, "--tracker", "none", "--set", "train.eval_every=40", "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = json.loads(cli("evaluate", run, "--data", meshes, "--json").stdout)
    assert report["metrics"]["accuracy"] == 1.0
    out = tmp_path / "out"
    result = cli("predict", run, meshes / "upright" / "test", "--json", "--output", out, "--attention", out)
    assert result.exit_code == 0, result.output
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["result"][0]["label"] for answer in answers] == ["upright"] * 4
    assert len(list(out.glob("*.json"))) == 4
    for path in out.glob("*.png"):
        with Image.open(path) as picture:
            assert picture.width > 400
