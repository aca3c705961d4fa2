"""From what a user names to a model and the task it serves: a folder, a file, a name of the zoo, the Hub."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perceivers.adapters.label import LabelOutputConfig
from perceivers.adapters.multimodal import MultimodalOutputConfig
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.pretrained.folder import load_folder
from perceivers.pretrained.haiku import from_haiku, haiku_shapes
from perceivers.pretrained.hf_configs import Numerics, family_of
from perceivers.pretrained.hf_fields import placeholders
from perceivers.pretrained.hf_folder import is_hf_folder, load_hf_folder
from perceivers.pretrained.hub import fetch, is_repo_id, obtainable
from perceivers.pretrained.pickles import read_pickle
from perceivers.zoo import MINI, ZOO, Spec, bundled_folder, bundled_models, label_names, models


@dataclass(frozen=True)
class Loaded:
    """A trained model with what is known of it.

    Args:
        model: The model, in evaluation mode.
        task: Name and settings of its task, as `Task.to_json` gives them; `None` when none is known.
        origin: Where the weights came from, in words, e.g. "deepmind/language-perceiver (Hub)".
        numerics: Whose way of computing it follows, for weights of the original or in the layout of
            `transformers`; `None` for models that were saved here, whose config says all.
    """

    model: PerceiverIO
    task: dict[str, Any] | None
    origin: str
    numerics: Numerics | None


def open_source(
    source: str | Path,
    *,
    numerics: Numerics | None = None,
    config: PerceiverConfig | None = None,
    num_labels: int | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> Loaded:
    """Return a trained model and its task.

    The model computes in the precision of its weights: those in float16, bfloat16 or float64 give a model in
    float16, bfloat16 or float64, and of several the one that holds them all; `model.float()` changes it.

    Args:
        source: A folder that `save` or `perceivers train` wrote, a folder in the layout of Hugging Face
            `transformers`, a checkpoint file of the original (`*.pickle`, `*.pystate`), a name of the zoo whose
            weights ship with the package or are released, or a repository of the Hub, `owner/name`.
        numerics: For weights in the layout of `transformers`: compute as it does ("transformers"), or as the
            original did ("original"). `None` takes the original for the released models, whose weights are the
            original's, and `transformers` for all others.
        config: The model of a checkpoint file, when it is none of the zoo's.
        num_labels: Keep all weights but those of the head that scores labels, which becomes new, for so many
            labels. It starts from torch's global generator (`torch.manual_seed` makes it the same each time),
            which nothing else here touches.
        revision: Branch, tag or commit of a repository.
        token: Access token of the Hub.

    Raises:
        ValueError: There is nothing of that name, a file is broken, the weights do not fit the model, or an
            argument says nothing about a source of this kind.
    """
    path = Path(source)
    if not path.is_file() and config is not None:
        raise ValueError(f"config says what a checkpoint file holds; '{source}' is no file")
    if path.exists() and revision is not None:
        raise ValueError(f"revision names a commit of a repository; '{source}' lies on this machine")
    if path.is_file():
        if path.suffix in (".safetensors", ".bin"):
            raise ValueError(f"'{source}' holds weights alone; give the folder, which says what model they are of")
        if numerics == "transformers":
            raise ValueError(f"'{source}' is a checkpoint of the original, which is computed as the original did")
        return _open_checkpoint(path, config, num_labels)
    if path.is_dir():
        return _open_folder(path, f"{source} (folder)", numerics, num_labels, None)
    if str(source) in [spec.name for spec in bundled_models()]:
        if revision is not None:
            raise ValueError(f"revision names a commit of a repository; '{source}' ships with the package")
        return _open_folder(bundled_folder(str(source)), f"{source} (in the package)", numerics, num_labels, None)
    spec, repo_id = _find_repository(str(source))
    folder = fetch(repo_id, revision=revision, token=token)
    origin = f"{repo_id}@{revision} (Hub)" if revision else f"{repo_id} (Hub)"
    return _open_folder(folder, origin, numerics, num_labels, spec)


def available(source: str | Path, *, token: str | None = None) -> bool:
    """Return whether a trained model can be opened from here now: so that another can be named where it cannot.

    Args:
        source: As in `open_source`. A path is available when it exists, a model that ships always, a repository when
            its files are in the cache or the Hub, which is asked, has it. Nothing is downloaded.
        token: Access token of the Hub.

    Raises:
        ValueError: No weights are known under that name.
    """
    if Path(source).exists() or str(source) in [spec.name for spec in bundled_models()]:
        return True
    _, repo_id = _find_repository(str(source))
    return obtainable(repo_id, token=token)


def _find_repository(source: str) -> tuple[Spec | None, str]:
    """Return the repository of `source`, with its entry in the zoo when it is a released model's."""
    released = {spec.name: spec for spec in models() if spec.hub_id is not None}
    bundled = {spec.name: spec for spec in bundled_models()}
    if source == MINI:
        raise ValueError(f"'{MINI}' is the mini of a task, and no task is named; choices = {list(bundled)}")
    if source in ZOO and source not in released:
        raise ValueError(f"'{source}' has no released weights; fresh ones come from perceivers.build")
    for spec in released.values():
        if spec.hub_id is not None and source in (spec.name, spec.hub_id):
            return spec, spec.hub_id
    if not is_repo_id(source):
        raise ValueError(
            f"'{source}' is no file, no folder, no repository (owner/name) and no model with weights; "
            f"choices = {sorted([*released, *bundled])}"
        )
    return None, source


