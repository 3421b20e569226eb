"""What follows from a restoration. A restored ledger numbers nothing until a person lets it go on.

Then it numbers on above what is known elsewhere, so that no number means two patients or two studies.
"""

import sqlite3
from typing import Literal

from shared.errors.settings import HomeRestored
from site_node.home.database import transaction

PATIENTS: Literal["patients"] = "patients"
SEQUENCES: Literal["sequences"] = "sequences"
_RESTORED = "restored"


class Restoration:
    """Rows of the table `meta`, on the ledger's own connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    @property
    def made_at(self) -> str:
        """When the backup was made that nobody has let go on yet; empty where there is none."""
        return self._meta(_RESTORED)

    def check(self) -> None:
        """Raise `HomeRestored` until a person has let the home go on."""
        if made_at := self.made_at:
            raise HomeRestored(made_at=made_at)

    def begin(self, made_at: str) -> None:
        """Note that the ledger was restored from a backup of that moment."""
        with transaction(self._db):
            self._put(_RESTORED, made_at)

    def resume(self, *, patients: int, sequences: int) -> None:
        """Let the home go on, with numbers of patients and studies above these."""
        with transaction(self._db):
            self._put(PATIENTS, str(max(patients, self._number(PATIENTS))))
            self._put(SEQUENCES, str(max(sequences, self._number(SEQUENCES))))
            self._db.execute("delete from meta where name = ?", (_RESTORED,))

    def forget_audit_numbers(self) -> None:
        """Let receipts and states have any audit number again: a restored coordinator gives some of them anew."""
        with transaction(self._db):
            self._db.execute("update submissions set changed = 0")
            self._db.execute("update studies set audit_number = null where audit_number is not null")

    def least(self, what: Literal["patients", "sequences"]) -> int:
        """Above which number the next one is; 0 unless the ledger was restored. Raises `HomeRestored`."""
        self.check()
        return self._number(what)

    def _number(self, what: str) -> int:
        return int(self._meta(what) or 0)

    def _meta(self, name: str) -> str:
        row = self._db.execute("select value from meta where name = ?", (name,)).fetchone()
        return "" if row is None else bytes(row[0]).decode()

    def _put(self, name: str, value: str) -> None:
        self._db.execute("insert or replace into meta values (?, ?)", (name, value.encode()))
