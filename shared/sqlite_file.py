"""A small SQLite file of a program: opened, brought up to date, and changed by one thread at a time."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shared.errors.settings import LedgerTooNew
from shared.errors.storage import DiskFull, HomeFailed


class SqliteFile:
    """The open file, or one in memory that ends with the program; several processes may change it.

    Step n of `steps` is the script that takes a file of version n to version n + 1; a released step never changes.
    Raises `LedgerTooNew`, `DiskFull`, `HomeFailed`.
    """

    def __init__(self, file: Path | None, steps: Sequence[str]) -> None:
        self._steps = steps
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
        while (version := self._version()) != len(self._steps):
            if version > len(self._steps):
                raise LedgerTooNew(file=str(self._file), held=str(version), known=str(len(self._steps)))
            with self.changing() as db:
                if self._version() == version:  # else another process was first
                    for statement in _statements(self._steps[version]):
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


def _statements(script: str) -> Iterator[str]:
    """Its statements; a trigger has semicolons of its own."""
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
