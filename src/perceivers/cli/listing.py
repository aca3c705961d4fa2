"""What there is: the zoo and the tasks."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from rich.text import Text

from perceivers.cli import show
from perceivers.config import to_json
from perceivers.model import PerceiverIO
from perceivers.planning import count
from perceivers.tasks import TASKS
from perceivers.zoo import Spec, models, read_facts

# What counting all models takes half a minute for; `benchmarks/zoo_costs.py` writes it.
COSTS_FILE = Path(__file__).parents[1] / "zoo" / "costs.json"


def list_models(*, as_json: bool) -> None:
    """Print the zoo."""
    entries = [_model_entry(spec) for spec in models()]
    if as_json:
        show.json_line(entries, indent=2)
        return
    out = show.out()
    for entry in entries:
        out.print(Text.assemble((entry["name"], "bold"), f"  {entry['task'] or 'no task'}"))
        out.print(f"  {entry['summary']}", markup=False)
        reads, answers = _shape_of(entry["inputs"]["shapes"]), show.shape_text(entry["outputs"]["shape"])
        flops = "FLOPs not counted" if entry["flops"] is None else show.amount(entry["flops"], "FLOP")
        cost = f"{show.amount(entry['parameters'])} parameters, {flops}"
        out.print(f"  {reads} -> {answers}, {cost}", markup=False)
        source = "in this package" if entry["bundled"] else entry["source"]
        weights = f"{source}, {entry['licence']}" if source else "none released"
        out.print(f"  weights: {weights}", markup=False)
        if entry["bundled"]:
            scores = ", ".join(f"{name} {value:g}" for name, value in entry["scores"].items())
            out.print(f"  scores: {scores} on {entry['scored_on']}", markup=False)


def list_tasks(*, as_json: bool) -> None:
    """Print the tasks."""
    entries = [
        {
            "name": name,
            "roles": list(TASKS[name].roles),
            "optional_roles": list(TASKS[name].optional_roles),
            "released_model": TASKS[name].released_model,
            "default_model": TASKS[name].default_model,
            "score": TASKS[name].score,
            "higher_is_better": TASKS[name].higher_is_better,
        }
        for name in TASKS
    ]
    if as_json:
        show.json_line(entries, indent=2)
        return
    out = show.out()
    for entry in entries:
        columns = [*entry["roles"], *(f"{role} (may be absent)" for role in entry["optional_roles"])]
        better = "higher" if entry["higher_is_better"] else "lower"
        out.print(Text(entry["name"], style="bold"))
        out.print(f"  columns: {', '.join(columns)}", markup=False)
        out.print(f"  released model: {entry['released_model'] or 'none'}", markup=False)
        out.print(f"  trained from nothing: {entry['default_model']}", markup=False)
        out.print(f"  score: {entry['score']}, {better} is better", markup=False)


def _model_entry(spec: Spec) -> dict[str, Any]:
    known = _known_costs().get(spec.name)
    # A model whose config has changed since, or that a plugin made, is counted now.
    costs = known if known is not None and known["config"] == config_digest(spec) else measure(spec)
    return {
        "name": spec.name,
        "task": spec.task,
        "parameters": costs["parameters"],
        "flops": costs["flops"],
        "inputs": {"kind": spec.config.inputs.kind, "shapes": costs["input_shapes"]},
        "outputs": {**to_json(spec.config.outputs), "shape": costs["output_shape"]},
        "summary": spec.summary,
        "source": spec.hub_id,
        "licence": spec.licence,
        "citation": spec.citation,
        **_weights_entry(spec),
    }


def _weights_entry(spec: Spec) -> dict[str, Any]:
    """Return whether trained weights ship with the package, and if so what is known of them."""
    if not spec.bundled:
        return {"bundled": False}
    facts = read_facts(spec.name)
    return {
        "bundled": True,
        "scores": facts.scores,
        "baselines": facts.baselines,
        "scored_on": facts.split,
        "data": facts.data,
        "data_licence": facts.data_licence,
        "commands": list(facts.commands),
    }


def measure(spec: Spec) -> dict[str, Any]:
    """Count a model: its parameters, operations and shapes, and the config that they are of."""
    with torch.device("meta"):
        model = PerceiverIO(spec.config)
        example = model.inputs.example_batch(1)
    flops, output_shape = _cost(spec)
    return {
        "config": config_digest(spec),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "flops": flops,
        "input_shapes": {name: list(value.shape[1:]) for name, value in example.items() if torch.is_tensor(value)},
        "output_shape": output_shape,
    }


def config_digest(spec: Spec) -> str:
    """Return a number for a model's config, as text: another config has another."""
    return hashlib.sha256(json.dumps(to_json(spec.config), sort_keys=True).encode()).hexdigest()[:16]


@cache
def _known_costs() -> dict[str, Any]:
    return json.loads(COSTS_FILE.read_text(encoding="utf-8"))


def _cost(spec: Spec) -> tuple[int | None, list[int]]:
    """Return operations and the shape of the outputs; a plugin's model may be none that can be counted."""
    try:
        counted = count(spec.config)
    except ValueError:
        return None, []
    return counted.flops, list(counted.output_shape)


def _shape_of(shapes: dict[str, list[int]]) -> str:
    """Return the shape of the first entry of a batch, or of each of several modalities; others are masks."""
    named = {name: show.shape_text(shape) for name, shape in shapes.items() if shape and not name.endswith("keep_mask")}
    return (
        next(iter(named.values())) if len(named) == 1 else ", ".join(f"{name} {text}" for name, text in named.items())
    )
