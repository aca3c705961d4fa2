"""What the zoo knows of a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from perceivers.model import PerceiverConfig
from perceivers.registry import Registry
from perceivers.zoo.citations import PERCEIVER_IO, PERCEIVER_IO_BIBTEX


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One entry of the zoo.

    Args:
        name: What users type.
        task: The task it is made for, or `None` for a part of an agent, which no task trains.
        summary: One line.
        config: The model.
        licence: Licence of the released or shipped weights, or `None` when there are none.
        hub_id: Repository of the Hugging Face Hub with the released weights, or `None`.
        bundled: Whether trained weights ship with the package, in `bundled_folder`.
        labels: Name of the list of what its outputs mean, for `label_names`, or `None`.
        settings: Settings of its task that the released weights want.
        citation: Where the model is described, as a line of text.
        bibtex: The same as an entry of a BibTeX file.
    """

    name: str
    task: str | None
    summary: str
    config: PerceiverConfig
    licence: str | None = None
    hub_id: str | None = None
    bundled: bool = False
    labels: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    citation: str = PERCEIVER_IO
    bibtex: str = PERCEIVER_IO_BIBTEX


# Stands for the model that ships with the package for a task.
MINI = "mini"

ZOO: Registry[Spec] = Registry("model")


def models() -> list[Spec]:
    """Return all entries of the zoo, by name."""
    return [ZOO[name] for name in ZOO]


def find_spec(name: str) -> Spec:
    """Return the entry called `name`, or the one whose released weights lie in the repository `name` of the Hub.

    Raises:
        ValueError: There is none.
    """
    return {spec.hub_id: spec for spec in models()}.get(name) or ZOO[name]


def bundled_models() -> list[Spec]:
    """Return the entries whose trained weights ship with the package, by name."""
    return [spec for spec in models() if spec.bundled]


def mini_of(task: str) -> str:
    """Return the name of the model that ships with the package for a task.

    Raises:
        ValueError: There is none.
    """
    minis = {spec.task: spec.name for spec in bundled_models()}
    if task not in minis:
        raise ValueError(f"no model for '{task}' ships with the package; choices = {list(minis.values())}")
    return minis[task]


def bundled_folder(name: str) -> Path:
    """Return the folder in the package with config, weights, facts and card of the mini called `name`."""
    return Path(__file__).parent / "weights" / name


def add_mini(name: str, form: str, summary: str, *, licence: str) -> None:
    """Enter a model whose trained weights ship with the package, and whose config is that of another entry.

    Args:
        name: Its name.
        form: The other entry, for the same task.
        summary: One line.
        licence: Licence of the weights.
    """
    ZOO.add(name, replace(ZOO[form], name=name, summary=summary, licence=licence, bundled=True))


@cache
def label_names(name: str) -> tuple[str, ...]:
    """Return a shipped list of label names, in the order of the outputs.

    Args:
        name: "imagenet1k" (the 1000 classes of ILSVRC 2012) or "kinetics700" (the 700 of Kinetics-700-2020).

    Raises:
        ValueError: There is no such list.
    """
    folder = files("perceivers.zoo") / "labels"
    known = sorted(entry.name.removesuffix(".txt") for entry in folder.iterdir() if entry.name.endswith(".txt"))
    if name not in known:
        raise ValueError(f"label list '{name}' not found; choices = {known}")
    return tuple((folder / f"{name}.txt").read_text(encoding="utf-8").splitlines())
