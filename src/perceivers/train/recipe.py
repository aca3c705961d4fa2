"""Recipes: a whole run as data. The files under `recipes/` are read from here."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from perceivers.config import from_json, override, to_json
from perceivers.data import DataConfig, Splits, load_data
from perceivers.data.several import public_name
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.pretrained.load import seeded_model
from perceivers.pretrained.source import open_source
from perceivers.tasks.base import TASKS, Task
from perceivers.train.card import About
from perceivers.train.config import TrainConfig
from perceivers.train.loop import Trainer
from perceivers.train.transfer import Start, transfer, with_head
from perceivers.zoo import MINI, ZOO, mini_of

RECIPE_FILE = "recipe.yaml"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole run.

    Args:
        task: Name of the task.
        model: Name in the zoo for fresh weights, or a trained model to go on from (anything that `load` takes, minis
            among them, and "mini" for the task's own), which gets a new head where it was trained for another task;
            `None` takes the task's default.
        overrides: Fields of the model's config to change, by dotted path.
        data: The data.
        settings: Fields of the task's settings.
        train: How the run goes.
    """

    task: str
    model: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    data: DataConfig
    settings: dict[str, Any] = field(default_factory=dict)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class Run:
    """A recipe made ready: everything but the training itself.

    Args:
        task: The task, fitted to the data.
        model: The model.
        splits: The data.
        config: How the run goes.
        about: What the model's card says of the data and the start.
        fresh: The weights of a trained model's successor that start anew.
    """

    task: Task[Any]
    model: PerceiverIO
    splits: Splits
    config: TrainConfig
    about: About
    fresh: tuple[str, ...] = ()

    def trainer(self, folder: str | Path, *, show_progress: bool = True) -> Trainer:
        """Return the trainer that writes to `folder`."""
        return Trainer(
            self.task,
            self.model,
            self.splits.train,
            self.splits.eval,
            self.config,
            folder,
            about=self.about,
            show_progress=show_progress,
        )


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with the package."""
    folder = resources.files("perceivers") / "recipes"
    return sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))


def load_recipe(source: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe.

    Args:
        source: Name of a shipped recipe, or the path of a YAML file.
        changes: Fields to change, by dotted path, e.g. `{"train.epochs": 3}`.

    Raises:
        ValueError: There is no such recipe, or a field is unknown or wrong.
    """
    if source in recipe_names():
        text = (resources.files("perceivers") / "recipes" / f"{source}.yaml").read_text(encoding="utf-8")
    elif Path(source).is_file():
        text = Path(source).read_text(encoding="utf-8")
    else:
        raise ValueError(f"recipe '{source}' is neither a file nor one of {recipe_names()}")
    recipe = from_json(Recipe, parse_yaml(text, f"recipe {source}") or {}, f"recipe {source}")
    return change_recipe(recipe, changes or {})


