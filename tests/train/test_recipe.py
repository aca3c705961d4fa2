from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from perceivers.data import DataConfig
from perceivers.pretrained.folder import own_tensors, save_folder
from perceivers.pretrained.load import seeded_model
from perceivers.train import Recipe, TrainConfig, load_recipe, prepare_run, recipe_names
from perceivers.train.recipe import parse_yaml, recipe_text
from perceivers.train.transfer import transfer
from train_examples import TINY, tiny_config

SMALL = {**TINY, "queries.num_channels": 16, "decoder.num_heads": 2}
TRAIN = TrainConfig(max_steps=2, batch_size=8, tracker=None)


def digits(**changes: Any) -> Recipe:
    data = DataConfig(source="digits", limit=30)
    fields = {"model": "digits-small", "overrides": SMALL, "data": data, "train": TRAIN, **changes}
    return Recipe(task="image-classification", **fields)


def test_a_recipe_is_run(tmp_path: Path) -> None:
    recipe = digits(settings={"label_smoothing": 0.1, "augment.mixup": 0.2})
    state = torch.get_rng_state()
    run = prepare_run(recipe)
    assert torch.equal(torch.get_rng_state(), state)
    assert run.task.settings.augment.mixup == 0.2
    assert run.task.labels == tuple("0123456789")
    assert len(run.model.encoder.latents) == 4
    again = prepare_run(replace(recipe, data=DataConfig(source="elsewhere")), run.splits)
    assert again.splits is run.splits
    assert torch.equal(again.model.encoder.latents, run.model.encoder.latents)
    result = run.trainer(tmp_path, show_progress=False).run()
    assert result.steps == 2


def test_recipes_survive_yaml(tmp_path: Path) -> None:
    recipe = digits(settings={"augment.mixup": 0.2})
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_text(recipe))
    assert load_recipe(str(path)) == recipe
    changed = load_recipe(
        str(path), {"train.batch_size": 16, "overrides.encoder.dropout": 0.1, "settings.label_smoothing": 0.2}
    )
    assert changed.train.batch_size == 16
    assert changed.overrides == {**SMALL, "encoder.dropout": 0.1}
    assert changed.settings == {"augment.mixup": 0.2, "label_smoothing": 0.2}


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_are_whole(name: str) -> None:
    recipe = load_recipe(name)
    assert yaml.safe_load(recipe_text(recipe))["task"] == recipe.task


def test_numbers_without_a_point_are_numbers() -> None:
    assert parse_yaml("{a: 1e-3, b: 3, c: no}", "text")["a"] == 1e-3
    with pytest.raises(ValueError, match="text is no YAML"):
        parse_yaml("{a: [", "text")


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="recipe 'absent' is neither a file nor one of"):
        load_recipe("absent")
    with pytest.raises(ValueError, match=r"'vgg' is not in the zoo \(.*'digits-small'.*\), and no trained one"):
        prepare_run(digits(model="vgg"))
    with pytest.raises(ValueError, match=r"unknown fields \['colour'\]"):
        prepare_run(digits(settings={"colour": 1}))


def test_a_trained_model_is_taken_over_but_for_its_outputs(tmp_path: Path) -> None:
    trained = seeded_model(tiny_config({"outputs.num_classes": 4}), 5)
    save_folder(trained, tmp_path)
    run = prepare_run(digits(model=str(tmp_path), overrides={}))
    ours, theirs = own_tensors(run.model), own_tensors(trained)
    different = [name for name, tensor in ours.items() if not torch.equal(tensor, theirs[name])]
    assert different == ["outputs.linear.weight", "outputs.linear.bias"]
    assert ours["outputs.linear.weight"].shape == (10, 16)


def test_a_model_of_another_size_is_not_taken_over() -> None:
    trained, other = seeded_model(tiny_config(), 0), seeded_model(tiny_config({"encoder.num_latents": 9}), 1)
    with pytest.raises(ValueError, match=r"does not fit the new one at \['encoder.latents'\]"):
        transfer(trained, other)
