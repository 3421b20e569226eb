"""The ledger's table of the clinical sheets in use."""

import sqlite3

from site_node.home.database import transaction


class SheetsInUse:
    """The table, on the ledger's own connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def put(self, name: str) -> None:
        """Use a clinical sheet, before all others, as of the event that was appended last."""
        with transaction(self._db):
            self._db.execute("insert or replace into sheets select ?, max(number) from events", (name,))

    def all(self) -> dict[str, int]:
        """The names of the sheets, the latest first, each with the number of its last import."""
        return dict(self._db.execute("select name, event from sheets order by event desc").fetchall())
