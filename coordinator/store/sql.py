"""The store on SQLAlchemy Core: SQLite (WAL) by default, PostgreSQL by DSN."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, ProgrammingError
from sqlalchemy.pool import ConnectionPoolEntry

from coordinator.store.failures import naming_failures
from coordinator.store.locks import AdvisoryLocks, FileLocks, Locks
from coordinator.store.signals import DatabaseSignals, FolderSignals, Signals
from coordinator.store.work import SqlWork
from shared.backup.database import keep_copy
from shared.errors.inputs import InvalidArgument, SourceMissing
from shared.errors.storage import StoreOutdated, StoreTooNew
from shared.errors.transport import StoreUnreachable

_WRITER = 0x5249434F  # PostgreSQL advisory lock: one writer at a time, as on SQLite; readers do not wait
_LOCK_SECONDS = 30  # how long a change waits for another one
_SETTING, _KINDS = "The database", "sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
_READ, _SYNCED = "ricord_read_only", "ricord_synced"


class SqlStore:
    """A `Store` on one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reading = engine.execution_options(**{_READ: True})
        self._unsynced = engine.execution_options(**{_SYNCED: False})
        self.is_shared = engine.dialect.name == "postgresql"
        self.locks: Locks = AdvisoryLocks(engine) if self.is_shared else FileLocks(Path(f"{engine.url.database}.locks"))
        self.signals: Signals = (
            DatabaseSignals(engine) if self.is_shared else FolderSignals(Path(f"{engine.url.database}.signals"))
        )
        self._writing = threading.Lock()

    @contextmanager
    def begin(self, *, passing: bool = False, synced: bool = True) -> Iterator[SqlWork]:
        """A transaction for changes; raises as `read` does, and `DiskFull`.

        One for what is `passing` waits for no other on PostgreSQL; neither it nor one without `synced` for the disk.
        """
        synced = synced and not passing
        with (
            self._writing_alone(),
            naming_failures(self._engine.dialect.name),
            (self._engine if synced else self._unsynced).begin() as connection,
        ):
            if not passing:
                _lock_for_writing(connection)
            if not synced and connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield SqlWork(connection)

    @contextmanager
    def read(self) -> Iterator[SqlWork]:
        """A transaction that only reads; raises `StoreUnreachable`, and `CoordinatorBusy` with no connection free."""
        with (
            naming_failures(self._engine.dialect.name),
            self._reading.connect() as connection,
        ):
            yield SqlWork(connection)

    @contextmanager
    def _writing_alone(self) -> Iterator[None]:
        """Where a process has SQLite's lock its threads wait for each other here: SQLite looks at it from time to time.

        Raises `StoreUnreachable` after half a minute.
        """
        if self._engine.dialect.name != "sqlite":
            yield
            return
        if not self._writing.acquire(timeout=_LOCK_SECONDS):
            raise StoreUnreachable("another change lasts", kind="sqlite database", setting="database")
        try:
            yield
        finally:
            self._writing.release()

    def close(self) -> None:
        """Close every connection."""
        self.locks.close()
        self._engine.dispose()


def open_store(url: str, *, password_file: Path | None = None) -> SqlStore:
    """The store at `url` (`sqlite:///FILE` or `postgresql+psycopg://…`), brought to the newest schema.

    A SQLite of an older schema is copied before, beside it; a newer one is refused. Raises `StoreUnreachable`,
    `StoreTooNew`, `DiskFull`; `InvalidArgument` for a database of another kind or encoding; `SourceMissing`
    for the password's file. None quotes the URL, which may hold a password.
    """
    engine = _engine(url, password_file)
    try:
        with naming_failures(engine.dialect.name):
            _check_encoding(engine)
            with engine.begin() as connection:
                _lock_for_writing(connection)
                held = MigrationContext.configure(connection).get_current_revision()
                _check_known(held)
                if held not in {None, newest_schema()} and engine.dialect.name == "sqlite":
                    keep_copy(Path(engine.url.database or ""), f"schema-{held}")
                _migrate(connection)
    except BaseException:
        engine.dispose()
        raise
    return SqlStore(engine)


