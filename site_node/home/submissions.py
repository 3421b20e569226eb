"""Where the submissions of this site stand at the centre, as far as it was asked."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence

from shared.frozen import Frozen
from shared.ids import Sha256, Uid
from shared.manifest import Manifest
from shared.submission_state import Reasons, SubmissionState
from site_node.home.database import transaction


class CentreState(Frozen):
    """A submission's state there, why, and the number of the audit event that set it."""

    submission: Sha256
    study: Uid
    state: SubmissionState
    reasons: Reasons = ()
    changed: int
    patient: str = ""  # the pseudonym


class Submissions:
    """The table, on the ledger's own connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def put(self, states: Iterable[CentreState]) -> None:
        """Enter what the centre says now."""
        rows = [
            (each.submission, each.study, each.state, json.dumps(each.reasons), each.changed, each.patient)
            for each in states
        ]
        with transaction(self._db):
            self._db.executemany(
                "insert into submissions values (?, ?, ?, ?, ?, ?) on conflict do update set state = excluded.state,"
                " reasons = excluded.reasons, changed = excluded.changed,"
                " patient = case patient when '' then excluded.patient else patient end",
                rows,
            )

    def enter(self, manifest: Manifest) -> None:
        """Enter what this site has submitted: study and patient are as it signed them, whatever the centre says."""
        with transaction(self._db):
            self._db.execute(
                "insert into submissions values (?, ?, 'received', '[]', 0, ?)"
                " on conflict do update set state = 'received', reasons = '[]'",
                (manifest.submission, manifest.study, manifest.patient),
            )

    def last_change(self) -> int:
        """The number of the last change that is known here; 0 without any."""
        return int(self._db.execute("select coalesce(max(changed), 0) from submissions").fetchone()[0])

    def counts(self) -> Counter[tuple[SubmissionState, Reasons]]:
        """How many there are of each state with the same reasons."""
        rows = self._db.execute("select state, reasons, count(*) from submissions group by 1, 2")
        return Counter({(SubmissionState(state), tuple(json.loads(reasons))): count for state, reasons, count in rows})

    def all(self) -> tuple[CentreState, ...]:
        """Every one, in the order of the last changes."""
        return tuple(map(_state, self._db.execute("select * from submissions order by changed")))

    def of_studies(self, studies: Sequence[Uid]) -> dict[Uid, CentreState]:
        """Where the last submission of each of some studies stands."""
        wanted = "select * from submissions where study in (select value from json_each(?)) order by changed"
        return {state.study: state for state in map(_state, self._db.execute(wanted, (json.dumps(studies),)))}


def _state(row: sqlite3.Row) -> CentreState:
    return CentreState.model_validate({**dict(row), "reasons": tuple(json.loads(row["reasons"]))}, strict=False)
