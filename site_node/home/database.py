"""The ledger's SQLite file: how it is opened, brought up to date and changed."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.backup.database import keep_copy
from shared.durable import damage_of, write_whole
from shared.errors.settings import LedgerMissing, LedgerTooNew
from shared.errors.storage import DatabaseDamaged, DiskFull, HomeFailed
from site_node.home.migrations import STEPS

BEGUN = ".begun"  # the end of the mark's name
_MMAP_BYTES = 1 << 30  # keeps a lookup among a million patients fast
_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})


def open_database(file: Path, *, durable: bool) -> sqlite3.Connection:
    """Open or make the file, for its owner only; on return it has every table.

    A durable file is begun once: beside it lies a mark that it was, without which nobody could tell a lost file from a
    new home. Raises `LedgerMissing`, `LedgerTooNew`, `DatabaseDamaged`, `DiskFull`, `HomeFailed`.
    """
    mark = file.with_suffix(BEGUN)
    if mark.exists() and not file.exists():
        raise LedgerMissing(file=file.name)
    with _translated():
        db = sqlite3.connect(file, isolation_level=None, timeout=30)
        try:
            file.chmod(0o600)
            db.row_factory = sqlite3.Row
            db.execute("pragma journal_mode = wal")
            db.execute(f"pragma synchronous = {'full' if durable else 'off'}")
            db.execute("pragma foreign_keys = on")
            db.execute(f"pragma mmap_size = {_MMAP_BYTES}")
            _migrate(db, file)
        except BaseException:
            db.close()
            raise
    if durable and not mark.exists():
        write_whole(mark, b"", mode=0o600)
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """One change, committed whole or rolled back, with no other writer in between. Raises `DiskFull`, `HomeFailed`.

    A transaction within another is part of that one.
    """
    is_part = db.in_transaction
    if is_part:
        yield
        return
    with _translated():
        db.execute("begin immediate")
        try:
            yield
            db.execute("commit")
        except BaseException:
            if db.in_transaction:  # a full disk may have ended it
                db.execute("rollback")
            raise


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if damage := damage_of(error):
            raise DatabaseDamaged(file="The ledger", problem=damage) from error
        if not isinstance(error, sqlite3.OperationalError):
            raise
        if getattr(error, "sqlite_errorcode", None) in _FULL:
            raise DiskFull(folder="the home, for the ledger") from error
        raise HomeFailed(folder="The ledger", problem=getattr(error, "sqlite_errorname", "OperationalError")) from error


def _migrate(db: sqlite3.Connection, file: Path) -> None:
    """Take the missing steps, each in one transaction, after a copy; `user_version` counts those taken."""
    if _version(db) < len(STEPS) and db.execute("select exists (select 1 from sqlite_master)").fetchone()[0]:
        keep_copy(file, f"version-{_version(db)}")
    while (version := _version(db)) != len(STEPS):
        if version > len(STEPS):
            raise LedgerTooNew(file=str(file), held=str(version), known=str(len(STEPS)))
        with transaction(db):
            if _version(db) == version:  # else another process was first
                STEPS[version](db)
                db.execute(f"pragma user_version = {version + 1}")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("pragma user_version").fetchone()[0])
