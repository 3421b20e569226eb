"""What the scripts build is what the code expects, in both databases."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import JSON, Connection, create_engine
from sqlalchemy.schema import CreateTable

from coordinator.store import sql, tables
from coordinator.store.sql import SqlStore, open_store


def test_the_migrations_make_the_tables(store: SqlStore, url: str) -> None:
    """Each table, column, key and index; and opening again changes nothing."""
    open_store(url).close()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    engine.dispose()


def test_of_two_that_open_an_empty_database_at_once_one_makes_the_tables(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other waits and has them: coordinators beside each other may be started together."""
    migrate, making = sql._migrate, threading.Lock()

    def watched(connection: Connection) -> None:
        assert making.acquire(blocking=False), "two make the tables at once"
        time.sleep(0.3)
        migrate(connection)
        making.release()

    monkeypatch.setattr(sql, "_migrate", watched)
    with ThreadPoolExecutor(2) as pool:
        for opened in pool.map(open_store, [url] * 2):
            opened.close()


def test_a_document_that_is_not_there_is_null() -> None:
    """As in a column of any other kind, so that a query for what is missing means the same in each."""
    columns = [column for table in tables.metadata.tables.values() for column in table.columns]
    kinds = [column.type for column in columns if column.nullable and isinstance(column.type, JSON)]
    assert kinds
    assert all(kind.none_as_null for kind in kinds)


def test_a_moment_keeps_its_time_zone_where_the_database_has_one() -> None:
    """Two servers of one database may be set to different zones."""
    made = str(CreateTable(tables.uploads).compile(create_engine("postgresql+psycopg://")))
    assert "continued_at TIMESTAMP WITH TIME ZONE" in made
