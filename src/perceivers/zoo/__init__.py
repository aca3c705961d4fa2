"""The zoo: names to model specs. Data only; each file here enters its own specs."""

from importlib import import_module
from pkgutil import iter_modules

from perceivers.zoo.spec import ZOO, Spec, find_spec, label_names, models

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["ZOO", "Spec", "find_spec", "label_names", "models"]
