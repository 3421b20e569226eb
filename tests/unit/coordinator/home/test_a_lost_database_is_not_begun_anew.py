"""A federation's database is begun once: where it is lost or damaged no other is made, and no head is signed."""

from pathlib import Path

import pytest

from coordinator.home.init import open_home_store
from shared.errors.storage import DatabaseDamaged, DatabaseMissing
from tests.factories.federation import Federation, make_federation


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    """A federation that has served, so that it has a log and a head of it."""
    federation = make_federation(tmp_path)
    with federation.serving():
        federation.curator()
    assert federation.home.audit_head.exists()
    return federation


def database(federation: Federation) -> Path:
    return federation.home.folder / "coordinator.sqlite"


def test_a_lost_database_is_not_begun_anew(federation: Federation) -> None:
    """It is said to be missing, and none is made, until somebody moves the head away."""
    for suffix in ("", "-wal", "-shm"):
        database(federation).with_name(f"coordinator.sqlite{suffix}").unlink(missing_ok=True)
    with pytest.raises(DatabaseMissing):
        open_home_store(federation.home, federation.settings)
    assert not database(federation).exists()
    federation.home.audit_head.unlink()
    open_home_store(federation.home, federation.settings).close()


@pytest.mark.parametrize("damage", [b"this is a text", b"SQLite format 3\0" + b"\xff" * 600])
def test_a_damaged_database_is_called_damaged(federation: Federation, damage: bytes) -> None:
    """Not one that does not answer, which would send somebody to the settings."""
    for suffix in ("-wal", "-shm"):
        database(federation).with_name(f"coordinator.sqlite{suffix}").unlink(missing_ok=True)
    database(federation).write_bytes(damage)
    with pytest.raises(DatabaseDamaged):
        open_home_store(federation.home, federation.settings)