def _open_folder(
    folder: Path, origin: str, numerics: Numerics | None, num_labels: int | None, spec: Spec | None
) -> Loaded:
    if not is_hf_folder(folder):
        if numerics is not None:
            raise ValueError(f"'{folder}' is a model that was saved here: its own config says how it computes")
        model, task = load_folder(folder, num_labels=num_labels)
        if task is not None and num_labels is not None:
            task = {**task, "labels": list(placeholders(num_labels))}
        return Loaded(model, task, origin, None)
    numerics = numerics or ("transformers" if spec is None else "original")
    found = load_hf_folder(folder, numerics=numerics, num_labels=num_labels)
    settings = dict(_PORT_SETTINGS.get(found.task, {}) if numerics == "transformers" else _original(found.task))
    # The file names the middle square only; where its edges lie to the pixel, the numerics say.
    if found.fit not in (None, "center"):
        settings["fit"] = found.fit
    labels = (found.labels or _shipped_labels(spec)) if num_labels is None else None
    return Loaded(found.model, _task(found.task, found.model.config, labels, settings), origin, numerics)


def _open_checkpoint(path: Path, config: PerceiverConfig | None, num_labels: int | None) -> Loaded:
    """Open a checkpoint file of the original; without a config, as the model of the zoo that it fits."""
    params = read_pickle(path)
    released = [spec for spec in models() if spec.hub_id is not None]
    if config is None:
        names = {name: tuple(value.shape) for name, value in params.items()}
        config = next((spec.config for spec in released if haiku_shapes(spec.config) == names), None)
    if config is None:
        raise ValueError(f"'{path}' fits no released model; say what it holds with config")
    model = from_haiku(config, params, str(path), num_labels=num_labels)
    spec = next((spec for spec in released if spec.config == config), None)
    name = (spec and spec.task) or family_of(config).task
    labels = _shipped_labels(spec) if num_labels is None else None
    task = _task(name, model.config, labels, _original(name))
    return Loaded(model, task, f"{path} (file)", "original")


# How the port's processors prepare what its models are asked.
_PORT_SETTINGS: dict[str, dict[str, Any]] = {
    "image-classification": {"fit": "center-transformers", "interpolation": "pillow"},
    "fill-mask": {"special_tokens": True},
    "text-classification": {"special_tokens": True},
}


def _original(task: str) -> Mapping[str, Any]:
    """Return the settings with which the original asks its models of `task`."""
    return next((spec.settings for spec in models() if spec.hub_id is not None and spec.task == task), {})


def _shipped_labels(spec: Spec | None) -> tuple[str, ...] | None:
    return None if spec is None or spec.labels is None else label_names(spec.labels)


def _task(
    name: str, config: PerceiverConfig, labels: tuple[str, ...] | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the task's JSON form; label names that do not fit the model's outputs give way to mere numbers."""
    task: dict[str, Any] = {"name": name, **settings}
    outputs = config.outputs
    if isinstance(outputs, MultimodalOutputConfig):
        outputs = outputs.outputs.get("label")
    if isinstance(outputs, LabelOutputConfig):
        fitting = labels is not None and len(labels) == outputs.num_classes
        task["labels"] = list(labels if labels is not None and fitting else placeholders(outputs.num_classes))
    return task
