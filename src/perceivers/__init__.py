"""Perceiver and Perceiver IO in PyTorch: any input, any output, one model."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perceivers.data.samples import sample
    from perceivers.exporting import export
    from perceivers.model import Latents, PerceiverConfig, PerceiverIO
    from perceivers.nn.maps import record_attention
    from perceivers.planning import Plan, plan
    from perceivers.pretrained.hf import from_transformers, to_transformers
    from perceivers.pretrained.load import build, load, save
    from perceivers.pretrained.publish import push_to_hub
    from perceivers.pretrained.resize import resize_positions
    from perceivers.pretrained.source import Loaded, available, open_source
    from perceivers.rollout import InputWeights, attention_rollout, input_attention
    from perceivers.tasks import TASKS
    from perceivers.tasks.pipeline import Pipeline, pipeline
    from perceivers.zoo import models

__version__ = "0.1.0"

__all__ = [
    "TASKS",
    "InputWeights",
    "Latents",
    "Loaded",
    "PerceiverConfig",
    "PerceiverIO",
    "Pipeline",
    "Plan",
    "attention_rollout",
    "available",
    "build",
    "export",
    "from_transformers",
    "input_attention",
    "load",
    "models",
    "open_source",
    "pipeline",
    "plan",
    "push_to_hub",
    "record_attention",
    "resize_positions",
    "sample",
    "save",
    "to_transformers",
]

# Public names are imported when they are first used, so that `import perceivers` costs nothing.
_HOMES = {
    "TASKS": "perceivers.tasks",
    "InputWeights": "perceivers.rollout",
    "Latents": "perceivers.model",
    "Loaded": "perceivers.pretrained.source",
    "PerceiverConfig": "perceivers.model",
    "PerceiverIO": "perceivers.model",
    "Pipeline": "perceivers.tasks.pipeline",
    "Plan": "perceivers.planning",
    "attention_rollout": "perceivers.rollout",
    "available": "perceivers.pretrained.source",
    "build": "perceivers.pretrained.load",
    "export": "perceivers.exporting",
    "from_transformers": "perceivers.pretrained.hf",
    "input_attention": "perceivers.rollout",
    "load": "perceivers.pretrained.load",
    "models": "perceivers.zoo",
    "open_source": "perceivers.pretrained.source",
    "pipeline": "perceivers.tasks.pipeline",
    "plan": "perceivers.planning",
    "push_to_hub": "perceivers.pretrained.publish",
    "record_attention": "perceivers.nn.maps",
    "resize_positions": "perceivers.pretrained.resize",
    "sample": "perceivers.data.samples",
    "save": "perceivers.pretrained.load",
    "to_transformers": "perceivers.pretrained.hf",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'perceivers' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
