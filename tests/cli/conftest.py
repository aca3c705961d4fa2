"""Tiny data and one tiny trained model for the command-line tests."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from perceivers.cli.app import app

Run = Callable[..., Result]

# The smallest text classifier that still learns to tell the two words apart.
SMALL = (
    "--set=overrides.encoder.num_latents=4",
    "--set=overrides.encoder.latent_channels=16",
    "--set=overrides.encoder.num_layers_per_block=1",
    "--set=overrides.queries.num_channels=16",
    "--set=overrides.inputs.num_channels=16",
    "--set=overrides.inputs.positioned.positions.num_channels=16",
    "--set=overrides.inputs.max_length=16",
)
