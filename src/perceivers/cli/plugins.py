"""Plugins: Python files that define modalities, tasks or models and thereby register them."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path


def import_plugins(paths: Sequence[Path]) -> None:
    """Run each file, once a process, before anything is looked up by name.

    Raises:
        ValueError: There is no such Python file, or it does not run.
    """
    for path in paths:
        # The whole path: two plugins may have the same file name.
        name = f"perceivers_plugin:{path.resolve()}"
        if name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(name, path)
        if not path.is_file() or spec is None or spec.loader is None:
            raise ValueError(f"plugin '{path}' is no Python file")
        module = importlib.util.module_from_spec(spec)
        # Dataclasses look up the module of a class by its name while the file still runs.
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            raise ValueError(f"plugin '{path}' failed: {type(error).__name__}: {error}") from error
