"""A database without room, or that does not answer, says so."""

import sqlite3
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from coordinator.store import sql
from coordinator.store.records import Cohort
from coordinator.store.sql import SqlStore, open_store
from shared.errors.storage import DiskFull
from shared.errors.transport import CoordinatorBusy, StoreUnreachable
from shared.ids import RunId, Sha256

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def test_a_full_disk_is_said_so(tmp_path: Path) -> None:
    """It is no defect: the transaction is rolled back, and the next one may go on."""
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    cohort = Cohort(
        id=RunId.random(),
        name="ricord",
        policy="cms-11",
        site_count=3,
        computed_at=NOW,
        table_sha256=Sha256("0" * 64),
        table="x" * 1_000_000,
    )
    with store.begin() as work:
        work._connection.exec_driver_sql("PRAGMA max_page_count = 1")  # SQLite takes as many as there are, and no more
    with pytest.raises(DiskFull), store.begin() as work:
        work.add_cohort(cohort)
    with store.begin() as work:
        work._connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        assert work.cohort(cohort.id) is None
        work.add_cohort(cohort)
    store.close()


def test_a_locked_database_is_said_so(tmp_path: Path) -> None:
    """It is no defect either, and says nothing of the statement."""
    file = tmp_path / "store.sqlite"
    store = open_store(f"sqlite:///{file}")
    with store.begin() as work:
        work._connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(StoreUnreachable), store.begin():
        pass
    other.close()
    with store.begin():
        pass
    store.close()


def test_a_database_that_fails_a_reader_is_said_so(tmp_path: Path) -> None:
    """A table that cannot be read stands for a server that is restarted."""
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    with store.begin() as work:
        work._connection.exec_driver_sql("DROP TABLE cohorts")
    with pytest.raises(StoreUnreachable), store.read() as reading:
        reading.cohort(RunId.random())
    store.close()


def test_a_change_that_waits_too_long_for_another_is_said_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that holds the lock for longer than anybody waits is no defect; later the change succeeds."""
    monkeypatch.setattr(sql, "_LOCK_SECONDS", 1)
    holder, other = open_store(url), open_store(url)
    with holder.begin(), pytest.raises(StoreUnreachable), other.begin():
        pass
    with other.begin() as work:
        work.append_event(at=NOW, actor="a", action="b", about="c")
    holder.close()
    other.close()


def test_with_no_connection_free_the_coordinator_is_busy(store: SqlStore, url: str) -> None:
    """It is no defect, and says when to try again."""
    del store
    small = SqlStore(create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.1))
    with small.read(), pytest.raises(CoordinatorBusy) as caught, small.read():
        pass
    assert caught.value.seconds > 0
    with small.read() as reading:
        assert reading.sites() == []
    small.close()


def test_a_server_that_ends_a_connection_is_said_so(postgres: str) -> None:
    """As a restart does, in the middle of a transaction and between two; the next transaction has a new connection."""
    store = open_store(postgres)

    def end_all() -> None:
        engine = create_engine(postgres, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            own = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            connection.execute(text(own + " AND datname = current_database()"))
        engine.dispose()

    def ended_within(transaction: AbstractContextManager[Any]) -> None:
        with transaction as work:
            end_all()
            work.sites()

    for transaction in (store.begin(), store.read()):
        with pytest.raises(StoreUnreachable):
            ended_within(transaction)
    end_all()
    with store.read() as reading:
        assert reading.sites() == []
    store.close()
