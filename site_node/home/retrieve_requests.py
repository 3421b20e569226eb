"""The ledger's table of requests to the PACS: states and counts. It holds no requested identifier (PHI).

A request ends reconciled: the instances that the PACS announced are those that arrived plus those that failed, each
with a reason. A request for which nothing can be retrieved is refused, with a reason.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Container, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from pydantic import TypeAdapter

from shared.frozen import Frozen
from shared.ids import StudyKey
from site_node.home.database import transaction


class RequestState(StrEnum):
    """How far a request has come."""

    WAITING = "waiting"  # the PACS has not answered yet
    RETRIEVING = "retrieving"  # the PACS announced instances; not all of them arrived
    RECONCILED = "reconciled"
    REFUSED = "refused"


class Pace(StrEnum):
    """How long a command works on requests, or waits until a running node has."""

    QUEUE = "queue"  # not at all: they are entered
    SOON = "soon"  # until nothing is due within a minute; a running node is not waited for
    WAIT = "wait"  # until each has ended


_OPEN_STATES = (RequestState.WAITING, RequestState.RETRIEVING)


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
        """Whether it has not ended."""
        return self.state in _OPEN_STATES


class ListEntry(Frozen):
    """All requests of one list."""

    is_open: bool
    is_incomplete: bool  # something is missing, for a reason
    changed_at: datetime


class RequestCounts(Frozen):
    """Counts over all requests; `announced` is the sum of arrived, failed and expected instances."""

    states: dict[str, int]
    reasons: dict[str, int]
    reasons_by_state: dict[str, dict[str, int]]
    announced: int
    arrived: int
    failed: int
    expected: int


class OpenRequests(Frozen):
    """The requests that have not ended: how many, since when the first waits, and when the next is due."""

    count: int
    since: datetime | None
    next_due: datetime | None


class RequestProgress(Frozen):
    """How far some requests have come."""

    rows: int
    ended: int
    arrived: int  # images, as noted after the last attempt of each
    next_due: datetime | None  # of those that are open
    expected: tuple[Part, ...]  # studies whose images may be arriving now


class Requests:
    """The table, on the ledger's own connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, ids: Sequence[str]) -> None:
        """Enter new requests."""
        now = _text(datetime.now(UTC))
        with transaction(self._db):
            self._db.executemany(
                "insert or ignore into requests (id, state, made_at, changed_at, not_before) values (?, ?, ?, ?, ?)",
                [(request, RequestState.WAITING, now, now, now) for request in ids],
            )

    def get(self, request: str) -> RequestEntry | None:
        """One request, or `None`."""
        row = self._db.execute("select * from requests where id = ?", (request,)).fetchone()
        return None if row is None else _entry(row)

    def all(self) -> tuple[RequestEntry, ...]:
        """Every request, in the order in which they were made."""
        return tuple(map(_entry, self._db.execute("select * from requests order by made_at, id")))

    def latest(self, *, skip: int, most: int) -> tuple[RequestEntry, ...]:
        """A part of the requests, those that changed last first."""
        query = "select * from requests order by changed_at desc, id limit ? offset ?"
        return tuple(map(_entry, self._db.execute(query, (most, skip))))

    def lists(self) -> dict[str, ListEntry]:
        """Every list of requests, by its name."""
        rows = self._db.execute(
            "select substr(id, 1, instr(id, '-') - 1) as list, max(state in (?, ?)), max(reason <> ''),"
            " max(changed_at) from requests group by list",
            _OPEN_STATES,
        )
        return {
            name: ListEntry(is_open=bool(is_open), is_incomplete=bool(has_reason), changed_at=changed_at)
            for name, is_open, has_reason, changed_at in rows
        }

    def open(self) -> OpenRequests:
        """Those that have not ended."""
        query = "select count(*), min(made_at), min(not_before) from requests where state in (?, ?)"
        count, since, next_due = self._db.execute(query, _OPEN_STATES).fetchone()
        return OpenRequests(count=count, since=since, next_due=next_due)

    def next_due(self, now: datetime) -> RequestEntry | None:
        """The open request that has been due longest, or `None`."""
        row = self._db.execute(
            "select * from requests where state in (?, ?) and not_before <= ? order by not_before, id limit 1",
            (*_OPEN_STATES, _text(now)),
        ).fetchone()
        return None if row is None else _entry(row)

    def awaited_studies(self) -> frozenset[StudyKey]:
        """Studies that must not be received yet, since more of their instances are expected."""
        rows = self._db.execute(
            "select value ->> 'key' from requests, json_each(parts)"
            " where state in (?, ?) and value ->> 'arrived' < value ->> 'announced'",
            _OPEN_STATES,
        )
        return frozenset(StudyKey(key) for (key,) in rows)

    def incomplete_studies(self) -> frozenset[StudyKey]:
        """Studies whose last request ended with instances missing."""
        return frozenset(key for key, (failed, _) in self._ended_studies().items() if failed)

    def complete_studies(self) -> dict[StudyKey, datetime]:
        """Studies whose last request ended with no instance missing, and when it did."""
        return {key: ended for key, (failed, ended) in self._ended_studies().items() if not failed}

    def _ended_studies(self) -> dict[StudyKey, tuple[int, datetime]]:
        """How many instances of each study its last request missed when it ended, and when that was."""
        rows = self._db.execute(
            "select value ->> 'key', value ->> 'failed', changed_at from requests, json_each(parts)"
            " where state not in (?, ?) order by changed_at",
            _OPEN_STATES,
        )
        return {StudyKey(key): (failed, datetime.fromisoformat(ended)) for key, failed, ended in rows}

    def progress(self, ids: Collection[str]) -> RequestProgress:
        """How far these requests have come."""
        wanted = json.dumps(list(ids))
        rows, ended, next_due, arrived = self._db.execute(
            "select count(*), total(state not in (?1, ?2)), min(iif(state in (?1, ?2), not_before, null)),"
            " total((select total(value ->> 'arrived') from json_each(parts)))"
            " from requests where id in (select value from json_each(?3))",
            (*_OPEN_STATES, wanted),
        ).fetchone()
        retrieving = self._db.execute(
            "select parts from requests where state = ? and id in (select value from json_each(?))",
            (RequestState.RETRIEVING, wanted),
        )
        expected = [part for (parts,) in retrieving for part in _PARTS.validate_json(parts)]
        return RequestProgress(
            rows=rows,
            ended=int(ended),
            arrived=int(arrived),
            next_due=next_due,
            expected=tuple(part for part in expected if part.arrived < part.announced),
        )

    def announced(self, request: str, parts: Sequence[Part]) -> None:
        """Note what the PACS announced; an attempt to retrieve it begins."""
        self._set(request, RequestState.RETRIEVING, parts=parts)

    def retry_later(self, request: str, *, attempts: int, seconds: float, reason: str, parts: Sequence[Part]) -> None:
        """Note an incomplete attempt; the next one is due after so many seconds."""
        state = RequestState.RETRIEVING if parts else RequestState.WAITING
        self._set(request, state, reason=reason, attempts=attempts, seconds=seconds, parts=parts)

    def reconcile(self, request: str, parts: Sequence[Part]) -> None:
        """End a request whose instances all arrived or failed with a reason; raises `ValueError` for other counts."""
        if any(
            part.announced != part.arrived + part.failed or bool(part.failed) != bool(part.reason) for part in parts
        ):
            raise ValueError("a request is reconciled when its counts are")
        reason = next((part.reason for part in parts if part.failed), "")
        self._set(request, RequestState.RECONCILED, reason=reason, parts=parts)

    def refuse(self, request: str, reason: str) -> None:
        """End a request for which nothing can be retrieved."""
        self._set(request, RequestState.REFUSED, reason=reason)

    def reopen(self, ids: Container[str] | None = None) -> int:
        """Open requests that ended with a reason once more, all or those of `ids`, and return how many."""
        entries = [
            entry for entry in self.all() if not entry.is_open and entry.reason and (ids is None or entry.id in ids)
        ]
        for entry in entries:  # the announced counts stay: opening a request again does not make its studies complete
            parts = [part.model_copy(update={"failed": 0, "reason": ""}) for part in entry.parts]
            self._set(entry.id, RequestState.RETRIEVING if parts else RequestState.WAITING, attempts=0, parts=parts)
        return len(entries)

    def counts(self) -> RequestCounts:
        """The counts over all requests; of a study that was asked for several times, those of the last."""
        by_state = defaultdict[str, dict[str, int]](dict)
        for state, reason, count in self._db.execute("select state, reason, count(*) from requests group by 1, 2"):
            by_state[state][reason] = count
        reasons = Counter[str]()
        for counts in by_state.values():
            reasons.update(counts)
        announced, arrived, failed = self._db.execute(
            "select coalesce(sum(announced), 0), coalesce(sum(arrived), 0), coalesce(sum(failed), 0)"
            " from (select max(changed_at), announced, arrived, failed from request_parts group by key)"
        ).fetchone()
        return RequestCounts(
            states={state: sum(counts.values()) for state, counts in by_state.items()},
            reasons={reason: count for reason, count in sorted(reasons.items()) if reason},
            reasons_by_state={
                state: {reason: count for reason, count in counts.items() if reason}
                for state, counts in by_state.items()
            },
            announced=announced,
            arrived=arrived,
            failed=failed,
            expected=announced - arrived - failed,
        )

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
        with transaction(self._db):
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
