"""Sound through the command line: from files to a model, a score and pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

TINY = (
    "--set=overrides.inputs.num_samples=1280",
    "--set=overrides.encoder.num_latents=4",
    "--set=overrides.encoder.latent_channels=16",
    "--set=overrides.encoder.num_layers_per_block=1",
    "--set=overrides.queries.num_channels=16",
)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Low and high tones of any loudness in two files' formats and rates."""
    folder = tmp_path_factory.mktemp("tones")
    noise = np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 4)):
        for label, hertz in (("low", 300), ("high", 2000)):
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                rate, suffix = (8000, "wav") if i % 2 else (16000, "flac")
                time = np.arange(round(rate * noise.uniform(0.1, 0.2))) / rate
                wave = noise.uniform(0.2, 0.9) * np.sin(2 * np.pi * hertz * noise.uniform(0.9, 1.1) * time)
                soundfile.write(folder / split / label / f"{i}.{suffix}", wave, rate)
    return folder


def test_tones_are_learned_scored_and_drawn(cli, tones: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = cli(
        "train", "audio-classification", "--data", tones, "--output", run, *TINY, "--max-steps", 40,
        "--batch-size", 8, "--learning-rate", 0.01, "--tracker", "none", "--set", "train.eval_every=40", "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = json.loads(cli("evaluate", run, "--data", tones, "--json").stdout)
    assert report["metrics"]["accuracy"] == 1.0
    out = tmp_path / "out"
    files = [tones / "test" / "low" / "0.flac", tones / "test" / "high" / "1.wav"]
    result = cli("predict", run, *files, "--json", "--output", out, "--attention", out)
    assert result.exit_code == 0, result.output
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["result"][0]["label"] for answer in answers] == ["low", "high"]
    assert sorted(path.name for path in out.iterdir()) == [
        f"{name}{end}" for name in ("0", "1") for end in (".attention.png", ".json", ".png")
    ]
    for path in out.glob("*.png"):
        with Image.open(path) as picture:
            assert picture.width > 400


def test_a_file_that_cannot_be_read_is_named(cli, tones: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text(f"file,label\n{tones / 'test/low/0.flac'},a\nabsent.wav,b\n")
    result = cli("train", "audio-classification", "--data", tmp_path / "data", "--output", tmp_path / "run", *TINY)
    assert result.exit_code == 2
    assert "train.csv, line 3: sound file" in result.stderr
    assert "absent.wav' does not exist" in result.stderr
