"""Imports point one way, and importing does nothing but import."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import perceivers

PACKAGE = Path(perceivers.__file__).parent

# Each room may import itself and what stands before it.
BASE = ("config", "registry")
MODEL_ROOMS = ("nn", "adapters", "model", "zoo", "pretrained")
LEAVES = ("processing", "data")
ALLOWED: dict[str, tuple[str, ...]] = {
    "registry": (),
    "config": BASE,
    **{room: (*BASE, *MODEL_ROOMS[: i + 1]) for i, room in enumerate(MODEL_ROOMS)},
    # Leaves know no model.
    **dict.fromkeys(LEAVES, (*BASE, *LEAVES)),
    "tasks": (*BASE, *MODEL_ROOMS, *LEAVES, "tasks"),
    "train": (*BASE, *MODEL_ROOMS, *LEAVES, "tasks", "train"),
    # The thin ends may also use the package's public names, which is its root.
    "cli": (*BASE, *MODEL_ROOMS, *LEAVES, "tasks", "train", "cli", ""),
    "web": (*BASE, *MODEL_ROOMS, *LEAVES, "tasks", "train", "web", ""),
    # The root offers names of every room.
    "": (*BASE, *MODEL_ROOMS, *LEAVES, "tasks", "train"),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: str) -> str:
    """Return the room of a dotted module name inside the package, "" for the root itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imported_rooms(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and room of each import of the package, those inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "perceivers":
                room = room_of(name)
                yield node.lineno, room if room in ALLOWED else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    room = path.relative_to(PACKAGE).with_suffix("").parts[0]
    room = "" if room == "__init__" else room
    assert room in ALLOWED, f"'{room}' is no room; rooms = {sorted(ALLOWED)}"
    wrong = [f"line {line}: {to or 'perceivers'}" for line, to in imported_rooms(path) if to not in ALLOWED[room]]
    assert not wrong, f"'{room}' may import {ALLOWED[room]}"


HEAVY = ("transformers", "kornia", "accelerate", "sklearn", "gradio", "matplotlib")

# Run apart: in this process everything is imported already.
PROBE = """
import importlib, json, logging, os, random, sys, warnings
import numpy, torch
import datasets, einops, huggingface_hub, jaxtyping, PIL.Image, rich, safetensors.torch, torchmetrics, typer, yaml

def state():
    return repr([
        dict(os.environ), os.getcwd(), random.getstate(), numpy.random.get_state(), torch.get_rng_state().tolist(),
        torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), warnings.filters,
        logging.root.level, logging.root.handlers, sys.path, sys.excepthook,
    ])

before_modules = set(sys.modules)
before = state()
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
heavy = set(json.loads(sys.argv[2])) & (set(sys.modules) - before_modules)
print(json.dumps({"heavy": sorted(heavy), "same": state() == before}))
"""


def probe(folder: Path, modules: list[str], heavy: tuple[str, ...]) -> dict[str, object]:
    """Import `modules` in an empty home, with warnings as errors, and return what that did."""
    environment = {**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": str(folder), "HF_HOME": str(folder)}
    command = [sys.executable, "-c", PROBE, json.dumps(modules), json.dumps(heavy)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(folder.iterdir()), "importing wrote files"
    return json.loads(done.stdout)


def modules_of(*rooms: str) -> list[str]:
    """Return the dotted names of all modules in `rooms`."""
    found = [path.relative_to(PACKAGE.parent).with_suffix("") for path in FILES if path.name != "__main__.py"]
    names = [".".join(path.parts).removesuffix(".__init__") for path in found]
    return [name for name in names if room_of(name) in rooms]


def test_importing_the_library_is_light_and_changes_nothing(tmp_path: Path) -> None:
    modules = modules_of("", *BASE, *MODEL_ROOMS, *LEAVES, "tasks")
    assert probe(tmp_path, modules, HEAVY) == {"heavy": [], "same": True}


def test_importing_the_rest_changes_nothing(tmp_path: Path) -> None:
    assert probe(tmp_path, modules_of("train", "cli", "web"), ("gradio",)) == {"heavy": [], "same": True}
