"""What this site has withdrawn: names of studies, patients and instances, or the site; and the receipts of deletion.

What is withdrawn is not sent again. Whatever was submitted of it, before or meanwhile, is to be withdrawn at the
coordinator until its receipt of deletion is here, and to leave the library: that follows from these tables, so a kill
forgets nothing.
"""

import sqlite3
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from shared.ids import PatientPseudonym, Sha256, StudyKey, Uid
from site_node.home.database import transaction


class Level(StrEnum):
    """How much was withdrawn."""

    SITE = "site"
    PATIENT = "patient"
    STUDY = "study"
    INSTANCE = "instance"


class Withdrawn(NamedTuple):
    """A name that was withdrawn: a new UID, a pseudonym, or the site's empty one; `study` is that of an instance."""

    level: Level
    name: str
    study: str
    event: int  # by which a person withdrew it


class ToWithdraw(NamedTuple):
    """A submission to be withdrawn at the coordinator: whole, or some of its instances."""

    submission: Sha256
    study: Uid
    instances: tuple[Uid, ...]


class Withdrawals:
    """The tables `withdrawn` and `deletions`, on the ledger's own connection.

    `covered` is a view of the submissions that are withdrawn whole. A deletion without a receipt is still to come.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def enter(self, level: Level, names: Iterable[str], event: int, *, study: str = "") -> None:
        """Withdraw by names: new UIDs, pseudonyms, or one empty name for the site; `study` is that of instances."""
        with transaction(self._db):
            rows = [(level, name, study, event) for name in names]
            self._db.executemany("insert or ignore into withdrawn values (?, ?, ?, ?, 1)", rows)
            if level is Level.INSTANCE:
                self._db.execute(
                    "insert or replace into deletions select submission, null, 1 from submissions"
                    " where study = ? and state <> 'withdrawn'",
                    (study,),
                )

    def covers(self, study: Uid, patient: PatientPseudonym) -> bool:
        """Whether a study is withdrawn, or its patient or the site, whether or not it was ever sent."""
        row = self._db.execute(
            "select 1 from withdrawn where level = 'site' or (level, name) = ('study', ?) or (level, name) ="
            " ('patient', ?)",
            (study, patient),
        )
        return row.fetchone() is not None

    def all(self) -> frozenset[Withdrawn]:
        """Everything that is withdrawn."""
        return frozenset(map(_withdrawn, self._db.execute("select level, name, study, event from withdrawn")))

    def in_library(self) -> tuple[Withdrawn, ...]:
        """What the library may hold still."""
        rows = self._db.execute("select level, name, study, event from withdrawn where in_library")
        return tuple(map(_withdrawn, rows))

    def cleared(self, withdrawn: Iterable[Withdrawn]) -> None:
        """Note what the library holds no more."""
        with transaction(self._db):
            rows = [(each.level, each.name) for each in withdrawn]
            self._db.executemany("update withdrawn set in_library = 0 where (level, name) = (?, ?)", rows)

    def instances(self, study: Uid) -> frozenset[Uid]:
        """The instances of a study that were withdrawn."""
        rows = self._db.execute("select name from withdrawn where level = 'instance' and study = ?", (study,))
        return frozenset(Uid(row[0]) for row in rows)

    def covered_only_by(self, level: Level, name: str) -> tuple[Sha256, ...]:
        """The submissions that are withdrawn whole by that and by nothing else."""
        rows = self._db.execute(
            "select submission from covered group by submission"
            " having count(*) = 1 and min(level) = ? and min(name) = ?",
            (level, name),
        )
        return tuple(Sha256(row[0]) for row in rows)

    def pending(self) -> tuple[ToWithdraw, ...]:
        """What is to be withdrawn at the coordinator still."""
        whole = self._db.execute(
            "select distinct submission, study from covered where submission not in"
            " (select submission from deletions where receipt is not null and not instances)"
        ).fetchall()
        some = self._db.execute(
            "select submission, study from deletions join submissions using (submission) where receipt is null"
            " and submission not in (select submission from covered)"
        ).fetchall()
        return (
            *(ToWithdraw(Sha256(row[0]), Uid(row[1]), ()) for row in whole),
            *(ToWithdraw(Sha256(row[0]), Uid(row[1]), tuple(sorted(self.instances(Uid(row[1]))))) for row in some),
        )

    def keep(self, submission: Sha256, receipt: str, *, instances: bool) -> None:
        """Note the file of a receipt of deletion; with `instances` it is over some of them only."""
        with transaction(self._db):
            self._db.execute("insert or replace into deletions values (?, ?, ?)", (submission, receipt, instances))

    def renew(self, submissions: Iterable[Sha256]) -> None:
        """Let those of some submissions that are withdrawn here be withdrawn again, where they stand there again."""
        with transaction(self._db):
            self._db.executemany(
                "update deletions set receipt = null where submission = ?", [(each,) for each in submissions]
            )

    def forget_images(self, key: StudyKey) -> None:
        """Let every image of a study be new when it comes again."""
        with transaction(self._db):
            self._db.execute("delete from instances where key = ?", (key,))

    def lift(self, level: Level, name: str) -> None:
        """Let what was withdrawn at a level be sent again, and be withdrawn again; receipts stay as files."""
        with transaction(self._db):
            self._db.execute("delete from withdrawn where (level, name) = (?, ?)", (level, name))
            self._db.execute("delete from deletions where submission not in (select submission from covered)")


def _withdrawn(row: sqlite3.Row) -> Withdrawn:
    return Withdrawn(Level(row["level"]), row["name"], row["study"], row["event"])
