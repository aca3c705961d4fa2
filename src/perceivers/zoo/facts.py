"""What is known of the models that ship with the package: how they came about, and what they score."""

import json
from dataclasses import dataclass

from perceivers.config import from_json
from perceivers.zoo.spec import ZOO, bundled_folder, bundled_models

FACTS_FILE = "facts.json"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The record of a shipped model; its card says the same in words.

    Args:
        about: What it does, in a sentence or two.
        data: What it was trained on, in words.
        data_licence: Licence of that.
        split: What it is scored on, in words.
        scores: What it scores there.
        baselines: What others score there, by what they are.
        commands: What trains it again, from random weights.
        score_commands: What scores it again.
        seed: Seed of the (last) run.
        steps: Optimiser steps, of all runs.
        minutes: Wall-clock time of them.
        machine: Where.
        limits: What to know before use, a sentence or two each.
    """

    about: str
    data: str
    data_licence: str
    split: str
    scores: dict[str, float]
    baselines: dict[str, dict[str, float]]
    commands: tuple[str, ...]
    score_commands: tuple[str, ...]
    seed: int
    steps: int
    minutes: float
    machine: str
    limits: tuple[str, ...]


def read_facts(name: str) -> Facts:
    """Return the record of the model called `name`.

    Raises:
        ValueError: No weights of that name ship with the package.
    """
    if not ZOO[name].bundled:
        choices = [spec.name for spec in bundled_models()]
        raise ValueError(f"'{name}' does not ship with the package; choices = {choices}")
    path = bundled_folder(name) / FACTS_FILE
    return from_json(Facts, json.loads(path.read_text(encoding="utf-8")), f"{FACTS_FILE} of {name}")
