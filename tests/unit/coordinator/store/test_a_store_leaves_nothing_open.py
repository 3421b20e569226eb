"""What was opened for a store is closed with it, and with an opening that is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from coordinator.store import sql
from coordinator.store.sql import SqlStore, open_store, open_unchanged
from shared.errors.storage import StoreOutdated, StoreTooNew


def open_to(url: str) -> int:
    """How many files or connections of this database this process holds open."""
    address = make_url(url)
    if address.drivername == "sqlite":
        folder = Path(address.database or "").parent
        handles = [handle.readlink() for handle in Path("/proc/self/fd").iterdir() if handle.is_symlink()]
        return sum(path.is_relative_to(folder) for path in handles)
    engine = create_engine(address.set(database="postgres"))
    with engine.connect() as connection:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name")
        count = connection.execute(query, {"name": address.database}).scalar_one()
    engine.dispose()
    return int(count)


def test_a_closed_store_has_no_connection(url: str) -> None:
    """Neither for its rows, nor for locks, nor for words, though a lock was held until then."""
    store = open_store(url)
    held = store.locks.holding("shared")
    assert held.__enter__()
    with store.signals.listening(lambda word: None), store.read() as reading:
        assert reading.sites() == []
    if store.is_shared:
        store.close()
        assert open_to(url) == 0
        return
    held.__exit__(None, None, None)
    store.close()
    assert open_to(url) == 0


@pytest.mark.parametrize(
    ("opening", "made", "error"), [(open_store, "9999", StoreTooNew), (open_unchanged, "0003", StoreOutdated)]
)
def test_a_refused_opening_leaves_no_connection(
    url: str, opening: Callable[[str], SqlStore], made: str, error: type[Exception]
) -> None:
    """Of a database that is newer, or older, than this release."""
    engine = create_engine(url)
    with engine.begin() as connection:
        sql._migrate(connection, "0003")
        connection.execute(text("UPDATE alembic_version SET version_num = :made"), {"made": made})
    engine.dispose()
    with pytest.raises(error) as caught:
        opening(url)
    assert open_to(url) == 0
    del caught


def test_opening_it_unchanged_waits_for_nobody(url: str) -> None:
    """A change that lasts is in no reader's way."""
    store = open_store(url)
    with store.begin():
        open_unchanged(url).close()
    store.close()


def test_a_listener_takes_no_connection_of_others(url: str) -> None:
    """A store of a single connection goes on beside it."""
    open_store(url).close()
    small = SqlStore(create_engine(url, pool_size=1, max_overflow=0, pool_timeout=1))
    with small.signals.listening(lambda word: None), small.read() as reading:
        assert reading.sites() == []
    small.close()
