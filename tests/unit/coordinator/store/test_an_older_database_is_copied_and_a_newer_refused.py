"""A database of an earlier release is copied before it is moved, and one of a newer release is refused unchanged."""

from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from coordinator.store import sql
from coordinator.store.sql import newest_schema, open_store, open_unchanged
from shared.backup import database
from shared.errors.storage import DiskFull, StoreOutdated, StoreTooNew
from tests.peers import empty_database


def schema_of(url: str) -> str | None:
    engine = create_engine(url)
    with engine.connect() as connection:
        held = MigrationContext.configure(connection).get_current_revision()
    engine.dispose()
    return held


def set_schema(url: str, *, made: str, said: str | None = None) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        sql._migrate(connection, made)
        if said is not None:
            connection.execute(text("UPDATE alembic_version SET version_num = :said"), {"said": said})
    engine.dispose()


def test_a_copy_of_before_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a SQLite database, once; without room for it nothing is moved; a new database has none."""
    url, kept = f"sqlite:///{tmp_path / 'c.sqlite'}", tmp_path / "c.sqlite.schema-0003"
    set_schema(url, made="0003")

    def full(*_: object) -> None:
        raise DiskFull(folder="here")

    with monkeypatch.context() as patch:
        patch.setattr(database, "copy_sqlite", full)
        with pytest.raises(DiskFull):
            open_store(url)
    assert schema_of(url) == "0003"
    with pytest.raises(StoreOutdated):
        open_unchanged(url)
    open_store(url).close()
    assert (schema_of(url), schema_of(f"sqlite:///{kept}")) == (newest_schema(), "0003")
    open_store(url).close()
    open_store(f"sqlite:///{tmp_path / 'new.sqlite'}").close()
    assert {path.name for path in tmp_path.iterdir()} == {"c.sqlite", kept.name, "new.sqlite"}


def test_an_older_one_of_a_server_is_moved_where_it_is(postgres: str) -> None:
    """Without a copy: its operator has backups of the server."""
    url = empty_database(postgres)
    set_schema(url, made="0003")
    open_store(url).close()
    assert schema_of(url) == newest_schema()


def test_a_newer_one_is_refused_unchanged(url: str) -> None:
    """By whatever opens it; one sentence says what to install."""
    set_schema(url, made="head", said="9999")
    for opening in (open_store, open_unchanged):
        with pytest.raises(StoreTooNew, match="schema 9999, here"):
            opening(url)
    assert schema_of(url) == "9999"
