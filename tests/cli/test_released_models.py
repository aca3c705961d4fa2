"""From the name of a released model to an answer, through a cache laid out as the Hub's.

The weights in it are those of small models with the official classes, written by `transformers` itself.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants as hub_constants
import numpy as np
import pytest
import torch
from PIL import Image

import perceivers
from hf_families import ENCODER
from perceivers.processing.video_writing import write_video
from released_cache import COMMIT, RELEASED, fill_cache, hf_model

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def filled_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    fill_cache(cache)
    return cache


@pytest.fixture
def cache(filled_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hub_constants, "HF_HUB_CACHE", str(filled_cache))
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
    return filled_cache


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0)
    Image.fromarray(noise.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0)
    write_video(tmp_path / "clip.mp4", noise.integers(0, 256, (4, 32, 48, 3), dtype=np.uint8), 25.0)
    return tmp_path / "clip.mp4"


@pytest.mark.parametrize("repo_id", RELEASED)
def test_released_weights_compute_as_the_original_did(cache: Path, repo_id: str) -> None:
    """Whether by the zoo's name or the repository's; and as `transformers` does when that is asked for."""
    spec = next(spec for spec in perceivers.models() if spec.hub_id == repo_id)
    loaded = [perceivers.open_source(name) for name in (spec.name, repo_id)]
    assert [entry.origin for entry in loaded] == [f"{repo_id} (Hub)"] * 2
    assert [entry.numerics for entry in loaded] == ["original"] * 2
    assert loaded[0].model.config == loaded[1].model.config
    assert loaded[0].model.config.encoder.activation == "gelu_tanh"
    port = perceivers.load(repo_id, numerics="transformers")
    assert port.config == perceivers.from_transformers(hf_model(repo_id)).config
    assert port.config.encoder.activation == "gelu_erf"
    by_commit = perceivers.load(repo_id, revision=COMMIT)
    for ours, theirs in zip(by_commit.parameters(), loaded[0].model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_texts_are_filled(cache: Path) -> None:
    fill = perceivers.pipeline("fill-mask")
    candidates = fill("This is an [MASK:3] sentence.", top_k=3)
    assert [len(entry["token"]) for entry in candidates] == [3, 3, 3]
    port = perceivers.pipeline("fill-mask", numerics="transformers")
    assert (fill.task.settings.special_tokens, port.task.settings.special_tokens) == (False, True)
    # As the port's own tokenizer and model answer.
    tokenizer = transformers.PerceiverTokenizer()
    ids = tokenizer("a_c", padding="max_length", max_length=64, return_tensors="pt")
    ids["input_ids"][0, 2] = tokenizer.mask_token_id
    model = hf_model("deepmind/language-perceiver")
    with torch.no_grad():
        logits = model(inputs=ids["input_ids"], attention_mask=ids["attention_mask"]).logits[0, 2]
    ascii_scores = logits.double().softmax(dim=-1)[6 : 6 + 128]
    best = port("a[MASK]c", top_k=1)[0]
    assert best["token"] == [int(ascii_scores.argmax()) + 6]
    assert best["score"] == pytest.approx(float(ascii_scores.max()), rel=1e-3)


@pytest.mark.parametrize("kind", ["fourier", "learned", "conv"])
def test_photos_are_classified(cache: Path, photo: Path, kind: str) -> None:
    pipe = perceivers.pipeline("image-classification", f"image-{kind}")
    answer = pipe(photo, top_k=4)
    assert len(answer) == 4
    assert {entry["label"] for entry in answer} < set(pipe.task.labels)
    assert "tench, Tinca tinca" in pipe.task.labels
    assert (pipe.task.settings.fit, pipe.task.settings.interpolation) == ("center", "opencv")


def test_photos_are_classified_as_by_transformers(cache: Path, photo: Path) -> None:
    ours = perceivers.pipeline("image-classification", numerics="transformers")(photo, top_k=3)
    processor = transformers.PerceiverImageProcessor()
    with Image.open(photo) as image, torch.no_grad():
        pixels = processor(image.convert("RGB"), return_tensors="pt").pixel_values
        logits = hf_model("deepmind/vision-perceiver-fourier")(inputs=pixels).logits[0]
    best = logits.double().softmax(dim=-1).topk(3)
    names = perceivers.pipeline("image-classification").task.labels
    assert [entry["label"] for entry in ours] == [names[i] for i in best.indices.tolist()]
    assert [entry["score"] for entry in ours] == pytest.approx(best.values.tolist(), rel=1e-3)


def test_the_command_line_says_what_it_used(cli: Any, cache: Path, photo: Path, clip: Path, tmp_path: Path) -> None:
    flow = cli("predict", "optical-flow", photo, photo, "--output", tmp_path / "flow", "--json")
    assert flow.exit_code == 0, flow.output
    assert "deepmind/optical-flow-perceiver (Hub)" in flow.stderr
    assert (tmp_path / "flow" / "photo-photo.flo").is_file()
    video = cli("predict", "video-autoencoding", clip, "--json", "--top-k", 1, "--output", tmp_path / "clip")
    assert video.exit_code == 0, video.output
    (answer,) = (json.loads(line) for line in video.stdout.splitlines())
    assert answer["result"][0]["labels"][0]["label"] in perceivers.pipeline("video-autoencoding").task.labels
    features = cli("predict", "features", photo, "--model", "image-conv", "--output", tmp_path / "f.npy")
    assert features.exit_code == 0, features.output
    assert np.load(tmp_path / "f.npy").shape == (1, 1, ENCODER["num_latents"], ENCODER["d_latents"])


def test_converted_weights_answer_alike(cli: Any, cache: Path, photo: Path, tmp_path: Path) -> None:
    assert cli("convert", "image-learned", tmp_path / "ours", "--to", "perceivers").exit_code == 0
    ours = perceivers.pipeline(model=tmp_path / "ours")
    released = perceivers.pipeline("image-classification", "image-learned")
    assert ours(photo) == released(photo)
    refused = cli("convert", "image-learned", tmp_path / "theirs", "--to", "hf")
    assert refused.exit_code == 2
    assert "decoder.query_residual is False, transformers has True" in refused.stderr
    assert cli("convert", "image-learned", tmp_path / "theirs", "--to", "hf", "--inexact").exit_code == 0
    back = perceivers.pipeline(model=tmp_path / "theirs", numerics="original")
    assert back(photo) == released(photo)


def test_without_weights_there_is_one_line_and_no_answer(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub_constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
    result = cli("predict", "fill-mask", "a[MASK]")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: 'deepmind/language-perceiver' is not in the cache and the Hub cannot")
    assert result.stderr.count("\n") == 1


def test_a_new_head_is_trained_on_released_weights(cli: Any, cache: Path, photo: Path, tmp_path: Path) -> None:
    for label in ("one", "two"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(4):
            shutil.copy(photo, tmp_path / "data" / label / f"{i}.png")
    words = ("--data", tmp_path / "data", "--max-steps", 1, "--batch-size", 2, "--tracker", "none", "--quiet")
    result = cli(
        "train",
        "image-classification",
        "--model",
        "deepmind/vision-perceiver-conv",
        *words,
        "--output",
        tmp_path / "run",
    )
    assert result.exit_code == 0, result.output
    trained = perceivers.pipeline(model=tmp_path / "run")
    assert trained.task.labels == ("one", "two")
    # What the released weights want comes along.
    assert (trained.task.settings.fit, trained.task.settings.interpolation) == ("center", "opencv")
    assert trained.model.config.encoder.activation == "gelu_tanh"
