"""Tiny data and one tiny trained model for the tests of the command line."""

from pathlib import Path
from typing import Protocol

import pytest
from typer.testing import CliRunner, Result

from cli_examples import SMALL, write_csv
from perceivers.cli.app import app


class Cli(Protocol):
    """Runs the command line in this process."""

    def __call__(self, *words: object, stdin: str | None = None) -> Result: ...


@pytest.fixture(scope="session")
def cli() -> Cli:
    def run(*words: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words], input=stdin)

    return run


@pytest.fixture
def small() -> tuple[str, ...]:
    return SMALL


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two classes that differ by one word."""
    folder = tmp_path_factory.mktemp("texts")
    for name, count in (("train", 32), ("test", 8)):
        rows = [("good day", "fine") if i % 2 else ("bad night", "poor") for i in range(count)]
        write_csv(folder / f"{name}.csv", ("text", "label"), rows)
    return folder


@pytest.fixture(scope="session")
def trained(cli: Cli, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a text classifier that was trained by the command line."""
    folder = tmp_path_factory.mktemp("runs") / "texts"
    result = cli(
        "train", "text-classification", "--data", texts, "--output", folder, *SMALL,
        "--epochs", 12, "--batch-size", 8, "--learning-rate", 0.01, "--tracker", "none", "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return folder
