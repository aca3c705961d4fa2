"""What there is: the zoo and the tasks."""

from typing import Any

import torch

from perceivers.cli import show
from perceivers.config import to_json
from perceivers.planning import count
from perceivers.tasks import TASKS
from perceivers.zoo import Spec, models


def list_models(*, as_json: bool) -> None:
    """Print the zoo."""
    entries = [_model_entry(spec) for spec in models()]
    if as_json:
        show.json_line(entries, indent=2)
        return
    rows = [
        [
            f"{entry['name']}\n{entry['task']}",
            _inputs_text(entry["inputs"]),
            f"{entry['outputs']['kind']}\n{show.shape_text(entry['outputs']['shape'])}",
            f"{show.amount(entry['parameters'])}\n{show.amount(entry['flops'], 'FLOP')}",
            "\n".join([entry["summary"], *_weights_text(entry)]),
        ]
        for entry in entries
    ]
    show.table(["name and task", "inputs", "outputs", "parameters", "summary and weights"], rows, right=["parameters"])


def list_tasks(*, as_json: bool) -> None:
    """Print the tasks."""
    entries = [
        {
            "name": name,
            "roles": list(TASKS[name].roles),
            "default_model": TASKS[name].default_model,
            "score": TASKS[name].score,
            "higher_is_better": TASKS[name].higher_is_better,
        }
        for name in TASKS
    ]
    if as_json:
        show.json_line(entries, indent=2)
        return
    rows = [
        [
            entry["name"],
            ", ".join(entry["roles"]),
            entry["default_model"],
            f"{entry['score']} ({'higher' if entry['higher_is_better'] else 'lower'} is better)",
        ]
        for entry in entries
    ]
    show.table(["name", "columns", "default model", "score"], rows)


def _model_entry(spec: Spec) -> dict[str, Any]:
    counted = count(spec.config)
    with torch.device("meta"):
        example = spec.config.inputs.build().example_batch(1)
    return {
        "name": spec.name,
        "task": spec.task,
        "parameters": counted.parameters,
        "flops": counted.flops,
        "inputs": {
            "kind": spec.config.inputs.kind,
            "shapes": {name: list(value.shape[1:]) for name, value in example.items() if torch.is_tensor(value)},
        },
        "outputs": {**to_json(spec.config.outputs), "shape": list(counted.output_shape)},
        "summary": spec.summary,
        "source": spec.hub_id,
        "licence": spec.licence,
        "citation": spec.citation,
    }


def _inputs_text(inputs: dict[str, Any]) -> str:
    """Return the kind with the shape of its first entry: the others are masks and the like."""
    shape = next(iter(inputs["shapes"].values()), [])
    return f"{inputs['kind']}\n{show.shape_text(shape)}"


def _weights_text(entry: dict[str, Any]) -> list[str]:
    """Return where released weights lie and their licence; the summary says when there are none."""
    return [f"{entry['source']}, {entry['licence']}"] if entry["source"] else []
