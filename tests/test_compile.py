"""`torch.compile`: one graph for every kind of model, for any batch and any number of queries."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_examples import built_in
from perceivers.adapters import InputConfig, OutputConfig, QueryConfig

ROOTS = {"inputs": InputConfig, "queries": QueryConfig, "outputs": OutputConfig}
KINDS = [(side, kind) for side, root in ROOTS.items() for kind in built_in(root)]

pytestmark = pytest.mark.compile

# Run apart: the compiler does not see through the checks of shapes that the tests install in this process.
PROBE = """
import json, sys
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from model_examples import example_batch, leaves, model_around, seeded
from perceivers.adapters import InputConfig, OutputConfig, QueryConfig
from perceivers.adapters.base import grid_size

roots = {"inputs": InputConfig, "queries": QueryConfig, "outputs": OutputConfig}

def where_of(model, batch, count):
    grid = model.queries.output_grid(model.inputs(batch))
    if isinstance(grid, dict):
        return {name: torch.arange(count) % grid_size(sides) for name, sides in grid.items()}
    return torch.arange(count) % grid_size(grid)

@torch.no_grad()
def run(side, kind):
    torch._dynamo.reset()
    model = seeded(model_around(**{side: roots[side].kinds[kind].example()})).eval()
    counter = CompileCounterWithBackend(sys.argv[1])
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=counter)
    counts, errors = [], []
    for batch_size, num_queries in ((3, 5), (2, 4), (4, 7), (5, 9)):
        batch = example_batch(model, batch_size)
        where = where_of(model, batch, num_queries)
        pairs = zip(leaves(compiled(batch, where=where)), leaves(model(batch, where=where)), strict=True)
        errors += [float((a - b).abs().max() / b.square().mean().sqrt()) for a, b in pairs]
        counts.append(counter.frame_count)
    return {"counts": counts, "error": max(errors)}

for side, kind in json.loads(sys.argv[2]):
    try:
        found = run(side, kind)
    except Exception as error:
        found = {"refused": str(error)[:400]}
    print(json.dumps([side, kind, found]), flush=True)
"""


def probe(backend: str, kinds: list[tuple[str, str]]) -> dict[tuple[str, str], dict]:
    """Compile a model around each kind; return how many graphs there were after each call, and the largest error."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", PROBE, backend, json.dumps(kinds)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {(side, kind): found for side, kind, found in lines}


@pytest.fixture(scope="module")
def compiled() -> dict[tuple[str, str], dict]:
    return probe("eager", KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=" ".join)
def test_one_graph_for_all_sizes(compiled: dict[tuple[str, str], dict], kind: tuple[str, str]) -> None:
    found = compiled[kind]
    assert "refused" not in found, found["refused"]
    assert found["error"] <= 1e-4
    # After the first call a model may have positions at hand, which is one more graph, and then none.
    first, *later = found["counts"]
    assert first == 1
    assert set(later) in ({1}, {2})


def test_inductor_computes_the_same() -> None:
    found = probe("inductor", [("inputs", "image-patches")])["inputs", "image-patches"]
    assert found.get("error", 1.0) <= 1e-4, found
