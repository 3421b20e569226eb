"""The SQLite file of a console's people: opened, brought up to date, and changed by one thread at a time."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors.settings import LedgerTooNew
from shared.errors.storage import DiskFull, HomeFailed

# Step n takes a file of version n to version n + 1. A released step never changes.
STEPS = (
    """
create table people (
    number integer primary key autoincrement, name text not null unique collate nocase, role text not null,
    passphrase text, since text not null
) strict;
create table invitations (
    digest text primary key, person integer not null unique references people (number) on delete cascade,
    expires_at text not null
) strict, without rowid;
create table sessions (
    digest text primary key, person integer not null references people (number) on delete cascade,
    boot text not null, began real not null, seen real not null
) strict, without rowid;
create index sessions_by_person on sessions (person);
""",
)


class Store:
    """The open file, or one in memory that ends with the program; several processes may change it.

    Raises `LedgerTooNew`, `DiskFull`, `HomeFailed`.
    """

    def __init__(self, file: Path | None) -> None:
        self._lock = threading.RLock()
        self._file = file
        with self._translated():
            self._db = sqlite3.connect(file or ":memory:", isolation_level=None, timeout=30, check_same_thread=False)
            try:
                if file is not None:
                    file.chmod(0o600)
                for pragma in ("journal_mode = wal", "synchronous = full", "foreign_keys = on"):
                    self._db.execute(f"pragma {pragma}")
                self._migrate()
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time."""
        with self._lock, self._translated():
            yield self._db

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """The connection in one transaction, committed whole or rolled back."""
        with self.reading() as db:
            db.execute("begin immediate")
            try:
                yield db
                db.execute("commit")
            except BaseException:
                if db.in_transaction:  # a full disk may have ended it
                    db.execute("rollback")
                raise

    def _migrate(self) -> None:
        while (version := self._version()) != len(STEPS):
            if version > len(STEPS):
                raise LedgerTooNew(file=str(self._file), held=str(version), known=str(len(STEPS)))
            with self.changing() as db:
                if self._version() == version:  # else another process was first
                    for statement in STEPS[version].split(";"):
                        db.execute(statement)
                    db.execute(f"pragma user_version = {version + 1}")

    def _version(self) -> int:
        return int(self._db.execute("pragma user_version").fetchone()[0])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            name = self._file.name if self._file else "memory"
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise DiskFull(folder=f"the home, for {name}") from error
            raise HomeFailed(folder=name, problem=getattr(error, "sqlite_errorname", "OperationalError")) from error
