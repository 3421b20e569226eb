"""Restore a home from its backup, and let it go on once a person says so."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from shared.backup.archive import BackupFacts, unpack_backup
from shared.backup.restoring import restored_folder
from shared.crypto.keys import load_identity
from site_node.backup.backup import PROGRAM
from site_node.home.folder import SiteHome, make_folders
from site_node.home.ledger import Ledger, State
from site_node.home.library import list_library
from site_node.home.migrations import STEPS
from site_node.home.words import NO_STUDY
from site_node.membership.record import Membership
from site_node.settings.site import SETTINGS_FILE
from site_node.submit.comparison import own_rows

SECOND_PSEUDONYMS = (
    "Patients who were numbered since the backup may get a second pseudonym; what was decided since then, withdrawals "
    "among it, is to be decided again."
)


class Highest(NamedTuple):
    """The highest numbers of patients and of studies that the centre, or the library, has seen of this site."""

    patients: int
    sequences: int


def restore(home: SiteHome, file: Path, key: Path) -> BackupFacts:
    """Restore into an empty folder; the home then waits for a person (`resume`).

    Raises `HomeNotEmpty`, `BackupInvalid` for what is damaged, foreign, newer or sealed to another key, `ClockWrong`,
    what
    `load_identity` raises, `DiskFull`. Then nothing is restored.
    """
    identity = load_identity(key)

    def check(facts: BackupFacts) -> None:
        is_known = facts.schema_version in {str(number) for number in range(len(STEPS) + 1)}
        facts.check(file, PROGRAM, datetime.now(UTC), is_known=is_known)

    with restored_folder(home.folder, SETTINGS_FILE) as folder:
        facts = unpack_backup(file, identity, folder, check)
        make_folders(folder)
        with closing(Ledger(SiteHome(folder).ledger)) as ledger:
            ledger.restoration.begin(f"{facts.made_at:%Y-%m-%d %H:%M} UTC")
    return facts


def highest_seen(home: SiteHome, membership: Membership) -> Highest:
    """Ask the centre, and look into the library; raises what `own_rows` raises."""
    seen = [(_number(row.patient), row.sequence) for row in own_rows(membership)]
    held = [_number(listed.patient) for listed in list_library(home.library).values()]
    return Highest(
        patients=max([patient for patient, _ in seen] + held, default=0),
        sequences=max((sequence for _, sequence in seen), default=0),
    )


def resume(home: SiteHome, ledger: Ledger, membership: Membership | None, person: str, reason: str) -> Highest:
    """Let a restored home go on, numbering above what is known elsewhere; raises as `highest_seen` does."""
    highest = Highest(0, 0) if membership is None else highest_seen(home, membership)
    with ledger.changing():
        ledger.audit(person, "restore-resume", NO_STUDY, f"the backup of {ledger.restoration.made_at}: {reason}")
        ledger.restoration.resume(patients=highest.patients, sequences=highest.sequences)
    return highest


def missing(home: SiteHome, ledger: Ledger) -> dict[State, int]:
    """How many studies that are on their way have no files in the home, by state."""
    counts = dict[State, int]()
    for state in (State.RECEIVED, State.INCLUDED, State.DEIDENTIFIED, State.VALIDATED, State.SEALED, State.QUARANTINED):
        absent = sum(not home.work(entry.key).exists() for entry in ledger.studies(state))
        if absent:
            counts[state] = absent
    return counts


def _number(pseudonym: str) -> int:
    """The number in a pseudonym, `<SITEID>-<number>`."""
    _, _, number = pseudonym.rpartition("-")
    return int(number) if number.isdecimal() else 0
