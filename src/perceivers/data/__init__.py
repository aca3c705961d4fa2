"""Data sets on Hugging Face `datasets`: found, checked and split. Knows no model."""

from perceivers.data.errors import DataError
from perceivers.data.inputs import predict_inputs
from perceivers.data.load import DataConfig, Splits, load_data
from perceivers.data.roles import ROLES, InputFiles, Role
from perceivers.data.sources import SOURCES

__all__ = [
    "ROLES",
    "SOURCES",
    "DataConfig",
    "DataError",
    "InputFiles",
    "Role",
    "Splits",
    "load_data",
    "predict_inputs",
]
