"""The ledger: how far each study has come, and how everything that was received ended.

SQLite in WAL mode with `synchronous=FULL`: when a call returns, its change is on the disk. Studies are identified by
their key, a keyed hash, and patients by a token that only the secret's holder can make; a patient's identity is sealed
under the site's secret. No identifier of the hospital can be read in the file.
"""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter

from shared.errors.inputs import NotFound
from shared.frozen import Frozen
from shared.ids import StudyKey, Uid
from site_node.blanking import Blanking
from site_node.home.associations import Associations
from site_node.home.database import open_database, transaction
from site_node.home.patients import Patients
from site_node.home.plans import Plans
from site_node.home.restoration import SEQUENCES, Restoration
from site_node.home.retrieve_requests import Requests
from site_node.home.sheets_in_use import SheetsInUse
from site_node.home.snapshots import Snapshots
from site_node.home.submissions import Submissions
from site_node.home.tokens import ACCESSION_NUMBERS, INBOX_ENTRIES, Tokens
from site_node.home.withdrawals import Withdrawals
from site_node.home.words import SiteWords
from site_node.study import Ending, Reason, lead_of

if TYPE_CHECKING:
    from site_node.pseudonyms.names import KeyedNames

_PUT_INSTANCE = (
    "insert into instances values (?, ?, ?, ?) on conflict do update set ending = excluded.ending, code = excluded.code"
)
OTHER_BYTES, ARRIVED_LATE, NOT_CHOSEN, REJECTED = "other-bytes", "arrived-late", "not-chosen", "rejected-in-review"
_HELD_APART = (OTHER_BYTES, ARRIVED_LATE, NOT_CHOSEN)  # an instance held for one of these stays out of its study
_REASONS = TypeAdapter(tuple[Reason, ...])
Order = Literal["key", "changed_at, key", "audit_number desc"]


class State(StrEnum):
    """How far a study has come: the last stage completed, or an ending."""

    RECEIVED = "received"
    INCLUDED = "included"
    DEIDENTIFIED = "deidentified"
    VALIDATED = "validated"
    SEALED = "sealed"
    SUBMITTED = "submitted"
    EXCLUDED = "excluded"
    QUARANTINED = "quarantined"
    REFUSED = "refused"

    @property
    def ending(self) -> Ending:
        """The ending under which the study is counted."""
        return Ending(self.value) if self in ENDED else Ending.WAITING


STATE_ORDER = (State.RECEIVED, State.INCLUDED, State.DEIDENTIFIED, State.VALIDATED, State.SEALED, State.SUBMITTED)
ENDED = frozenset({State.SUBMITTED, State.EXCLUDED, State.QUARANTINED, State.REFUSED})
SENT_OR_SEALED = frozenset({State.SEALED, State.SUBMITTED})  # the coordinator may already have it


class StudyEntry(Frozen):
    """A study's row. `study` is its new UID once it has one, `stopped` the last stage completed before it ended."""

    key: StudyKey
    state: State
    reasons: tuple[Reason, ...]
    released: frozenset[str]
    sequence: int | None
    study: Uid | None
    receipt: str | None
    received_at: datetime
    changed_at: datetime
    stopped: State | None
    audit_number: int | None = None  # that its receipt names

    @property
    def is_rejected(self) -> bool:
        """Whether a person rejected it."""
        return any(reason.code == REJECTED for reason in self.reasons)

    @property
    def is_passed_over(self) -> bool:
        """Whether an error refused it after it was validated, so that `run --retry` may send it on as it is."""
        return self.state is State.REFUSED and self.stopped in {State.VALIDATED, State.SEALED}

    @property
    def goes_on_whole(self) -> bool:
        """Whether it ended and goes on if more images come, but with all of its images only."""
        return self.is_passed_over or (self.state is State.EXCLUDED and not self.is_rejected)

    @property
    def lead(self) -> str:
        """The code of the gravest reason, by which the study is counted; empty where there is none."""
        return lead_of(self.reasons)

    def is_as(self, earlier: "StudyEntry") -> bool:
        """Whether nothing moved the study since `earlier` was read."""
        return (self.state, self.changed_at) == (earlier.state, earlier.changed_at)


