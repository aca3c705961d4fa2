"""Modalities. Each file here registers its own parts; importing the room imports them all."""

from importlib import import_module
from pkgutil import iter_modules

from perceivers.adapters.base import (
    Batch,
    InputAdapter,
    InputConfig,
    OutputAdapter,
    OutputConfig,
    Queries,
    QueryAdapter,
    QueryConfig,
    RawTokens,
    Tokens,
)

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "Batch",
    "InputAdapter",
    "InputConfig",
    "OutputAdapter",
    "OutputConfig",
    "Queries",
    "QueryAdapter",
    "QueryConfig",
    "RawTokens",
    "Tokens",
]
