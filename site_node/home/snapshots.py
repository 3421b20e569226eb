"""The snapshots of the library that federated questions are answered from: lists of studies and their digests.

The newest is what is answered from. The next is another library that differs from every snapshot before in no patient
or in a minimum of them, so no two answers tell fewer apart, whatever came and left between them. Of earlier snapshots
only patients and digests of their studies are kept, as changes.
"""

import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import NamedTuple

from shared.ids import PatientPseudonym, Sha256, Uid
from site_node.home.database import transaction


class ListedStudy(NamedTuple):
    """Whose study it is, and the digest of its record in the library."""

    patient: PatientPseudonym
    digest: Sha256


Studies = Mapping[Uid, ListedStudy]


class Snapshot(NamedTuple):
    """A snapshot and when it was taken."""

    number: int
    taken_at: datetime
    studies: Studies


class Snapshots:
    """The tables `snapshots`, `snapshot_studies` (of the newest) and `snapshot_changes`, on the ledger's connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def newest(self) -> Snapshot | None:
        """The snapshot that is answered from; `None` before the first question."""
        row = self._db.execute("select * from snapshots order by number desc limit 1").fetchone()
        if row is None:
            return None
        rows = self._db.execute("select study, patient, digest from snapshot_studies order by study")
        studies = {Uid(study): ListedStudy(PatientPseudonym(whose), Sha256(digest)) for study, whose, digest in rows}
        return Snapshot(row["number"], datetime.fromisoformat(row["taken_at"]), studies)

    def number(self) -> int | None:
        """The newest one's number."""
        number: int | None = self._db.execute("select max(number) from snapshots").fetchone()[0]
        return number

    def missing(self, library: Studies, minimum: int) -> int:
        """How many patients more must change before this library may be the next snapshot; 0: it may be."""
        distances = [distance for distance in self._distances(_by_patient(library)) if distance]
        return max(0, minimum - min(distances, default=minimum))

    def move_on(self, library: Studies, minimum: int) -> None:
        """Let this library be the next snapshot, unless it is the newest or differs too little from an earlier one."""
        with transaction(self._db):
            newest = self.newest()
            if self.missing(library, minimum) or (newest is not None and newest.studies == library):
                return
            before = _by_patient(newest.studies) if newest is not None else {}
            now = _by_patient(library)
            (number,) = self._db.execute(
                "insert into snapshots (taken_at) values (?) returning number", (datetime.now(UTC).isoformat(),)
            ).fetchone()
            changed = [
                (number, who, now.get(who)) for who in before.keys() | now.keys() if before.get(who) != now.get(who)
            ]
            self._db.executemany("insert into snapshot_changes values (?, ?, ?)", changed)
            self._db.execute("delete from snapshot_studies")
            rows = [(study, *listed) for study, listed in library.items()]
            self._db.executemany("insert into snapshot_studies values (?, ?, ?)", rows)

    def _distances(self, patients: Mapping[str, str]) -> Iterator[int]:
        """The number of patients by which these differ from those of each snapshot."""
        rows = self._db.execute(
            "select number, patient, digest from snapshots left join snapshot_changes using (number) order by number"
        )
        then: dict[str, str] = {}
        differing = len(patients)
        for _, changes in groupby(rows, lambda row: row[0]):
            for _, who, digest in changes:
                if who is None:  # of the empty library that was the first
                    continue
                differing -= then.get(who) != patients.get(who)
                then[who] = digest
                differing += digest != patients.get(who)
            yield differing


def _by_patient(studies: Studies) -> dict[str, str]:
    """The digest of each patient's studies."""
    of: dict[str, list[str]] = defaultdict(list)
    for study in sorted(studies):
        of[studies[study].patient] += [study, studies[study].digest]
    return {patient: hashlib.sha256("\0".join(parts).encode()).hexdigest() for patient, parts in of.items()}
