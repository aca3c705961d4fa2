"""A cache with small models of the released families, once for all pages."""

from pathlib import Path

import pytest

from released_cache import fill_cache


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("hub")
    fill_cache(cache)
    return cache