def change_recipe(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return `recipe` with fields changed by dotted path; `overrides.` and `settings.` accept any field.

    Raises:
        ValueError: A field is unknown or a value does not fit.
    """
    fixed: dict[str, Any] = {}
    free = {"overrides": dict(recipe.overrides), "settings": dict(recipe.settings)}
    for path, value in changes.items():
        head, _, rest = path.partition(".")
        if head not in free:
            fixed[path] = value
        elif rest:
            free[head][rest] = value
        elif isinstance(value, Mapping):
            free[head] = dict(value)
        else:
            raise ValueError(f"{head} = {value!r} must be an object")
    return replace(override(recipe, fixed), **free)


def parse_yaml(text: str, where: str) -> Any:
    """Read YAML by the rules of YAML 1.2: `no` is a text, `1e-3` a number.

    Args:
        text: The YAML.
        where: What it is, for the error message.

    Raises:
        ValueError: It is no YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is no YAML: {error}") from error


def recipe_text(recipe: Recipe) -> str:
    """Return the recipe as YAML, complete, for the record of a run."""
    return yaml.safe_dump(to_json(recipe), sort_keys=False, allow_unicode=True)


def prepare_run(recipe: Recipe, splits: Splits | None = None) -> Run:
    """Load and check the data, fit the task and make the model.

    Args:
        recipe: The run.
        splits: The data, when it is loaded already; `None` loads what the recipe names.

    Raises:
        ValueError: The task, model or data is unknown, or they do not fit together.
    """
    task_class = TASKS[recipe.task]
    source = recipe.model or task_class.default_model
    start, trained, settings = _start(source, task_class)
    config = override(start.config, recipe.overrides)
    splits = splits or _load_splits(recipe, config)
    task = task_class.fit(config, splits.labels, _merged(settings, _nested(recipe.settings)))
    model = seeded_model(task.config, recipe.train.seed)
    fresh = () if trained is None else transfer(trained, model, start.anew)
    about = About(
        data=public_name((recipe.data.evaluation or recipe.data).source),
        sizes=_sizes(recipe.data, splits),
        held_out=splits.held_out,
        start=_start_in_words(source, fresh),
    )
    return Run(task, model, splits, recipe.train, about, tuple(fresh))


def _name(source: str) -> str:
    return Path(source).name if Path(source).exists() else source


def _sizes(data: DataConfig, splits: Splits) -> str:
    if data.evaluation is None:
        return splits.description.removeprefix(f"{data.source}: ")
    trained = "a stream" if data.streaming else f"{len(splits.rows):,}"
    return f"{len(splits.eval):,} examples; trained on {trained} of {public_name(data.source)}"


def load_splits(recipe: Recipe) -> Splits:
    """Load and check the data of a run alone, for several runs to share.

    Raises:
        ValueError: The task, model or data is unknown.
    """
    task_class = TASKS[recipe.task]
    start, _, _ = _start(recipe.model or task_class.default_model, task_class)
    return _load_splits(recipe, start.config)


def _load_splits(recipe: Recipe, config: PerceiverConfig) -> Splits:
    task_class = TASKS[recipe.task]
    return load_data(recipe.data, task_class.roles_for(config), optional_roles=task_class.optional_roles)


def _is_form(source: str) -> bool:
    """Return whether a model is named that has no weights but random ones, or whose released weights are not meant."""
    return source in ZOO and not ZOO[source].bundled


def _start_in_words(source: str, fresh: Sequence[str]) -> str:
    if _is_form(source):
        return f"random weights of the form '{source}'"
    parts = ", ".join(dict.fromkeys(weight.partition(".")[0] for weight in fresh))
    return f"the weights of '{_name(source)}'" + (f", with new {parts}" if parts else "")


def _start(source: str, task_class: type[Task[Any]]) -> tuple[Start, PerceiverIO | None, Mapping[str, Any]]:
    """Return where a run starts, the weights that are taken over, and settings of the task.

    A name of the zoo gives fresh weights, unless it is a mini's; that and anything else that can be loaded gives
    trained ones. A model that was made for the same task is taken as it is, and one that was trained for it brings its
    settings along: how images are cut, for example. Others get what the task asks with.
    """
    if _is_form(source):
        spec = ZOO[source]
        made_for_it = spec.task == task_class.name
        usual = task_class.usual_model(spec.config)
        return Start(spec.config) if made_for_it else with_head(spec.config, usual), None, {}
    name = mini_of(task_class.name) if source == MINI else source
    try:
        loaded = open_source(name)
    except ValueError as error:
        raise ValueError(f"model '{source}' is not in the zoo ({list(ZOO)}), and no trained one: {error}") from error
    config = loaded.model.config
    if loaded.task is None or loaded.task["name"] != task_class.name:
        return with_head(config, task_class.usual_model(config)), loaded.model, {}
    kept = {name: value for name, value in loaded.task.items() if name not in ("name", "labels")}
    return Start(config), loaded.model, kept


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings of which the second win."""
    merged = dict(first)
    for name, value in second.items():
        old = merged.get(name)
        merged[name] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted settings into nested ones: `{"augment.mixup": 0.2}` -> `{"augment": {"mixup": 0.2}}`."""
    nested: dict[str, Any] = {}
    for path, value in settings.items():
        *parents, leaf = path.split(".")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ValueError(f"settings '{path}': '{parent}' is not a section")
        node[leaf] = deepcopy(value)
    return nested


class _Loader(yaml.SafeLoader):
    """PyYAML follows YAML 1.1, where `no` is false and `1e-3` a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)
