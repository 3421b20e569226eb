"""A database without room says so."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from coordinator.store.records import Cohort
from coordinator.store.sql import open_store
from shared.errors import DiskFull
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
