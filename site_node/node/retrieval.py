"""Work on requests to the PACS: query, retrieve, count, retry, and reconcile.

Only instances that lie in the arrivals count, whatever the PACS answered and whichever side was killed. A study of an
open request stays in the arrivals, so after a restart only missing instances are requested.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isinf
from threading import Event

import structlog

from shared.errors.inputs import InvalidArgument
from shared.errors.transport import TransportError
from shared.terminal import trace_lines
from site_node.home.retrieve_requests import Part, RequestEntry, Requests
from site_node.network.arrivals import Arrivals
from site_node.network.interface import QueryRetrieve
from site_node.network.query import Fetch, Outcome, Query, StudyMatch
from site_node.reasons import is_permanent
from site_node.receive.request_lists import RequestLists, StudyRequest
from site_node.settings.retrieval import RetrievalSettings

log = structlog.get_logger(__name__)

_INSTANCES_PER_REQUEST = 100


class _Refusal(Exception):
    """Nothing can be retrieved for the request; its one argument is a code of the catalogue of reasons."""


@dataclass(frozen=True)
class Retrieval:
    """The collaborators and settings of an attempt."""

    pacs: QueryRetrieve
    settings: RetrievalSettings
    requests: Requests
    lists: RequestLists
    arrivals: Arrivals
    reserve: int = 0
    has_space: Callable[[], bool] = lambda: True  # while `False` nothing is attempted, so that no attempt is used up

    def attempt(self, entry: RequestEntry) -> RequestEntry:
        """Make one attempt at a request, and return its entry after that."""
        request = self.lists.get(entry.id)
        try:
            studies = self._studies(request)
            parts = self._query_counts(studies, entry.parts)
            self.requests.announced(entry.id, parts)
            parts = [self._retrieve(study, part) for study, part in zip(studies, parts, strict=True)]
        except _Refusal as refusal:
            self._refuse(entry, str(refusal.args[0]))
        except TransportError as error:  # in the query, before any retrieval
            self._conclude(entry, self._previous_parts(entry), error.reason)
        except Exception as error:  # noqa: BLE001 -- a defect with one request must not stop the others
            log.error("pacs.defect", request=entry.id, trace=trace_lines(error))
            self._conclude(entry, self._previous_parts(entry), "internal-error")
        else:
            self._conclude(entry, parts, next((part.reason for part in parts if part.reason), ""))
        return self.requests.get(entry.id) or entry

    def _query_counts(self, studies: Sequence[StudyMatch], before: Sequence[Part]) -> list[Part]:
        """How many instances the PACS announces of each study; raises `_Refusal` where there are none.

        A study that was whole before has left the arrivals since: it is not asked for again.
        """
        whole = {part.key: part for part in before if 0 < part.announced == part.arrived}
        parts = [
            whole.get(self.arrivals.key(study.study_uid))
            or self._count(study, self.pacs.announced(study), "not-arrived")
            for study in studies
        ]
        if not any(part.announced for part in parts):
            raise _Refusal("nothing-in-study")
        return parts

    def _studies(self, request: StudyRequest | None) -> tuple[StudyMatch, ...]:
        """The studies that the request means, all of one patient; raises `_Refusal`."""
        if request is None:
            raise _Refusal("request-lost")
        try:
            matches = self.pacs.studies(Query(accession=request.accession, study_uid=request.study_uid))
        except InvalidArgument:
            raise _Refusal("query-invalid") from None
        meant = {
            study.study_uid: study
            for study in matches
            if (study.accession == request.accession if request.accession else study.study_uid == request.study_uid)
        }
        if not meant and not request.accession:
            raise _Refusal("unknown-study")
        if not matches:
            raise _Refusal("unknown-accession")
        if not meant:
            raise _Refusal(
                "other-accession" if any(study.accession for study in matches) else "answer-without-accession"
            )
        if len({(study.patient_id, study.issuer) for study in meant.values()}) > 1:
            raise _Refusal("several-patients")
        if request.patient_id and {study.patient_id for study in meant.values()} != {request.patient_id}:
            raise _Refusal("other-patient")
        return tuple(meant.values())

    def _count(self, study: StudyMatch, announced: int, reason: str) -> Part:
        """Count the arrived instances. More than announced means that the PACS received more meanwhile."""
        arrived = self.arrivals.count(study.study_uid)
        return Part(
            key=self.arrivals.key(study.study_uid),
            announced=max(announced, arrived),
            arrived=arrived,
            reason=reason if arrived < announced else "",
        )

    def _retrieve(self, study: StudyMatch, part: Part) -> Part:
        """Fetch an incomplete study and count again, against a new announcement if the count differs."""
        if not part.reason:
            return part
        try:
            outcome = self._fetch(study.study_uid)
            reason = outcome.reason or "not-arrived"
            announced = part.announced
            if self.arrivals.count(study.study_uid) != part.announced:
                matches = self.pacs.studies(Query(study_uid=study.study_uid))
                current = next((match for match in matches if match.study_uid == study.study_uid), None)
                announced = self.pacs.announced(current) if current else part.announced
        except TransportError as error:
            reason, announced = error.reason, part.announced
        return self._count(study, announced, reason)

    def _fetch(self, study_uid: str) -> Outcome:
        """Fetch a study, or only the missing instances of one that arrived in part."""
        outcome = Outcome()
        for fetch in self._missing(study_uid) or [Fetch(study_uid=study_uid)]:
            outcome = self.pacs.retrieve(fetch, self.arrivals, self.reserve)
            if outcome.reason:
                break
        return outcome

    def _missing(self, study_uid: str) -> list[Fetch]:
        """Requests for the missing instances of a study; empty where none arrived yet or none is missing."""
        if not self.arrivals.count(study_uid):
            return []
        series = self.pacs.instances(study_uid).items()
        missing = {
            uid: sorted(sop_uid for sop_uid in sop_uids if not self.arrivals.has(study_uid, sop_uid))
            for uid, sop_uids in series
        }
        return [
            Fetch(study_uid=study_uid, series_uid=uid, sop_uids=tuple(sop_uids[start : start + _INSTANCES_PER_REQUEST]))
            for uid, sop_uids in missing.items()
            for start in range(0, len(sop_uids), _INSTANCES_PER_REQUEST)
        ]

    def _previous_parts(self, entry: RequestEntry) -> list[Part]:
        """The parts announced before, with arrivals counted again: a kill may have come before they were noted."""
        return [
            part.model_copy(
                update={"arrived": min(part.announced, max(part.arrived, self.arrivals.count_by_key(part.key)))}
            )
            for part in entry.parts
        ]

    def _refuse(self, entry: RequestEntry, reason: str) -> None:
        """End a request; announced instances that did not arrive have failed, so its studies are incomplete."""
        parts = [part.model_copy(update={"reason": reason}) for part in self._previous_parts(entry)]
        if parts:
            self.requests.reconcile(entry.id, [_failed(part, reason) for part in parts])
        else:
            self.requests.refuse(entry.id, reason)

    def _conclude(self, entry: RequestEntry, parts: Sequence[Part], reason: str) -> None:
        """Reconcile, or wait for the next attempt; after the last attempt missing instances have failed.

        A permanent failure makes an attempt the last one, unless it brought something: then the rest is asked for at
        once, since the PACS may have stopped at the first image that it cannot send.
        """
        attempts = entry.attempts + 1
        missing = not parts or any(part.arrived < part.announced for part in parts)
        log.info("pacs.attempt", request=entry.id, attempt=attempts, missing=missing, reason=reason)
        is_last = attempts >= self.settings.attempts or (is_permanent(reason) and not _has_grown(entry.parts, parts))
        if missing and not is_last:
            seconds = 0.0 if is_permanent(reason) else self.settings.wait_seconds(attempts)
            self.requests.retry_later(entry.id, attempts=attempts, seconds=seconds, reason=reason, parts=parts)
        elif parts:
            self.requests.reconcile(entry.id, [_failed(part, reason) for part in parts])
        else:
            self.requests.refuse(entry.id, reason)


def _has_grown(before: Sequence[Part], after: Sequence[Part]) -> bool:
    return sum(part.arrived for part in after) > sum(part.arrived for part in before)


def _failed(part: Part, reason: str) -> Part:
    failed = part.announced - part.arrived
    return part.model_copy(update={"failed": failed, "reason": (part.reason or reason) if failed else ""})


def work(
    retrieval: Retrieval,
    stop: Event,
    *,
    patience: float | None = None,
    attempted: Callable[[RequestEntry], None] = lambda _: None,
) -> int:
    """Attempt due requests, in the hours and at the rate of the settings, until `stop`; return the number of attempts.

    With `patience` it ends when nothing is due within so many seconds, when the hours are over or the disk is full;
    with an infinite one, when no request is open. `attempted` is called with each entry after its attempt.
    """
    attempts, earliest = 0, 0.0
    settings = retrieval.settings
    while not stop.is_set():
        open_now = settings.is_open(datetime.now().astimezone().time()) and retrieval.has_space()
        entry = retrieval.requests.next_due(datetime.now(UTC)) if open_now else None
        if entry is not None and time.monotonic() >= earliest:
            attempted(retrieval.attempt(entry))
            attempts += 1
            earliest = time.monotonic() + (3600 / settings.studies_per_hour if settings.studies_per_hour else 0)
        elif patience is not None and not ((open_now or isinf(patience)) and _is_soon(retrieval.requests, patience)):
            break
        else:
            stop.wait(0.2)
    return attempts


def _is_soon(requests: Requests, seconds: float) -> bool:
    soonest = requests.open().next_due
    return soonest is not None and (soonest - datetime.now(UTC)).total_seconds() <= seconds
