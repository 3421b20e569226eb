"""How many associations to our SCP were refused or aborted, by reason and AE titles."""

import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from shared.errors.base import RicordError
from shared.frozen import Frozen
from site_node.home.database import open_database, transaction

_MOST = 500  # rows: whoever reaches the port can call itself anything


class AssociationCount(Frozen):
    """Those that ended for one reason between two titles; empty ones were not given, or are beyond the limit."""

    reason: str
    called: str
    calling: str
    count: int
    last_at: datetime


class Associations:
    """The table, on the ledger's own connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, reason: str, called: str, calling: str) -> None:
        """Count one more; a new pair of titles, once there are too many, as one without titles."""
        with transaction(self._db):
            (rows,) = self._db.execute("select count(*) from associations").fetchone()
            where = "select 1 from associations where (reason, called, calling) = (?, ?, ?)"
            if rows >= _MOST and self._db.execute(where, (reason, called, calling)).fetchone() is None:
                called = calling = ""
            self._db.execute(
                "insert into associations values (?, ?, ?, 1, ?)"
                " on conflict do update set count = count + 1, last_at = excluded.last_at",
                (reason, called, calling, datetime.now(UTC).isoformat()),
            )

    def all(self) -> tuple[AssociationCount, ...]:
        """The counts, the latest first."""
        rows = self._db.execute("select * from associations order by last_at desc")
        return tuple(AssociationCount.model_validate(dict(row), strict=False) for row in rows)


def count_association(ledger: Path, reason: str, called: str, calling: str) -> None:
    """Count one in a ledger, from any thread or process; where the ledger cannot be written only the log has it."""
    with suppress(RicordError, sqlite3.Error), closing(open_database(ledger, durable=True)) as db:
        Associations(db).add(reason, called, calling)
