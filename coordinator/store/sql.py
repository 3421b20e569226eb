"""The store on SQLAlchemy Core: SQLite (WAL) by default, PostgreSQL by DSN."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    Connection,
    Engine,
    Table,
    create_engine,
    delete,
    event,
    insert,
    make_url,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from coordinator.store import audit_chain, tables
from coordinator.store.audit_chain import AuditEvent
from coordinator.store.records import (
    Agreement,
    Certificate,
    Document,
    Member,
    Site,
    Submission,
    TokenRow,
)
from shared.errors import DiskFull, StoreUnreachable
from shared.frozen import Frozen
from shared.ids import AgreementId, Sha256, SiteId

Record = TypeVar("Record", bound=Frozen)

_WRITER = 0x5249434F  # PostgreSQL advisory lock: one writer at a time, as on SQLite; readers do not wait
_READ = "ricord_read_only"
_FULL = frozenset({sqlite3.SQLITE_FULL, "53100"})  # the other is PostgreSQL's disk_full


class SqlStore:
    """A `Store` on one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def begin(self) -> Iterator["SqlWork"]:
        """A transaction for changes; raises `DiskFull`."""
        try:
            with self._engine.begin() as connection:
                _lock_for_writing(connection)
                yield SqlWork(connection)
        except OperationalError as error:
            codes = {getattr(error.orig, name, None) for name in ("sqlite_errorcode", "sqlstate")}
            if codes & _FULL:
                raise DiskFull(folder="the coordinator's database") from None
            raise

    @contextmanager
    def read(self) -> Iterator["SqlWork"]:
        """A transaction that only reads."""
        with self._engine.connect().execution_options(**{_READ: True}) as connection:
            yield SqlWork(connection)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def open_store(url: str, *, password_file: Path | None = None) -> SqlStore:
    """The store at `url` (`sqlite:///FILE` or `postgresql+psycopg://…`), brought to the newest schema.

    Raises `StoreUnreachable` without quoting the URL, which may hold a password.
    """
    address = make_url(url)
    if password_file is not None:
        address = address.set(password=password_file.read_text(encoding="utf-8").strip())
    engine = create_engine(address, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _on_sqlite_begin)
    try:
        with engine.begin() as connection:
            _lock_for_writing(connection)
            _migrate(connection)
    except OperationalError as error:
        engine.dispose()
        raise StoreUnreachable(type(error.orig).__name__, kind=engine.dialect.name) from None
    return SqlStore(engine)


