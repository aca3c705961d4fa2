"""Set-up for all tests: every shape that the package states is checked while they run."""

import os
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants as hub_constants
import pytest
from jaxtyping import install_import_hook

from hub_server import Hub, serve

# Must come before the first import of the package. `make test-docs` runs the documentation as its readers do, without.
if os.environ.get("PERCEIVERS_CHECK_SHAPES", "1") == "1":
    install_import_hook("perceivers", "beartype.beartype")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--plugin", action="append", default=[], type=Path, help="Python file whose modalities and tasks are tested too"
    )
    parser.addoption("--screenshots", type=Path, metavar="DIR", help="where tests in a browser keep pictures of it")


def pytest_configure(config: pytest.Config) -> None:
    plugins = config.getoption("--plugin")
    if plugins:
        from perceivers.cli.plugins import import_plugins

        import_plugins(plugins)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A stand-in of the Hub, which everything in this process takes for the Hub."""
    with serve() as stand_in:
        monkeypatch.setattr(hub_constants, "ENDPOINT", stand_in.address)
        monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", False)
        yield stand_in
