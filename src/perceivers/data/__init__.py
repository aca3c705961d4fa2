"""Data sets: names, folders and files to checked splits; knows no model."""

from perceivers.data.config import DataConfig, Splits
from perceivers.data.generated import GENERATED, GeneratedSource
from perceivers.data.inputs import predict_inputs
from perceivers.data.load import load_data
from perceivers.data.roles import ROLES, DataError
from perceivers.data.sources import SOURCES

__all__ = [
    "GENERATED",
    "ROLES",
    "SOURCES",
    "DataConfig",
    "DataError",
    "GeneratedSource",
    "Splits",
    "load_data",
    "predict_inputs",
]
