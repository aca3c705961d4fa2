"""What `perceivers models` lists is what the models are."""

import json
from dataclasses import replace

import pytest

from perceivers.cli.listing import COSTS_FILE, config_digest, measure
from perceivers.config import override
from perceivers.zoo import ZOO

COSTS = json.loads(COSTS_FILE.read_text())


def test_the_costs_are_those_of_the_zoo() -> None:
    """Where this fails, run: python benchmarks/zoo_costs.py."""
    # Other tests may have entered models of their own, which are counted when they are listed.
    digests = {name: config_digest(ZOO[name]) for name in COSTS}
    assert {name: entry["config"] for name, entry in COSTS.items()} == digests
    assert len(COSTS) >= 26


@pytest.mark.parametrize("name", ["digits-small", "points-small", "language-small"])
def test_they_were_counted(name: str) -> None:
    assert measure(ZOO[name]) == COSTS[name]


def test_another_config_has_another_digest() -> None:
    spec = ZOO["digits-small"]
    assert config_digest(replace(spec, config=override(spec.config, {"encoder.num_latents": 3}))) != config_digest(spec)
