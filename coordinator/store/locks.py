"""Locks that processes of one coordinator share: of several that ask for a name, one holds it.

A lock ends with its block, and with its process however that ends. Beside SQLite the kernel of the host keeps locks;
PostgreSQL keeps those of one session per process.
"""

import contextlib
import fcntl
import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from coordinator.store.failures import naming_failures

# A host that lost its power closes no connection: the database gives up on it after 30 s, and its locks end.
_KEEPALIVE = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 4}


class Locks(Protocol):
    """Locks by their names."""

    def holding(self, name: str) -> AbstractContextManager[bool]:
        """Hold the lock `name` while the block runs, without waiting: yields whether it is held."""

    def holds(self, name: str) -> bool:
        """Whether a lock that this process holds is still its own."""

    def close(self) -> None:
        """Give every lock back."""


class FileLocks:
    """`Locks` of the processes of one host: a byte of one file for each name, which the kernel frees."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @contextmanager
    def holding(self, name: str) -> Iterator[bool]:
        """A lock of an open file description (fcntl(2), F_OFD_SETLK), so threads exclude each other, too."""
        with self._file.open("ab") as file:
            byte = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, _number(name) >> 2, 1, 0)
            try:
                fcntl.fcntl(file, fcntl.F_OFD_SETLK, byte)
            except BlockingIOError:
                yield False
            else:
                yield True

    def holds(self, name: str) -> bool:
        """No lock is lost before its holder ends."""
        del name
        return True

    def close(self) -> None:
        """Each block does."""


class AdvisoryLocks:
    """`Locks` of a session of PostgreSQL, which all locks of this process share."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._mutex = threading.Lock()
        self._session: Connection | None = None
        self._held = dict[str, Connection]()  # asked first: a session is given a lock that it has

    @contextmanager
    def holding(self, name: str) -> Iterator[bool]:
        """Raises `StoreUnreachable`."""
        with naming_failures("postgresql"):
            held = self._acquire(name)
        try:
            yield held
        finally:
            if held:
                self._release(name)

    def holds(self, name: str) -> bool:
        """Asks the session: one that ended, as when the database was restarted, has lost its locks."""
        with self._mutex, contextlib.suppress(SQLAlchemyError):
            session = self._open_session()
            return self._held.get(name) is session
        return False

    def close(self) -> None:
        """End the session."""
        with self._mutex:
            if self._session is not None:
                self._session.close()
            self._session = None

    def _acquire(self, name: str) -> bool:
        with self._mutex:
            session = self._open_session()
            if name in self._held or not _call(session, "pg_try_advisory_lock", name):
                return False
            self._held[name] = session
            return True

    def _release(self, name: str) -> None:
        with self._mutex, contextlib.suppress(SQLAlchemyError):  # the session ended, and its locks with it
            _call(self._held.pop(name), "pg_advisory_unlock", name)

    def _open_session(self) -> Connection:
        """The session, which answers; another where it ended."""
        if self._session is not None:
            with contextlib.suppress(DBAPIError):
                self._session.execute(text("SELECT 1"))
                return self._session
            self._session.invalidate()
            self._session.close()
        self._session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        for setting, value in _KEEPALIVE.items():
            self._session.exec_driver_sql(f"SET {setting} = {value}")
        return self._session


def _call(session: Connection, function: str, name: str) -> bool:
    return bool(session.execute(text(f"SELECT {function}(:key)"), {"key": _number(name) - (1 << 63)}).scalar())


def _number(name: str) -> int:
    """64 bits of the digest of a name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
