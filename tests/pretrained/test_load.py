from pathlib import Path

import pytest
import torch

import perceivers
from perceivers.pretrained.folder import own_tensors
from perceivers.pretrained.load import build, load, save, seeded_model
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
    with pytest.raises(ValueError, match=r"is no folder with a saved model$"):
        load(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"'language' is no folder .*fresh weights come from perceivers.build"):
        load("language")
    with pytest.raises(ValueError, match=r"is no saved model: it has no config.json"):
        perceivers.load(tmp_path)
