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
BASE = ("config", "registry", "memory")
MODEL_ROOMS = (
    *("nn", "adapters", "decoders", "model", "rollout", "precision", "quantization"),
    *("zoo", "pretrained", "planning"),
)
LEAVES = ("processing", "data")
ALLOWED: dict[str, tuple[str, ...]] = {
    "registry": (),
    "memory": (),
    "config": BASE,
    **{room: (*BASE, *MODEL_ROOMS[: i + 1]) for i, room in enumerate(MODEL_ROOMS)},
    # It cuts frames into the tiles that the flow's pipeline does.
    "planning": (*BASE, *MODEL_ROOMS, *LEAVES),
    # Leaves know no model.
    **dict.fromkeys(LEAVES, (*BASE, *LEAVES)),
    "tasks": (*BASE, *MODEL_ROOMS, *LEAVES, "tasks"),
    "train": (*BASE, *MODEL_ROOMS, *LEAVES, "tasks", "train"),
    "exporting": (*BASE, *MODEL_ROOMS, *LEAVES, "tasks", "train", "exporting"),
    "benchmark": (*BASE, *MODEL_ROOMS, *LEAVES, "tasks", "train", "exporting", "benchmark"),
    # Agents take models only: what trains them is another library.
    "rl": (*BASE, *MODEL_ROOMS, *LEAVES, "rl"),
    # The thin ends may also use the package's public names, which is its root.
    "cli": (*BASE, *MODEL_ROOMS, *LEAVES, "tasks", "train", "exporting", "benchmark", "web", "cli", ""),
    "web": (*BASE, *MODEL_ROOMS, *LEAVES, "tasks", "train", "web", ""),
    # The root offers names of every room.
    "": (*BASE, *MODEL_ROOMS, *LEAVES, "tasks", "train", "exporting"),
}
FILES = sorted(PACKAGE.rglob("*.py"))
# What needs torchmetrics, which takes seconds to import.
SCORES = "perceivers.tasks.scores"


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


# Needed by one room or one function alone: imported where they are used, so that all else works without them.
OPTIONAL = [
    "accelerate",
    "av",
    "gradio",
    "gymnasium",
    "kornia",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "pytorch_optimizer",
    "sklearn",
    "soundfile",
    "stable_baselines3",
    "tensorboard",
    "torchmetrics",
    "transformers",
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_optional_libraries_are_imported_where_used(path: Path) -> None:
    at_home = {
        "rl": {"gymnasium", "stable_baselines3"},
        "tasks/scores": {"torchmetrics"},
        "train": {"accelerate"},
        "web": {"gradio"},
    }
    here = {name for room, names in at_home.items() if path.is_relative_to(PACKAGE / room) for name in names}
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = [node.module or "" for node in body if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
    assert not {name.split(".")[0] for name in names} & set(OPTIONAL) - here


# Run apart: in this process everything is imported already. What other libraries do is not ours to judge,
# so those that the rooms need anyway come first.
PROBE = """
import importlib, json, logging, os, random, sys, warnings
import numpy, torch

modules, optional, others = (json.loads(argument) for argument in sys.argv[1:])
for name in others:
    importlib.import_module(name)

def state():
    return {
        "environment": dict(os.environ), "folder": os.getcwd(), "path": list(sys.path),
        "files": sorted(os.path.join(*entry) for where, _, names in os.walk(".") for entry in [(where, *names)]),
        "random": repr([random.getstate(), numpy.random.get_state(), torch.get_rng_state().tolist()]),
        "torch": [torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()],
        "warnings": list(warnings.filters),
        "logging": [logging.root.level, list(logging.root.handlers)],
        "hook": sys.excepthook,
    }

loaded = set(sys.modules)
before = state()
for name in modules:
    importlib.import_module(name)
after = state()
print(json.dumps({
    "optional": sorted(set(optional) & (set(sys.modules) - loaded)),
    "changed": [key for key in before if before[key] != after[key]],
}))
"""


def probe(folder: Path, modules: list[str], optional: list[str], others: list[str]) -> dict[str, list[str]]:
    """Import `modules` in an empty home; return which optional libraries came along and what changed."""
    environment = {**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": str(folder), "HF_HOME": str(folder)}
    arguments = [json.dumps(names) for names in (modules, optional, others)]
    command = [sys.executable, "-c", PROBE, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def modules_of(*rooms: str) -> list[str]:
    """Return the dotted names of all modules in `rooms`."""
    found = [path.relative_to(PACKAGE.parent).with_suffix("") for path in FILES if path.name != "__main__.py"]
    names = [".".join(path.parts).removesuffix(".__init__") for path in found]
    return [name for name in names if room_of(name) in rooms]


def test_importing_models_is_light_and_changes_nothing(tmp_path: Path) -> None:
    modules = modules_of("", *BASE, *MODEL_ROOMS)
    others = ["einops", "huggingface_hub", "jaxtyping", "safetensors.torch", "torch._dynamo"]
    assert probe(tmp_path, modules, [*OPTIONAL, "datasets"], others) == {"optional": [], "changed": []}


def test_importing_all_but_scores_and_pages_changes_nothing_and_leaves_out_what_is_slow(tmp_path: Path) -> None:
    others = ["accelerate", "datasets", "einops", "huggingface_hub", "jaxtyping", "PIL.Image", "rich.console"]
    others += ["gymnasium", "stable_baselines3.ppo", "typer", "yaml"]
    optional = ["gradio", "kornia", "sklearn", "torchmetrics", "transformers"]
    rooms = [room for room in ALLOWED if room != "web"]
    modules = [name for name in modules_of(*rooms) if not name.startswith(f"{SCORES}.")]
    assert probe(tmp_path, modules, optional, others) == {"optional": [], "changed": []}


def test_importing_scores_changes_nothing(tmp_path: Path) -> None:
    others = ["datasets", "einops", "huggingface_hub", "jaxtyping", "torchmetrics.text"]
    modules = [name for name in modules_of("tasks") if name.startswith(SCORES)]
    assert len(modules) > 1
    assert probe(tmp_path, modules, ["gradio", "kornia", "sklearn"], others) == {"optional": [], "changed": []}


def test_importing_pages_changes_nothing(tmp_path: Path) -> None:
    others = ["accelerate", "datasets", "einops", "gradio.themes", "huggingface_hub", "jaxtyping", "torch._dynamo"]
    optional = ["av", "kornia", "sklearn", "soundfile", "torchmetrics", "transformers"]
    assert probe(tmp_path, modules_of("web"), optional, others) == {"optional": [], "changed": []}


def test_answers_are_measured_without_what_trains(tmp_path: Path) -> None:
    sides = [f"perceivers.benchmark.{name}" for name in ("worker", "ours", "peer_transformers", "peer_perceiver_io")]
    assert probe(tmp_path, sides, ["accelerate", "kornia"], ["datasets"])["optional"] == []


def test_the_root_alone_does_not_even_import_torch() -> None:
    code = "import sys, perceivers; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
