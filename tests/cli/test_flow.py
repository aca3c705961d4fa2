"""Optical flow through the command line: trained on made-up scenes, scored on pairs of a folder."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perceivers.processing.flow import write_flow

TINY = (
    "--set=overrides.inputs.image_size=[12, 16]",
    "--set=overrides.inputs.positioned.positions.max_resolution=[12, 16]",
    "--set=overrides.inputs.positioned.positions.num_bands=2",
    "--set=overrides.encoder.num_latents=4",
    "--set=overrides.encoder.num_layers_per_block=1",
    "--set=settings.min_overlap=4",
    "--set=settings.augment.flip=true",
)
SCENES = ("--data", "flow-scenes", "--data-option", "size=[12, 16]", "--data-option", "num_test=3")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs as FlyingChairs has them."""
    folder, noise = tmp_path_factory.mktemp("flow") / "pairs", np.random.default_rng(0)
    folder.mkdir()
    for i in range(2):
        image = noise.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        for part, shift in (("img1", 0), ("img2", 1)):
            Image.fromarray(np.roll(image, shift, axis=1)).save(folder / f"{i}_{part}.png")
        write_flow(folder / f"{i}_flow.flo", np.broadcast_to(np.array([1, 0], np.float32), (20, 24, 2)))
    return folder


def test_training_on_scenes_and_scoring_on_pairs(cli, pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = cli(
        "train", "optical-flow", *SCENES, "--limit", 16, "--eval-data", pairs, "--output", run, *TINY,
        "--max-steps", 4, "--batch-size", 4, "--tracker", "none", "--set", "train.eval_every=4",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"flow-scenes: 16 training examples; {pairs}: 2 evaluation examples" in " ".join(result.output.split())
    card = (run / "README.md").read_text(encoding="utf-8")
    assert "On the evaluation split of pairs (2 examples; trained on 16 of flow-scenes):" in card
    scores = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    report = json.loads(cli("evaluate", run, "--data", pairs, "--all", "--json").stdout)
    assert report["metrics"] == pytest.approx({name: scores[name] for name in report["metrics"]}, rel=1e-5)
    report = json.loads(cli("evaluate", run, *SCENES, "--json").stdout)
    assert (report["examples"], report["data"][:11]) == (3, "flow-scenes")
    # The recorded recipe holds all of it.
    result = cli("train", "--output", run, "--resume", "--quiet")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data-option", "width=3"), "options of flow-scenes has unknown fields ['width']"),
        (("--data-option", "size"), "--data-option 'size' must have the form name=value"),
        (("--eval-data", "flow-scenes", "--eval-split", "dev"), "flow-scenes has no split 'dev'"),
    ],
)
def test_wrong_options_are_refused(cli, words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    result = cli("train", "optical-flow", *SCENES, *words, "--output", tmp_path / "run")
    assert result.exit_code != 0
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "run").exists()
