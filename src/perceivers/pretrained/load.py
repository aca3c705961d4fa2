"""From a name to a model: fresh weights from the zoo, or trained ones from a folder, a file or the Hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from perceivers.config import override
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.pretrained.folder import save_folder
from perceivers.pretrained.hf_configs import Numerics
from perceivers.pretrained.source import open_source
from perceivers.zoo import find_spec


def build(
    name: str,
    *,
    num_classes: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> PerceiverIO:
    """Return a model of the zoo with fresh weights.

    Args:
        name: Name in the zoo (`perceivers.models()` lists them), or the repository of a released model.
        num_classes: Number of label outputs, for models that have them.
        overrides: Config fields to change, by dotted path, e.g. `{"encoder.num_latents": 64}`.
        seed: Seed of the weights; `None` leaves torch's generator as it is.

    Raises:
        ValueError: The name or a path is unknown, or a value does not fit.
    """
    changes = dict(overrides or {})
    if num_classes is not None:
        changes["outputs.num_classes"] = num_classes
    config = override(find_spec(name).config, changes)
    if seed is None:
        return PerceiverIO(config)
    return seeded_model(config, seed)


def seeded_model(config: PerceiverConfig, seed: int) -> PerceiverIO:
    """Return a model with fresh weights that depend on `seed` alone; the global generators stay as they are."""
    with torch.random.fork_rng(devices=[]):
        # `torch.manual_seed` would also seed accelerators, whose generators are not restored here.
        torch.default_generator.manual_seed(seed)
        return PerceiverIO(config)


def load(
    source: str | Path,
    *,
    numerics: Numerics | None = None,
    config: PerceiverConfig | None = None,
    num_labels: int | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> PerceiverIO:
    """Return a trained model in evaluation mode: the model of `open_source`, whose arguments these are."""
    return open_source(
        source, numerics=numerics, config=config, num_labels=num_labels, revision=revision, token=token
    ).model


def save(model: PerceiverIO, folder: str | Path) -> None:
    """Write `model` to `folder` as `config.json` and `model.safetensors`."""
    save_folder(model, folder)
