"""Object detection on the command line, from data to pictures."""

import json
from pathlib import Path

from PIL import Image

from box_examples import write_rectangles

SMALL = (
    "--set=overrides.inputs.image_size=[32,48]",
    "--set=overrides.inputs.num_channels=8",
    "--set=overrides.encoder.num_latents=4",
    "--set=overrides.encoder.num_layers_per_block=1",
)


def test_train_evaluate_and_predict(cli, tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    write_rectangles(data, "train", 8)
    write_rectangles(data, "test", 3, seed=1)
    result = cli(
        "train", "object-detection", "--data", data, "--output", run, *SMALL, "--max-steps", 2, "--batch-size", 4,
        "--set=settings.augment.flip=true", "--set=settings.threshold=0.0", "--tracker", "none", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)["metrics"]
    assert sorted(metrics) == ["ap_blue", "ap_red", "map", "map50", "map75"]
    result = cli("evaluate", run, "--data", data, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["metrics"] == metrics
    image = data / "images" / "test-0.png"
    result = cli("predict", run, image, "--json", "--picture", tmp_path / "shown", "--attention", tmp_path / "seen")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["result"]
    # All answers, not the five candidates of a classifier: 2 x 3 queries.
    assert len(found) == 6
    assert set(found[0]) == {"score", "label", "box"}
    assert set(found[0]["box"]) == {"xmin", "ymin", "xmax", "ymax"}
    with Image.open(tmp_path / "shown" / "test-0.png") as shown:
        assert shown.width == 640
    with Image.open(tmp_path / "seen" / "test-0.attention.png") as seen:
        assert seen.mode == "RGB"
    result = cli("predict", run, image)
    first = found[0]
    sides = " ".join(f"{side} {value}" for side, value in first["box"].items())
    assert f"%  {first['label']}  {sides}" in result.stdout
