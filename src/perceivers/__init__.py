"""Perceiver and Perceiver IO in PyTorch: any input, any output, one model."""

from perceivers.model import Latents, PerceiverConfig, PerceiverIO
from perceivers.nn.maps import record_attention
from perceivers.pretrained.load import build, load, save
from perceivers.tasks import TASKS
from perceivers.tasks.pipeline import Pipeline, pipeline
from perceivers.zoo import models

__version__ = "0.1.0"

__all__ = [
    "TASKS",
    "Latents",
    "PerceiverConfig",
    "PerceiverIO",
    "Pipeline",
    "build",
    "load",
    "models",
    "pipeline",
    "record_attention",
    "save",
]
