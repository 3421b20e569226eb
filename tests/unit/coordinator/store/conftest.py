"""An empty database of each kind, and a store on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.store.sql import SqlStore, open_store
from tests.peers import empty_database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.sqlite'}"
    return empty_database(request.getfixturevalue("postgres"))


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    opened = open_store(url)
    yield opened
    opened.close()