class Event(Frozen):
    """One decision of a person about a study, kept for good."""

    number: int
    at: datetime
    actor: str
    action: str
    key: StudyKey
    detail: str


class StudyChanged(Exception):
    """A reception or a person changed a study while a stage worked on it: the stage's result is void."""


class Ledger:
    """The site's ledger in one SQLite file. Each thread uses its own instance; several processes may change it.

    `inbox_entries` holds the snapshots of what was received from the watched folder, `accession_numbers` the names of
    accession numbers that arrived whole by a list that is forgotten. Without `durable` a change may be lost with the
    power. Raises `LedgerTooNew` on opening.
    """

    def __init__(self, file: Path, *, durable: bool = True) -> None:
        self._db = open_database(file, durable=durable)
        self.restoration = Restoration(self._db)
        self.patients = Patients(self._db, self.restoration)
        self.requests = Requests(self._db)
        self.associations = Associations(self._db)
        self.submissions = Submissions(self._db)
        self.withdrawals = Withdrawals(self._db)
        self.sheets = SheetsInUse(self._db)
        self.snapshots = Snapshots(self._db)
        self.plans = Plans(self._db, self.audit)
        self.inbox_entries = Tokens(self._db, INBOX_ENTRIES, self.token)
        self.accession_numbers = Tokens(self._db, ACCESSION_NUMBERS, self.token)
        self._salt: bytes = self._db.execute("select value from meta where name = 'salt'").fetchone()[0]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def changing(self) -> AbstractContextManager[None]:
        """Make all changes of a block in one transaction."""
        return transaction(self._db)

    @property
    def version(self) -> int:
        """A number that differs after another connection, of this process or another, changed anything."""
        return int(self._db.execute("pragma data_version").fetchone()[0])

    def words(self, names: "KeyedNames") -> SiteWords:
        """The words that left texts here, and those that persons accepted; `names` hold the site's secret."""
        return SiteWords(self._db, names, self.audit)

    # studies

    def add_study(self, key: StudyKey, names: Iterable[str], *, state: State, reasons: Sequence[Reason] = ()) -> None:
        """Enter a study with its instances' opaque names, or reset it with these; its others end as they did."""
        now = _now()
        with transaction(self._db):
            self._db.execute(
                "insert into studies (key, state, reasons, received_at, changed_at) values (?, ?, ?, ?, ?)"
                " on conflict (key) do update set state = excluded.state, reasons = excluded.reasons,"
                " released = '[]', changed_at = excluded.changed_at, stopped = null",
                (key, state, _dump(reasons), now, now),
            )
            self._db.executemany(_PUT_INSTANCE, [(key, name, state.ending, lead_of(reasons)) for name in names])

    def advance(
        self,
        key: StudyKey,
        state: State,
        *,
        reasons: Sequence[Reason] = (),
        study: Uid | None = None,
        receipt: str | None = None,
        audit_number: int | None = None,
        left_out: Sequence[tuple[str, Ending, str]] = (),
        since: StudyEntry | None = None,
    ) -> None:
        """Move a study to `state` in one transaction, after the result of that stage is durable.

        `left_out` lists instances (name, ending, code) that go no further; the other instances end with the study.
        Raises `StudyChanged` where the study is no longer as it was in `since`.
        """
        with transaction(self._db):
            if since is not None and not self.study(key).is_as(since):
                raise StudyChanged
            self._db.execute(
                "update studies set stopped = case when state in (?, ?, ?, ?) then stopped else state end,"
                " state = ?, reasons = ?, study = coalesce(?, study), receipt = coalesce(?, receipt),"
                " audit_number = coalesce(?, audit_number), changed_at = ?"
                " where key = ?",
                (*ENDED, state, _dump(reasons), study, receipt, audit_number, _now(), key),
            )
            rows = [(ending, code, key, name) for name, ending, code in left_out]
            self._db.executemany("update instances set ending = ?, code = ? where key = ? and name = ?", rows)
            if state in ENDED:
                self._db.execute(
                    "update instances set ending = ?, code = ? where key = ? and ending = ?",
                    (state.ending, lead_of(reasons), key, Ending.WAITING),
                )

    def hold_instances(self, key: StudyKey, names: Iterable[str], code: str) -> None:
        """Quarantine instances apart from their study: they arrived too late, or conflict with each other."""
        rows = [(key, name, Ending.QUARANTINED, code) for name in names]
        with transaction(self._db):
            self._db.executemany(_PUT_INSTANCE, rows)

    def reopen(
        self,
        key: StudyKey,
        released: Iterable[str],
        names: Iterable[str],
        *,
        state: State = State.RECEIVED,
        blanking: Blanking | None = None,
    ) -> None:
        """Send a study back to `state` with the instances `names`.

        Reasons in `released` no longer hold it; `blanking` is its new one.
        """
        with transaction(self._db):
            if blanking is not None:
                self._db.execute("insert or replace into blankings values (?, ?)", (key, blanking.model_dump_json()))
            previous = self.study(key).released
            self._db.execute(
                "update studies set state = ?, reasons = '[]', released = ?, changed_at = ?, stopped = null"
                " where key = ?",
                (state, json.dumps(sorted(previous | set(released))), _now(), key),
            )
            self._db.executemany(
                "update instances set ending = ?, code = '' where key = ? and name = ? and code not in (?, ?, ?)",
                [(Ending.WAITING, key, name, *_HELD_APART) for name in names],
            )

    def blanking(self, key: StudyKey) -> Blanking | None:
        """What a person decided to blank in a study."""
        row = self._db.execute("select boxes from blankings where key = ?", (key,)).fetchone()
        return None if row is None else Blanking.model_validate_json(row[0])

    def study(self, key: StudyKey) -> StudyEntry:
        """One study; raises `NotFound`."""
        row = self._db.execute("select * from studies where key = ?", (key,)).fetchone()
        if row is None:
            raise NotFound(kind="study", name=key)
        return _entry(row)

    def has_study(self, key: StudyKey) -> bool:
        """Whether the study was ever entered."""
        return self._db.execute("select 1 from studies where key = ?", (key,)).fetchone() is not None

    def studies(self, *states: State, order: Order = "key", skip: int = 0, most: int = -1) -> tuple[StudyEntry, ...]:
        """All studies, or those in one of `states`, ordered by key, which does not follow the order of arrival."""
        column = "+state" if order == "audit_number desc" else "state"  # +: that index would be read whole, then sorted
        where = f" where {column} in ({','.join('?' * len(states))})" if states else ""
        query = f"select * from studies{where} order by {order} limit ? offset ?"  # noqa: S608 -- marks, and our words
        return tuple(map(_entry, self._db.execute(query, (*states, most, skip))))

    def has_changed(self, since: datetime) -> bool:
        """Whether a study was entered, decided on or moved after `since`."""
        (row,) = self._db.execute("select exists (select 1 from studies where changed_at > ?)", (since.isoformat(),))
        return bool(row[0])

    def names(self, key: StudyKey, code: str = "") -> frozenset[str]:
        """The opaque names of a study's instances; with `code`, those with that code."""
        rows = self._db.execute("select name from instances where key = ? and (? = '' or code = ?)", (key, code, code))
        return frozenset(row[0] for row in rows)

    def image_count(self, key: StudyKey) -> int:
        """How many instances of a study are to end with it."""
        counted = self._db.execute("select count(*) from instances where key = ? and ending = ?", (key, Ending.WAITING))
        return int(counted.fetchone()[0])

    def held_apart(self, key: StudyKey) -> frozenset[str]:
        """The names of those that are quarantined apart from their study."""
        return frozenset().union(*(self.names(key, code) for code in _HELD_APART))

    def sequence(self, key: StudyKey) -> int:
        """The study's number in the site's own count: assigned once, so that a study sealed again keeps it."""
        with transaction(self._db):
            sequence = self.study(key).sequence
            if sequence is None:
                query = "select max(coalesce(max(sequence), 0), ?) + 1 from studies"
                (sequence,) = self._db.execute(query, (self.restoration.least(SEQUENCES),)).fetchone()
                self._db.execute("update studies set sequence = ? where key = ?", (sequence, key))
        return int(sequence)

    def newest_audit_number(self) -> int:
        """The highest audit number of the coordinator that a receipt names; 0 without any."""
        return int(self._db.execute("select coalesce(max(audit_number), 0) from studies").fetchone()[0])

    def receipt_numbered(self, audit_number: int) -> str | None:
        """The file of the receipt with that audit number."""
        row = self._db.execute("select receipt from studies where audit_number = ?", (audit_number,)).fetchone()
        return None if row is None else str(row[0])

    # patients: the protocol that `Pseudonyms` calls

    def number(self, token: bytes, seal: Callable[[], bytes] | None = None) -> int:
        """The patient's number, a counter from 1; see `Patients.number`."""
        return self.patients.number(token, seal)

    def link(self, token: bytes) -> bytes | None:
        """The patient's sealed identity; see `Patients.link`."""
        return self.patients.link(token)

    # files, secret and salt

    def add_files(self, files: Iterable[tuple[str, Ending, str]]) -> None:
        """Enter files (name, ending, code) that belong to no study; of the name only a digest is stored."""
        rows = [(self.token(name), ending, code, _now()) for name, ending, code in files]
        with transaction(self._db):
            self._db.executemany("insert or replace into files values (?, ?, ?, ?)", rows)

    def matches_secret(self, check: str) -> bool:
        """Whether `check` was made with the secret of this ledger's pseudonyms; the first call stores it."""
        with transaction(self._db):
            self._db.execute("insert or ignore into meta values ('secret', ?)", (check.encode(),))
        (stored,) = self._db.execute("select value from meta where name = 'secret'").fetchone()
        return bool(stored == check.encode())

    def token(self, text: str) -> str:
        """A salted digest: equal texts have equal digests, and the text cannot be read back."""
        return hashlib.sha256(self._salt + text.encode(errors="surrogateescape")).hexdigest()

    # decisions of persons, and counts

    def audit(self, actor: str, action: str, key: StudyKey, detail: str) -> int:
        """Append a person's decision about a study and return its number; entries never change."""
        with transaction(self._db):
            (number,) = self._db.execute(
                "insert into events (at, actor, action, key, detail) values (?, ?, ?, ?, ?) returning number",
                (_now(), actor, action, key, detail),
            ).fetchone()
        return int(number)

    def events(self, *, latest: bool = False, skip: int = 0, most: int = -1) -> tuple[Event, ...]:
        """All decisions, the oldest first, or the `latest`."""
        query = f"select * from events order by number {'desc' if latest else ''} limit ? offset ?"  # noqa: S608 -- ours
        return tuple(Event.model_validate(dict(row), strict=False) for row in self._db.execute(query, (most, skip)))

    def instance_counts(self) -> dict[str, int]:
        """The number of instances by ending."""
        return dict(self._db.execute("select * from instance_totals where count > 0 order by 1").fetchall())

    def state_counts(self) -> dict[State, int]:
        """The number of studies by state."""
        return {state: count for state, (count, _) in self.oldest_by_state(*State).items()}

    def lead_counts(self) -> Counter[tuple[State, str]]:
        """The number of studies by state and lead."""
        counts = Counter[tuple[State, str]]()
        for state, reasons, count in self._db.execute("select state, reasons, count(*) from studies group by 1, 2"):
            counts[State(state), lead_of(_REASONS.validate_json(reasons))] += count
        return counts

    def oldest_by_state(self, *states: State) -> dict[State, tuple[int, datetime]]:
        """The number of studies in each of some states, and when the first of them came to where it is."""
        rows = self._db.execute(
            "select state, count(*), min(changed_at) from studies"
            " where state in (select value from json_each(?)) group by 1",
            (json.dumps(states),),
        )
        return {State(state): (count, datetime.fromisoformat(oldest)) for state, count, oldest in rows}

    def file_counts(self) -> dict[tuple[str, str], int]:
        """The number of files that belong to no study, by ending and code."""
        rows = self._db.execute("select ending, code, count(*) from files group by ending, code order by ending, code")
        return {(ending, code): count for ending, code, count in rows}


def _entry(row: sqlite3.Row) -> StudyEntry:
    values = dict(row)
    values["reasons"] = _REASONS.validate_json(values["reasons"])
    values["released"] = frozenset(json.loads(values["released"]))
    return StudyEntry.model_validate(values)


def _dump(reasons: Sequence[Reason]) -> str:
    return _REASONS.dump_json(tuple(reasons)).decode()


def _now() -> str:
    return datetime.now(UTC).isoformat()
