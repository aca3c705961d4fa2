"""Counts every model of the zoo and writes what `perceivers models` lists: python benchmarks/zoo_costs.py."""

import json

from perceivers.cli.listing import COSTS_FILE, measure
from perceivers.zoo import models

if __name__ == "__main__":
    entries = {spec.name: measure(spec) for spec in models()}
    COSTS_FILE.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    print(f"{COSTS_FILE}: {len(entries)} models")
