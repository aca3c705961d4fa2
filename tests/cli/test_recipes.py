"""The recipes that ship with the package, and how recipes are read and changed."""

from importlib import resources

import pytest

from perceivers.config import override
from perceivers.data.several import part_sources
from perceivers.tasks import TASKS
from perceivers.train.recipe import change_recipe, load_recipe, parse_yaml, recipe_names, recipe_text
from perceivers.zoo import ZOO


def test_the_shipped_recipes() -> None:
    assert recipe_names() == [
        *("banking77", "bccd", "books", "books-512", "clips", "digits", "eurosat", "eurosat-masked", "flow-scenes"),
        *("fsdd", "glue", "image-mini", "imdb", "shapes", "sms-spam", "squad", "sst2", "text-mini", "two-texts"),
        *("video-mini", "wnut17"),
    ]


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_fits_together_and_says_how_to_run_it(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.model is not None
    spec = ZOO[recipe.model]
    assert spec.task == recipe.task
    config = override(spec.config, recipe.overrides)
    labels = ("O", "B-a") if {"label", "tags", "objects"} & set(TASKS[recipe.task].roles) else None
    if "task" in TASKS[recipe.task].roles:
        tasks = part_sources(recipe.data.source)
        labels = [f"{task}/{label}" for task in tasks for label in (("score",) if task == "stsb" else "ab")]
    TASKS[recipe.task].fit(config, labels, recipe.settings)
    text = (resources.files("perceivers") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    comment = [line for line in text.splitlines() if line.startswith("#")]
    assert text.startswith("# ")
    assert any(f"perceivers train --recipe {name} " in line and f"--output runs/{name}" in line for line in comment)


def test_a_recorded_recipe_is_read_back_the_same(tmp_path) -> None:
    recipe = change_recipe(load_recipe("eurosat"), {"train.mixed_precision": "no", "train.optimizer.eps": 1e-9})
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_text(recipe), encoding="utf-8")
    assert load_recipe(str(path)) == recipe


def test_changes_reach_nested_fields_and_leave_the_recipe_alone() -> None:
    recipe = load_recipe("eurosat")
    before = recipe_text(recipe)
    changed = change_recipe(recipe, {"overrides.encoder.num_latents": 8, "settings.fit": "pad", "train.seed": 3})
    assert changed.overrides["encoder.num_latents"] == 8
    assert changed.settings["fit"] == "pad"
    assert changed.train.seed == 3
    assert recipe_text(recipe) == before


@pytest.mark.parametrize(
    ("text", "value"),
    [("no", "no"), ("1e-3", 0.001), ("2.5E+2", 250.0), ("true", True), ("64", 64), ("[1, 2]", [1, 2]), ("null", None)],
)
def test_yaml_means_what_it_says(text: str, value: object) -> None:
    assert parse_yaml(text, "test") == value


def test_broken_yaml_is_refused() -> None:
    with pytest.raises(ValueError, match="recipe x is no YAML"):
        parse_yaml("a: [1", "recipe x")
