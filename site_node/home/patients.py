"""The ledger's table of patients: a number for each, and what it stands for, sealed so that the ledger cannot read it.

A patient is known by a token, an HMAC that only the site's secret can make. Numbers are given out by one writer.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

from shared.errors import LinkageConflict

SCHEMA = """
create table if not exists patients (token blob primary key, number integer not null unique, link blob,
    flag text not null default '') strict, without rowid;
"""
INTERVALS_NOT_KEPT = "intervals to the earlier contribution not kept"
_ADDED = ("link blob", "flag text not null default ''")  # columns that the first ledgers had not


class PatientRow(NamedTuple):
    """One patient. `link` is sealed; a number of 0 asks for the next one."""

    token: bytes
    number: int
    link: bytes | None
    flag: str = ""


class Patients:
    """The table, on the ledger's own connection.

    Args:
        db: the connection.
        transaction: opens a transaction that ends whole or not at all.
    """

    def __init__(self, db: sqlite3.Connection, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        self._db = db
        self._transaction = transaction
        if self._missing():
            with transaction():
                for column in self._missing():  # asked again: another process may have been first
                    db.execute(f"alter table patients add column {column}")

    def _missing(self) -> list[str]:
        there = {row[1] for row in self._db.execute("pragma table_info (patients)")}
        return [column for column in _ADDED if column.split()[0] not in there]

    def number(self, token: bytes, seal: Callable[[], bytes] | None = None) -> int:
        """The patient's number, a counter from 1; the same token always gets the same.

        A known patient is looked up without a transaction. `seal` is asked only where no link is kept.
        """
        row = self._db.execute("select number, link is null from patients where token = ?", (token,)).fetchone()
        if row is not None and (seal is None or not row[1]):
            return int(row[0])
        link = seal() if seal is not None else None
        with self._transaction():
            (given,) = self._db.execute(
                "insert into patients (token, number, link)"
                " select ?, coalesce(max(number), 0) + 1, ? from patients where true"
                " on conflict (token) do update set link = coalesce(link, excluded.link) returning number",
                (token, link),
            ).fetchone()
        return int(given)

    def link(self, token: bytes) -> bytes | None:
        """What stands behind the patient, sealed; `None` where nothing is kept."""
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
        """How many patients' intervals to an earlier contribution are not kept."""
        return int(self._db.execute("select count(*) from patients where flag <> ''").fetchone()[0])

    def add(self, rows: Iterable[PatientRow]) -> int:
        """Enter patients in one transaction; what a known one has not yet is filled in. How many were new.

        Raises `LinkageConflict` when a token has another number or a number another token; nothing is changed then.
        """
        new = 0
        with self._transaction():
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
                "insert into patients select ?, case ? when 0 then coalesce(max(number), 0) + 1 else ? end, ?, ?"
                " from patients",
                (row.token, row.number, row.number, row.link, row.flag),
            )
        except sqlite3.IntegrityError:
            raise LinkageConflict(problem="a number belongs to another patient in this ledger") from None
        return True
