"""What the tests of the command line share."""

import csv
from pathlib import Path

# The smallest text classifier; it is enough to tell two words apart.
SMALL = (
    "--set=overrides.encoder.num_latents=4",
    "--set=overrides.encoder.latent_channels=16",
    "--set=overrides.encoder.num_layers_per_block=1",
    "--set=overrides.queries.num_channels=16",
    "--set=overrides.inputs.num_channels=16",
    "--set=overrides.inputs.positioned.positions.num_channels=16",
    "--set=overrides.inputs.max_length=16",
)


def write_csv(path: Path, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
