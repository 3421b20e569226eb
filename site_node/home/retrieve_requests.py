"""The ledger's table of requests to the PACS: states and counts. What was asked for, which is PHI, is not in it.

A request ends reconciled: the instances that the PACS announced are those that arrived plus those that failed, each
with a reason. One that nothing can be retrieved for is refused, with a reason.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from pydantic import TypeAdapter

from shared.frozen import Frozen
from shared.ids import StudyKey

SCHEMA = """
create table if not exists requests (
    id text primary key, state text not null, reason text not null default '', attempts integer not null default 0,
    parts text not null default '[]', made_at text not null, changed_at text not null, not_before text not null
) strict, without rowid;
"""


class RequestState(StrEnum):
    """Where a request is."""

    WAITING = "waiting"  # nothing is known of it yet
    RETRIEVING = "retrieving"  # the PACS said what there is; not all of it is here
    RECONCILED = "reconciled"
    REFUSED = "refused"


_OPEN = (RequestState.WAITING, RequestState.RETRIEVING)


class Part(Frozen):
    """One study of a request. `reason` says why instances are missing, also while that may still change."""

    key: StudyKey
    announced: int
    arrived: int = 0
    failed: int = 0
    reason: str = ""


_PARTS = TypeAdapter(tuple[Part, ...])


class RequestEntry(Frozen):
    """A request's row."""

    id: str
    state: RequestState
    reason: str
    attempts: int
    parts: tuple[Part, ...]
    made_at: datetime
    changed_at: datetime
    not_before: datetime

    @property
    def is_open(self) -> bool:
        """Whether something is still to be done."""
        return self.state in _OPEN


class ListEntry(Frozen):
    """All requests of one list."""

    is_open: bool
    is_missing: bool  # something of it, for a reason
    changed_at: datetime


class RequestCounts(Frozen):
    """All requests, counted; `announced` is the sum of the other three kinds of instances."""

    states: dict[str, int]
    reasons: dict[str, int]
    announced: int
    arrived: int
    failed: int
    expected: int


class Requests:
    """The table, on the ledger's own connection."""

    def __init__(self, db: sqlite3.Connection, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        self._db = db
        self._transaction = transaction

    def add(self, ids: Sequence[str]) -> None:
        """Enter new requests."""
        now = _text(datetime.now(UTC))
        with self._transaction():
            self._db.executemany(
                "insert or ignore into requests (id, state, made_at, changed_at, not_before) values (?, ?, ?, ?, ?)",
                [(one, RequestState.WAITING, now, now, now) for one in ids],
            )

    def get(self, request: str) -> RequestEntry | None:
        """One request."""
        row = self._db.execute("select * from requests where id = ?", (request,)).fetchone()
        return None if row is None else _entry(row)

    def all(self) -> tuple[RequestEntry, ...]:
        """Every request, in the order in which they were made."""
        return tuple(map(_entry, self._db.execute("select * from requests order by made_at, id")))

    def lists(self) -> dict[str, ListEntry]:
        """Every list of requests, by its name."""
        rows = self._db.execute(
            "select substr(id, 1, instr(id, '-') - 1) as list, max(state in (?, ?)), max(reason <> ''),"
            " max(changed_at) from requests group by list",
            _OPEN,
        )
        return {
            name: ListEntry(is_open=bool(is_open), is_missing=bool(missing), changed_at=changed_at)
            for name, is_open, missing, changed_at in rows
        }

    def next_due(self, now: datetime) -> RequestEntry | None:
        """The open request that is longest due, if one is."""
        row = self._db.execute(
            "select * from requests where state in (?, ?) and not_before <= ? order by not_before, id limit 1",
            (*_OPEN, _text(now)),
        ).fetchone()
        return None if row is None else _entry(row)

    def held(self) -> frozenset[StudyKey]:
        """Studies that must not be taken in yet, since more of them is on its way."""
        return frozenset(part.key for one in self.all() if one.is_open for part in one.parts)

    def incomplete(self) -> frozenset[StudyKey]:
        """Studies of which the last request that asked for them left something behind."""
        last = {part.key: part.failed for one in self._by_change() if not one.is_open for part in one.parts}
        return frozenset(key for key, failed in last.items() if failed)

    def found(self, request: str, parts: Sequence[Part]) -> None:
        """The PACS announced these; an attempt to retrieve them begins."""
        self._set(request, RequestState.RETRIEVING, parts=parts)

    def again(self, request: str, *, attempts: int, seconds: float, reason: str, parts: Sequence[Part]) -> None:
        """An attempt left something open: the next is made after so many seconds."""
        state = RequestState.RETRIEVING if parts else RequestState.WAITING
        self._set(request, state, reason=reason, attempts=attempts, seconds=seconds, parts=parts)

    def reconcile(self, request: str, parts: Sequence[Part]) -> None:
        """All that was announced arrived, or failed with a reason; raises `ValueError` where the sum does not hold."""
        if any(one.announced != one.arrived + one.failed or bool(one.failed) != bool(one.reason) for one in parts):
            raise ValueError("a request is reconciled when its counts are")
        reason = next((one.reason for one in parts if one.failed), "")
        self._set(request, RequestState.RECONCILED, reason=reason, parts=parts)

    def refuse(self, request: str, reason: str) -> None:
        """Nothing is retrieved for it, for this reason."""
        self._set(request, RequestState.REFUSED, reason=reason)

    def reopen(self) -> int:
        """Try again what ended with something missing; how many."""
        again = [one for one in self.all() if not one.is_open and one.reason]
        for one in again:  # what is known of it stays: it is no whole study because it is asked for again
            parts = [part.model_copy(update={"failed": 0, "reason": ""}) for part in one.parts]
            self._set(one.id, RequestState.RETRIEVING if parts else RequestState.WAITING, attempts=0, parts=parts)
        return len(again)

    def counts(self) -> RequestCounts:
        """Everything, summed."""
        entries = self.all()
        parts = [part for one in entries for part in one.parts]
        announced, arrived, failed = (
            sum(getattr(part, name) for part in parts) for name in ("announced", "arrived", "failed")
        )
        return RequestCounts(
            states=dict(sorted(Counter(one.state.value for one in entries).items())),
            reasons=dict(sorted(Counter(one.reason for one in entries if one.reason).items())),
            announced=announced,
            arrived=arrived,
            failed=failed,
            expected=announced - arrived - failed,
        )

    def _by_change(self) -> tuple[RequestEntry, ...]:
        return tuple(sorted(self.all(), key=lambda one: one.changed_at))

    def _set(
        self,
        request: str,
        state: RequestState,
        *,
        reason: str = "",
        attempts: int | None = None,
        seconds: float = 0,
        parts: Sequence[Part] = (),
    ) -> None:
        now = datetime.now(UTC)
        with self._transaction():
            self._db.execute(
                "update requests set state = ?, reason = ?, attempts = coalesce(?, attempts), parts = ?,"
                " changed_at = ?, not_before = ? where id = ?",
                (
                    *(state, reason, attempts, _PARTS.dump_json(tuple(parts)).decode(), _text(now)),
                    *(_text(now + timedelta(seconds=seconds)), request),
                ),
            )


def _entry(row: sqlite3.Row) -> RequestEntry:
    return RequestEntry.model_validate({**dict(row), "parts": json.loads(row["parts"])})


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
