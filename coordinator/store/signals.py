"""Words to every process that shares the store: whoever listens hears them within milliseconds, nobody keeps them.

Nothing may depend on a word alone: one that is sent while nobody listens, or while the line is cut, is lost.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

Heard = Callable[[str], None]  # called on the listener's thread, so it must not wait
MISSED = ""  # what is heard in place of words that may have been lost
LONGEST = 4096  # bytes of a word; PostgreSQL takes 8,000, a socket more
_CHANNEL = "ricord"
_SECONDS = 1.0  # until a listener looks whether it should end, a lost line is tried again, a full socket is given up


class Signals(Protocol):
    """Words by which processes wake each other."""

    def send(self, word: str) -> None:
        """Say a word, at most `LONGEST` bytes, to all who listen; nothing happens where it cannot be said."""

    def listening(self, heard: Heard) -> AbstractContextManager[None]:
        """Call `heard` with each word, one's own too, on a thread of its own while the block runs."""


class FolderSignals:
    """`Signals` between the processes of one host: each listener has a datagram socket in the folder (unix(7))."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, word: str) -> None:
        """To every socket in the folder; those of processes that were killed are removed."""
        with contextlib.suppress(FileNotFoundError), self._opened() as opened, _datagrams() as sender:
            sender.settimeout(_SECONDS)
            for listener in self._folder.iterdir():
                try:
                    sender.sendto(word.encode(), _address(opened, listener.name))
                except ConnectionRefusedError:
                    listener.unlink(missing_ok=True)
                except OSError:  # full or just closed: its owner looks by itself from time to time
                    pass

    @contextmanager
    def listening(self, heard: Heard) -> Iterator[None]:
        """The socket is bound when the block begins."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        name = uuid4().hex
        with self._opened() as opened, _datagrams() as receiver:
            receiver.bind(_address(opened, name))
            thread = threading.Thread(target=_hear, args=(receiver, heard), name="signals", daemon=True)
            thread.start()
            try:
                yield
            finally:
                (self._folder / name).unlink(missing_ok=True)
                receiver.shutdown(socket.SHUT_RDWR)
                thread.join()

    @contextmanager
    def _opened(self) -> Iterator[int]:
        opened = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
        try:
            yield opened
        finally:
            os.close(opened)


class DatabaseSignals:
    """`Signals` through PostgreSQL's LISTEN and NOTIFY."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def send(self, word: str) -> None:
        """Nothing is said while the database is away."""
        with contextlib.suppress(SQLAlchemyError), self._engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            connection.execute(text("SELECT pg_notify(:channel, :word)"), {"channel": _CHANNEL, "word": word})

    @contextmanager
    def listening(self, heard: Heard) -> Iterator[None]:
        """`heard` gets `MISSED` whenever the line to the database was cut and is there again."""
        stop, ready = threading.Event(), threading.Event()
        thread = threading.Thread(target=self._hear, args=(heard, stop, ready), name="signals", daemon=True)
        thread.start()
        ready.wait(_SECONDS)
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _hear(self, heard: Heard, stop: threading.Event, ready: threading.Event) -> None:
        while not stop.is_set():
            with contextlib.suppress(SQLAlchemyError, OSError, *self._cut()), self._line() as line:
                line.execute(f"LISTEN {_CHANNEL}")
                if ready.is_set():
                    heard(MISSED)
                ready.set()
                while not stop.is_set():
                    for notice in line.notifies(timeout=_SECONDS, stop_after=1):
                        heard(notice.payload)
            stop.wait(_SECONDS)

    @contextmanager
    def _line(self) -> Iterator[Any]:
        """A connection of psycopg that no other shares."""
        pooled = self._engine.raw_connection()
        line: Any = pooled.driver_connection
        pooled.detach()
        with contextlib.closing(line):
            line.autocommit = True
            yield line

    def _cut(self) -> tuple[type[BaseException], ...]:
        return (self._engine.dialect.loaded_dbapi.Error,)


def _datagrams() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


def _address(opened: int, name: str) -> str:
    """A socket in an open folder; its path may be longer than the 108 bytes of an address."""
    return f"/proc/self/fd/{opened}/{name}"


def _hear(receiver: socket.socket, heard: Heard) -> None:
    while word := receiver.recv(LONGEST):
        heard(word.decode(errors="replace"))