def open_unchanged(url: str, *, password_file: Path | None = None) -> SqlStore:
    """The store at `url` as it is; raises as `open_store` does, and `StoreOutdated` unless its schema is the newest."""
    engine = _engine(url, password_file)
    try:
        _check_schema(engine)
    except BaseException:
        engine.dispose()
        raise
    return SqlStore(engine)


def _check_schema(engine: Engine) -> None:
    file = engine.url.database or ""
    if engine.dialect.name == "sqlite" and not Path(file).exists():
        raise SourceMissing(source=file)
    with naming_failures(engine.dialect.name):
        _check_encoding(engine)
        with engine.connect().execution_options(**{_READ: True}) as connection:
            held = MigrationContext.configure(connection).get_current_revision()
    newest = newest_schema()
    _check_known(held)
    if held != newest:
        raise StoreOutdated(held=str(held), newest=str(newest))


def newest_schema() -> str:
    """The schema that this release makes."""
    return str(ScriptDirectory.from_config(_configuration()).get_current_head())


def is_known_schema(revision: str) -> bool:
    """Whether this release makes that schema, or brings it up to date."""
    return revision in {script.revision for script in ScriptDirectory.from_config(_configuration()).walk_revisions()}


def _check_known(revision: str | None) -> None:
    """Raise `StoreTooNew` for a schema that no script of this release makes."""
    if revision is not None and not is_known_schema(revision):
        raise StoreTooNew(held=revision, newest=newest_schema())


def _engine(url: str, password_file: Path | None) -> Engine:
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise InvalidArgument(name=_SETTING, problem=f"it is no URL of {_KINDS}") from None
    if address.drivername not in ("sqlite", "postgresql+psycopg"):
        raise InvalidArgument(name=_SETTING, problem=f"it is {address.drivername}, not {_KINDS}")
    if address.drivername == "sqlite":
        engine = create_engine(address)
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _on_sqlite_begin)
        return engine
    try:
        password = address.password if password_file is None else password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceMissing(type(error).__name__, source=str(password_file)) from error
    return create_engine(address.set(password=password), pool_pre_ping=True, client_encoding="utf8")


def _check_encoding(engine: Engine) -> None:
    """Connect for the first time. Raises `InvalidArgument` for options that the driver does not know, too."""
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                encoding = connection.execute(text("SHOW server_encoding")).scalar()
                if encoding != "UTF8":
                    raise InvalidArgument(name=_SETTING, problem=f"its encoding is {encoding}, and must be UTF8")
    except (ProgrammingError, TypeError) as error:
        raise InvalidArgument(type(error).__name__, name=_SETTING, problem="its URL has an unknown option") from None


def _lock_for_writing(connection: Connection) -> None:
    """Wait until no other transaction changes anything; SQLite's `BEGIN IMMEDIATE` already did."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER})


def _migrate(connection: Connection, revision: str = "head") -> None:
    config = _configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _on_sqlite_connect(connection: Any, entry: ConnectionPoolEntry) -> None:
    """Durable writes, concurrent readers, and no transaction handling by the driver."""
    del entry
    connection.isolation_level = None
    for pragma in (f"busy_timeout={_LOCK_SECONDS * 1000}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _on_sqlite_begin(connection: Connection) -> None:
    """Take the write lock at once: a transaction that reads before it writes could otherwise fail in between."""
    options = connection.get_execution_options()
    if options.get(_READ):
        connection.exec_driver_sql("BEGIN")
        return
    synced = options.get(_SYNCED, True)
    if connection.info.get(_SYNCED, True) != synced:
        connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if synced else 'NORMAL'}")
        connection.info[_SYNCED] = synced
    connection.exec_driver_sql("BEGIN IMMEDIATE")
