"""From a name to a model: fresh weights from the zoo, or trained ones from a folder, a file or the Hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from perceivers.config import override
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.pretrained.folder import load_folder, save_folder
from perceivers.pretrained.haiku import haiku_shapes, load_haiku
from perceivers.pretrained.hf_configs import Numerics
from perceivers.pretrained.hf_folder import is_hf_folder, load_hf_folder
from perceivers.pretrained.hub import fetch, is_repo_id
from perceivers.pretrained.pickles import read_pickle
from perceivers.zoo import ZOO, models


def build(
    name: str,
    *,
    num_classes: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> PerceiverIO:
    """Return a model of the zoo with fresh weights.

    Args:
        name: Name in the zoo; `perceivers.models()` lists them.
        num_classes: Number of label outputs, for models that have them.
        overrides: Config fields to change, by dotted path, e.g. `{"encoder.num_latents": 64}`.
        seed: Seed of the weights; `None` leaves torch's generator as it is.

    Raises:
        ValueError: The name or a path is unknown, or a value does not fit.
    """
    changes = dict(overrides or {})
    if num_classes is not None:
        changes["outputs.num_classes"] = num_classes
    config = override(ZOO[name].config, changes)
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
    revision: str | None = None,
    token: str | None = None,
) -> PerceiverIO:
    """Return a trained model in evaluation mode.

    Args:
        source: A folder that `save` or `perceivers train` wrote, a folder in the layout of Hugging Face
            `transformers`, a checkpoint file of the original (`*.pickle`, `*.pystate`), a name of the zoo with
            released weights, or a repository of the Hub, `owner/name`.
        numerics: For weights in the layout of `transformers`: compute as it does ("transformers"), or as the
            original did ("original"). `None` takes the original for the released models, whose weights are the
            original's, and `transformers` for all others.
        config: The model of a checkpoint file, when it is none of the zoo's.
        revision: Branch, tag or commit of a repository.
        token: Access token of the Hub.

    Raises:
        ValueError: There is nothing of that name, a file is broken, or the weights do not fit the model.
    """
    path = Path(source)
    if path.is_file():
        return _load_checkpoint(path, config)
    if config is not None:
        raise ValueError(f"config says what a checkpoint file holds; '{source}' is no file")
    if path.is_dir():
        if is_hf_folder(path):
            return load_hf_folder(path, numerics=numerics or "transformers")
        return load_folder(path)[0]
    released = {spec.name: spec for spec in models() if spec.hub_id is not None}
    repo_id = released[str(source)].hub_id if str(source) in released else str(source)
    if str(source) in ZOO and str(source) not in released:
        raise ValueError(f"'{source}' has no released weights; fresh ones come from perceivers.build")
    if repo_id is None or not is_repo_id(repo_id):
        raise ValueError(
            f"'{source}' is no file, no folder, no repository (owner/name) and no released model; "
            f"choices = {sorted(released)}"
        )
    official = repo_id in {spec.hub_id for spec in released.values()}
    folder = fetch(repo_id, revision=revision, token=token)
    return load_hf_folder(folder, numerics=numerics or ("original" if official else "transformers"))


def _load_checkpoint(path: Path, config: PerceiverConfig | None) -> PerceiverIO:
    """Load a checkpoint file of the original; without a config, into the model of the zoo that it fits."""
    params = read_pickle(path)
    names = {name: tuple(value.shape) for name, value in params.items()}
    if config is None:
        fitting = [spec.config for spec in models() if spec.hub_id is not None and haiku_shapes(spec.config) == names]
        if not fitting:
            raise ValueError(f"'{path}' fits no released model; say what it holds with config")
        config = fitting[0]
    model = PerceiverIO(config)
    load_haiku(model, params)
    return model.eval()


def save(model: PerceiverIO, folder: str | Path) -> None:
    """Write `model` to `folder` as `config.json` and `model.safetensors`."""
    save_folder(model, folder)
