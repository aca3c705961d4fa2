"""The page with all models that ship, shown once for all tests of a process."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from gradio_client import Client

from web_pages import left_open, shown


@pytest.fixture(autouse=True)
def _left_open() -> Iterator[None]:
    with left_open():
        yield


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Where all models that ship are shown."""
    with shown("--max-upload", "2MB", "--max-seconds", "8") as address:
        yield address


@pytest.fixture
def ask(address: str) -> Iterator[Callable[..., Any]]:
    """Asks the page as a program does: the name of a question, and what its components hold."""
    with closing(Client(address, verbose=False, analytics_enabled=False)) as client:
        yield lambda name, *given: client.predict(*given, api_name=f"/{name}")
