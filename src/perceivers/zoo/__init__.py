"""The zoo: names to model specs. Data only; each file here enters its own specs."""

from importlib import import_module
from pkgutil import iter_modules

from perceivers.zoo.facts import Facts, read_facts
from perceivers.zoo.spec import (
    MINI,
    ZOO,
    Spec,
    bundled_folder,
    bundled_models,
    find_spec,
    label_names,
    mini_of,
    models,
)

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "MINI",
    "ZOO",
    "Facts",
    "Spec",
    "bundled_folder",
    "bundled_models",
    "find_spec",
    "label_names",
    "mini_of",
    "models",
    "read_facts",
]
