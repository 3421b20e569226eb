"""The ledger's table of patients: a number for each, and their identity, sealed so that the ledger cannot read it.

A token identifies a patient: an HMAC that only the site's secret can make. One writer assigns the numbers.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from shared.errors.inputs import LinkageConflict
from site_node.home.database import transaction
from site_node.home.restoration import PATIENTS, Restoration

INTERVALS_NOT_KEPT = "intervals to the earlier contribution not kept"


class PatientRow(NamedTuple):
    """One patient. `link` is the sealed identity; number 0 means: assign the next number."""

    token: bytes
    number: int
    link: bytes | None
    flag: str = ""


class Patients:
    """The table, on the ledger's own connection."""

    def __init__(self, db: sqlite3.Connection, restoration: Restoration) -> None:
        self._db = db
        self._restoration = restoration

    def number(self, token: bytes, seal: Callable[[], bytes] | None = None) -> int:
        """The patient's number, a counter from 1; the same token always gets the same.

        A known patient is looked up without a transaction. `seal` is called only where no link is stored. Raises
        `HomeRestored` for a new patient of a restored home.
        """
        row = self._db.execute("select number, link is null from patients where token = ?", (token,)).fetchone()
        if row is not None and (seal is None or not row[1]):
            return int(row[0])
        link = seal() if seal is not None else None
        with transaction(self._db):
            (number,) = self._db.execute(
                "insert into patients (token, number, link)"
                " select ?, max(coalesce(max(number), 0), ?) + 1, ? from patients where true"
                " on conflict (token) do update set link = coalesce(link, excluded.link) returning number",
                (token, self._restoration.least(PATIENTS), link),
            ).fetchone()
        return int(number)

    def link(self, token: bytes) -> bytes | None:
        """The patient's sealed identity; `None` where none is stored."""
        row = self._db.execute("select link from patients where token = ?", (token,)).fetchone()
        return row[0] if row else None

    def with_number(self, number: int) -> PatientRow | None:
        """The patient who has that number."""
        row = self._db.execute("select token, number, link, flag from patients where number = ?", (number,)).fetchone()
        return PatientRow(*row) if row else None

    def all(self) -> Iterator[PatientRow]:
        """Every patient, by number."""
        return map(PatientRow._make, self._db.execute("select token, number, link, flag from patients order by number"))

    def flagged(self) -> int:
        """The number of patients whose intervals to an earlier contribution are not kept."""
        return int(self._db.execute("select count(*) from patients where flag <> ''").fetchone()[0])

    def add(self, rows: Iterable[PatientRow]) -> int:
        """Enter patients in one transaction, complete the rows of known patients, and return how many were new.

        Raises `LinkageConflict` when a token has another number or a number another token; then nothing changes.
        """
        new = 0
        with transaction(self._db):
            for row in rows:
                new += self._add(row)
        return new

    def _add(self, row: PatientRow) -> bool:
        known = self._db.execute("select number from patients where token = ?", (row.token,)).fetchone()
        if known is not None:
            if row.number not in {0, known[0]}:
                raise LinkageConflict(problem="a patient has another number in this ledger")
            self._db.execute(
                "update patients set link = coalesce(?, link), flag = ? where token = ?",
                (row.link, row.flag, row.token),
            )
            return False
        try:
            self._db.execute(
                "insert into patients select ?, case ? when 0 then max(coalesce(max(number), 0), ?) + 1 else ? end,"
                " ?, ? from patients",
                (row.token, row.number, self._restoration.least(PATIENTS), row.number, row.link, row.flag),
            )
        except sqlite3.IntegrityError:
            raise LinkageConflict(problem="a number belongs to another patient in this ledger") from None
        return True