def _lock_for_writing(connection: Connection) -> None:
    """Wait until no other transaction changes anything; SQLite's `BEGIN IMMEDIATE` already did."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER})


def _migrate(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _on_sqlite_connect(connection: Any, entry: ConnectionPoolEntry) -> None:
    """Durable writes, concurrent readers, and no transaction handling by the driver."""
    del entry
    connection.isolation_level = None
    for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _on_sqlite_begin(connection: Connection) -> None:
    """Take the write lock at once: a transaction that reads before it writes could otherwise fail in between."""
    reading = connection.get_execution_options().get(_READ)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


class SqlWork:
    """One transaction; see `interface.Work` for what each method promises."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def site(self, reference: str) -> Site | None:
        """By name or SITEID."""
        row = tables.sites.c
        rows = self._all(Site, tables.sites, or_(row.name == reference, row.site_id == reference))
        return rows[0] if rows else None

    def sites(self) -> Sequence[Site]:
        """By name."""
        return self._all(Site, tables.sites, order=tables.sites.c.name)

    def put_site(self, site: Site) -> None:
        """Add or replace."""
        self._put(tables.sites, site)

    def reserve_site_id(self, site_id: SiteId) -> bool:
        """Mark as issued."""
        issued = select(tables.issued_site_ids).where(tables.issued_site_ids.c.site_id == str(site_id))
        if self._connection.execute(issued).first() is not None:
            return False
        self._connection.execute(insert(tables.issued_site_ids).values(site_id=str(site_id)))
        return True

    def agreement(self, agreement_id: AgreementId) -> Agreement | None:
        """By id."""
        return self._get(Agreement, tables.agreements, id=agreement_id)

    def agreements(self) -> Sequence[Agreement]:
        """By site name."""
        return self._all(Agreement, tables.agreements, order=tables.agreements.c.site_name)

    def put_agreement(self, agreement: Agreement) -> None:
        """Add or replace."""
        self._put(tables.agreements, agreement)

    def token(self, digest: Sha256) -> TokenRow | None:
        """By digest."""
        return self._get(TokenRow, tables.tokens, digest=digest)

    def add_token(self, token: TokenRow) -> None:
        """Add it."""
        self._connection.execute(insert(tables.tokens).values(**_plain(token)))

    def use_token(self, digest: Sha256, at: datetime) -> bool:
        """One statement, so that of two users at once only one succeeds."""
        row = tables.tokens.c
        unused = update(tables.tokens).where(row.digest == str(digest), row.used_at.is_(None))
        return self._connection.execute(unused.values(used_at=at)).rowcount == 1

    def certificate(self, serial: str) -> Certificate | None:
        """By serial."""
        return self._get(Certificate, tables.certificates, serial=serial)

    def certificates(self, role: str, name: str) -> Sequence[Certificate]:
        """The one that ends last first."""
        row = tables.certificates.c
        return self._all(Certificate, tables.certificates, row.role == role, row.name == name, order=row.ends_at.desc())

    def add_certificate(self, certificate: Certificate) -> None:
        """Add it."""
        self._connection.execute(insert(tables.certificates).values(**_plain(certificate)))

    def revoke(self, role: str, name: str, at: datetime) -> int:
        """Every good one of a member."""
        row = tables.certificates.c
        good = update(tables.certificates).where(row.role == role, row.name == name, row.revoked_at.is_(None))
        return self._connection.execute(good.values(revoked_at=at)).rowcount

    def member(self, role: str, name: str) -> Member | None:
        """By role and name."""
        return self._get(Member, tables.members, role=role, name=name)

    def put_member(self, member: Member) -> None:
        """Add or replace."""
        self._put(tables.members, member)

    def submission(self, submission_id: Sha256) -> Submission | None:
        """By id."""
        return self._get(Submission, tables.submissions, id=submission_id)

    def submissions(self, site_id: SiteId | None = None) -> Sequence[Submission]:
        """By site and sequence."""
        row = tables.submissions.c
        conditions = () if site_id is None else (row.site_id == str(site_id),)
        return self._all(Submission, tables.submissions, *conditions, order=(row.site_id, row.sequence))

    def add_submission(self, submission: Submission) -> bool:
        """Once per id."""
        if self.submission(submission.id) is not None:
            return False
        self._connection.execute(insert(tables.submissions).values(**_plain(submission)))
        return True

    def events(self, after: int = 0, limit: int = 1000) -> Sequence[AuditEvent]:
        """In order."""
        row = tables.events.c
        return self._all(AuditEvent, tables.events, row.number > after, order=row.number, limit=limit)

    def append_event(self, *, at: datetime, actor: str, action: str, about: str, result: str = "done") -> AuditEvent:
        """The next link."""
        last = self._all(AuditEvent, tables.events, order=tables.events.c.number.desc(), limit=1)
        linked = audit_chain.link(
            last[0] if last else None, at=at, actor=actor, action=action, about=about, result=result
        )
        self._connection.execute(insert(tables.events).values(**_plain(linked)))
        return linked

    def document(self, kind: str, name: str) -> Document | None:
        """By kind and name."""
        return self._get(Document, tables.documents, kind=kind, name=name)

    def documents(self, kind: str) -> Sequence[Document]:
        """The oldest change first."""
        row = tables.documents.c
        return self._all(Document, tables.documents, row.kind == kind, order=(row.changed_at, row.name))

    def put_document(self, document: Document) -> None:
        """Add or replace."""
        self._put(tables.documents, document)

    def delete_document(self, kind: str, name: str) -> None:
        """By kind and name."""
        row = tables.documents.c
        self._connection.execute(delete(tables.documents).where(row.kind == kind, row.name == name))

    def _get(self, record: type[Record], table: Table, **key: str) -> Record | None:
        rows = self._all(record, table, *(table.c[name] == str(value) for name, value in key.items()))
        return rows[0] if rows else None

    def _all(
        self, kind: type[Record], table: Table, *conditions: Any, order: Any = None, limit: int | None = None
    ) -> Sequence[Record]:
        query = select(table).where(*conditions).limit(limit)
        if order is not None:
            query = query.order_by(*(order if isinstance(order, tuple) else (order,)))
        return [kind.model_validate(dict(row)) for row in self._connection.execute(query).mappings()]

    def _put(self, table: Table, record: Frozen) -> None:
        """Replace the row with the record's primary key, or add it."""
        values = _plain(record)
        same = [column == values[column.name] for column in table.primary_key]
        if self._connection.execute(update(table).where(*same).values(**values)).rowcount == 0:
            self._connection.execute(insert(table).values(**values))


def _plain(record: Frozen) -> dict[str, Any]:
    """Column values: identifiers and enumerations as plain text, moments as they are, documents as mappings."""
    return {name: _plain_value(value) for name, value in record.model_dump().items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Enum):
        return str(value.value)
    return str(value) if isinstance(value, str) else value
