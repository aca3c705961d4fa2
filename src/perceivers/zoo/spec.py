"""What the zoo knows of a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
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
        licence: Licence of the released weights, or `None` when there are none.
        hub_id: Repository of the Hugging Face Hub with the released weights, or `None`.
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
    labels: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    citation: str = PERCEIVER_IO
    bibtex: str = PERCEIVER_IO_BIBTEX


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
