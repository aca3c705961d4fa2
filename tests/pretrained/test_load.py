import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import perceivers
from golden_models import GOLDENS, TOLERANCE, Golden, assert_matches_golden, batch_of, config_of, outputs_of
from hf_families import FAMILIES
from perceivers.pretrained.folder import own_tensors
from perceivers.pretrained.hf import config_from_transformers, from_transformers
from perceivers.pretrained.load import build, load, save, seeded_model
from perceivers.zoo import ZOO
from train_examples import TINY, tiny_config


def test_build_with_a_seed_is_reproducible_and_leaves_the_generator_alone() -> None:
    state = torch.get_rng_state()
    first, second, other = (build("digits-small", overrides=TINY_DIGITS, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in own_tensors(first).items():
        assert torch.equal(own_tensors(second)[name], tensor), name
    assert not torch.equal(other.encoder.latents, first.encoder.latents)


TINY_DIGITS = {**TINY, "queries.num_channels": 16, "decoder.num_heads": 2}


def test_build_without_a_seed_draws_from_the_generator() -> None:
    torch.manual_seed(5)
    first = build("digits-small", overrides=TINY_DIGITS)
    second = build("digits-small", overrides=TINY_DIGITS)
    torch.manual_seed(5)
    again = build("digits-small", overrides=TINY_DIGITS)
    assert torch.equal(again.encoder.latents, first.encoder.latents)
    assert not torch.equal(second.encoder.latents, first.encoder.latents)


def test_build_changes_classes_and_fields() -> None:
    model = build("digits-small", num_classes=7, overrides={**TINY_DIGITS, "encoder.num_latents": 5})
    assert len(model.encoder.latents) == 5
    assert model(model.inputs.example_batch(2)).shape == (2, 7)


def test_build_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="model 'vgg' not found; choices = "):
        build("vgg")
    with pytest.raises(ValueError, match=r"'encoder.depth': no field 'depth'; choices = "):
        build("digits-small", overrides={"encoder.depth": 3})
    with pytest.raises(ValueError, match=r"'outputs.num_classes': no field 'num_classes'"):
        build("language-small", num_classes=3)


def test_saved_models_are_loaded(tmp_path: Path) -> None:
    model = seeded_model(tiny_config(), 0).eval()
    save(model, tmp_path)
    for folder in (tmp_path, str(tmp_path)):
        loaded = load(folder)
        assert not loaded.training
        batch = model.inputs.example_batch(2)
        assert torch.equal(loaded(batch), model(batch))


def test_load_says_what_it_wants(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no file, no folder, no repository .* choices = \[.*'language'"):
        load(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"'digits-small' has no released weights; .* perceivers.build"):
        load("digits-small")
    with pytest.raises(ValueError, match=r"is no saved model: it has no config.json"):
        perceivers.load(tmp_path)
    with pytest.raises(ValueError, match="config says what a checkpoint file holds"):
        load(tmp_path, config=tiny_config())


@pytest.mark.parametrize(
    "name", ["imagenet_fourier_small.flatmapping_p3.pickle", "imagenet_conv_small.numpy2_jaxarray.pickle"]
)
def test_checkpoints_of_the_original_are_loaded(name: str) -> None:
    golden = Golden(GOLDENS / f"{name.split('.')[0]}.npz")
    config = config_of(golden.recipe)
    model = load(GOLDENS / name, config=config)
    assert not model.training
    with torch.inference_mode():
        answers = outputs_of(model(batch_of(golden, torch.float32)))
    assert_matches_golden(golden, answers, tolerance=TOLERANCE[torch.float32])
    with pytest.raises(ValueError, match="fits no released model; say what it holds with config"):
        load(GOLDENS / name)


def test_a_checkpoint_finds_its_model_in_the_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "imagenet_fourier_small"
    config = config_of(Golden(GOLDENS / f"{name}.npz").recipe)
    spec = replace(ZOO["image-fourier"], config=config)
    monkeypatch.setattr(ZOO, "_items", {**ZOO._items, "image-fourier": spec})
    assert load(GOLDENS / f"{name}.flatmapping_p3.pickle").config == config


@pytest.mark.parametrize("form", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("kind", FAMILIES)
@torch.inference_mode()
def test_folders_of_transformers_are_loaded(tmp_path: Path, kind: str, form: str) -> None:
    family = FAMILIES[kind]()
    hf_model = family.model()
    hf_model.save_pretrained(tmp_path)
    if form == "pytorch_model.bin":
        (tmp_path / "model.safetensors").unlink()
        torch.save(hf_model.state_dict(), tmp_path / form)
    model = load(tmp_path)
    assert not model.training
    for name, answer in family.ask(model).items():
        torch.testing.assert_close(answer, family.ask(from_transformers(hf_model))[name], rtol=0, atol=0)
    original = load(tmp_path, numerics="original")
    assert original.config == config_from_transformers(hf_model, numerics="original") != model.config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "holds a model of type 'bert', not 'perceiver'"),
        ({"architectures": None}, "architectures = None must name the one class of the model"),
        ({"architectures": ["PerceiverModel"]}, "PerceiverModel is no model that can be read; known = "),
        ({"num_latents": "many"}, r"wrong type or size in .*num_latents = 'many'"),
        ({"num_latents": 9}, r"does not fit the model: encoder.latents: .*, the model has \(9, "),
        ({"num_self_attends_per_block": 3}, r"\d+ missing .*self_attends.2"),
    ],
)
def test_folders_of_transformers_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    FAMILIES["text"]().model().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_hostile_weights_are_refused(tmp_path: Path) -> None:
    FAMILIES["text"]().model().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"has none of \['model.safetensors', 'pytorch_model.bin'\]"):
        load(tmp_path)
    marker = tmp_path / "marker"
    torch.save({"x": Hostile(marker)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model.bin cannot be read"):
        load(tmp_path)
    assert not marker.exists()
    (tmp_path / "pytorch_model.bin").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"pytorch_model.bin cannot be read"):
        load(tmp_path)


class Hostile:
    """Makes a file when it is unpickled by an unpickler that runs what it is told."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def test_repositories_are_loaded_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hf_model = FAMILIES["text"]().model()
    hf_model.save_pretrained(tmp_path)
    asked: list[tuple[str, str | None, str | None]] = []

    def fetch(repo_id: str, *, revision: str | None, token: str | None) -> Path:
        asked.append((repo_id, revision, token))
        return tmp_path

    monkeypatch.setattr("perceivers.pretrained.source.fetch", fetch)
    official = load("language", revision="v1", token="secret")
    assert official.config == load("deepmind/language-perceiver").config
    assert official.config == config_from_transformers(hf_model, numerics="original")
    other = load("someone/language-perceiver")
    assert other.config == config_from_transformers(hf_model)
    assert load("someone/language-perceiver", numerics="original").config == official.config
    names = [name for name, _, _ in asked]
    assert names == ["deepmind/language-perceiver"] * 2 + ["someone/language-perceiver"] * 2
    assert asked[0][1:] == ("v1", "secret")
