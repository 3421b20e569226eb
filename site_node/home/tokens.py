"""The ledger's tables of what was received before, as salted digests: inbox entries and accession numbers."""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from site_node.home.database import transaction


class Statements(NamedTuple):
    """How one table is asked for a token, and given one with the time."""

    find: str
    add: str


INBOX_ENTRIES = Statements(
    "select 1 from inbox_entries where token = ?", "insert or ignore into inbox_entries values (?, ?)"
)
ACCESSION_NUMBERS = Statements(
    "select 1 from accession_numbers where token = ?", "insert or ignore into accession_numbers values (?, ?)"
)


class Tokens:
    """One of the tables, on the ledger's own connection. `token` makes the salted digest of a text."""

    def __init__(self, db: sqlite3.Connection, statements: Statements, token: Callable[[str], str]) -> None:
        self._db = db
        self._statements = statements
        self._token = token

    def __contains__(self, text: str) -> bool:
        return self._db.execute(self._statements.find, (self._token(text),)).fetchone() is not None

    def add(self, text: str) -> None:
        """Enter a text; adding it again changes nothing."""
        with transaction(self._db):
            self._db.execute(self._statements.add, (self._token(text), datetime.now(UTC).isoformat()))
