"""Locks that processes of one coordinator share: of several that ask for a name, one holds it.

A lock ends with its block, and with its process however that ends. On SQLite there is one process; on PostgreSQL the
database keeps the locks of one session per process.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from coordinator.store.failures import naming_failures

# A host that lost its power closes no connection: the database gives up on it after 30 s, and its locks end.
_KEEPALIVE = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 4}


class Locks(Protocol):
    """Locks by their names."""

    def holding(self, name: str) -> AbstractContextManager[bool]:
        """Hold the lock `name` while the block runs, without waiting: yields whether it is held."""


class ProcessLocks:
    """`Locks` of a coordinator that is one process."""

    def __init__(self) -> None:
        self._held = set[str]()
        self._mutex = threading.Lock()

    @contextmanager
    def holding(self, name: str) -> Iterator[bool]:
        """In memory."""
        with self._mutex:
            free = name not in self._held
            self._held.add(name)
        try:
            yield free
        finally:
            if free:
                with self._mutex:
                    self._held.remove(name)


class AdvisoryLocks:
    """`Locks` of a session of PostgreSQL, which all locks of this process share."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._mutex = threading.Lock()
        self._session: Connection | None = None
        self._held = set[str]()  # a session is given its own lock again, so this process asks here first

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

    def _acquire(self, name: str) -> bool:
        with self._mutex:
            if name in self._held or not self._ask("SELECT pg_try_advisory_lock(:key)", name):
                return False
            self._held.add(name)
            return True

    def _release(self, name: str) -> None:
        with self._mutex:
            self._held.remove(name)
            with contextlib.suppress(DBAPIError):  # the session ended, and its locks with it
                self._ask("SELECT pg_advisory_unlock(:key)", name)

    def _ask(self, query: str, name: str) -> bool:
        """Ask the session; one that ended, as when the database was restarted, is replaced."""
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
        if self._session is not None:
            with contextlib.suppress(DBAPIError):
                return bool(self._session.execute(text(query), {"key": key}).scalar())
            self._session.invalidate()
            self._session.close()
        self._session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        for setting, seconds in _KEEPALIVE.items():
            self._session.exec_driver_sql(f"SET {setting} = {seconds}")
        return bool(self._session.execute(text(query), {"key": key}).scalar())
