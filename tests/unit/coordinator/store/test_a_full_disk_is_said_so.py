"""A database without room, or that does not answer, says so."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coordinator.store.records import Cohort
from coordinator.store.sql import open_store
from shared.errors import DiskFull, StoreUnreachable
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
