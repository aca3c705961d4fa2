"""Set-up for all tests: every shape that the package states is checked while they run."""

import threading
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants as hub_constants
import pytest
from jaxtyping import install_import_hook

from hub_server import Hub

# Must come before the first import of the package.
install_import_hook("perceivers", "beartype.beartype")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the contract tests walk what a file outside the package brings, too."""
    parser.addoption(
        "--plugin", action="append", default=[], type=Path, help="Python file whose modalities and tasks are tested too"
    )


def pytest_configure(config: pytest.Config) -> None:
    plugins = config.getoption("--plugin")
    if plugins:
        from perceivers.cli.plugins import import_plugins

        import_plugins(plugins)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A stand-in of the Hub, which everything in this process takes for the Hub."""
    stand_in = Hub()
    monkeypatch.setattr(hub_constants, "ENDPOINT", stand_in.address)
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", False)
    thread = threading.Thread(target=stand_in.server.serve_forever, daemon=True)
    thread.start()
    yield stand_in
    stand_in.server.shutdown()
    stand_in.server.server_close()
    thread.join()
