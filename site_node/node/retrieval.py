"""Take requests to their end: asked, retrieved, counted, asked again, and reconciled.

What counts is what lies in the arrivals, not what anybody said: an answer that never came, a PACS that was killed or we
ourselves change nothing in that. A study of an open request stays in the arrivals, so after a restart only what is
missing is asked for.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event

import structlog

from shared.errors import InvalidArgument, TransportError
from shared.terminal import trace_lines
from site_node.home.retrieve_requests import Part, RequestEntry, Requests
from site_node.network.arrivals import Arrivals
from site_node.network.interface import QueryRetrieve
from site_node.network.query import Fetch, Outcome, Query, StudyFound
from site_node.receive.request_lists import Wanted, WantedFiles
from site_node.settings.retrieval import Pacing

log = structlog.get_logger(__name__)

_AT_ONCE = 100  # instances asked for by name in one request

REASONS = {
    "unknown-accession": "the PACS has no study with this accession number",
    "unknown-study": "the PACS has no study with this UID",
    "other-accession": "the PACS answered with other accession numbers than the one asked for",
    "several-patients": "studies of more than one patient have this accession number; find out which is meant",
    "other-patient": "the accession number belongs to another patient than the list says",
    "nothing-in-study": "the PACS has the study but no image of it",
    "request-lost": "the list that it was part of is gone from the home",
    "pacs-sent-in-part": "the PACS sent only part of it",
    "not-arrived": "the PACS said that all was sent, and not all of it came",
    "no-answer": "the PACS did not say how it ended",
    "destination-unknown": "the PACS does not know our AE title as a destination",
    "pacs-could-not-send": "the PACS could not send",
    "pacs-out-of-resources": "the PACS had no room for the request",
    "pacs-did-not-understand": "the PACS did not understand the request",
    "cancelled-by-pacs": "the PACS cancelled",
    "pacs-unreachable": "the PACS was not there, or broke off",
    "pacs-refused": "the PACS does not let our AE title in",
    "dicomweb-refused": "the PACS does not let this account in",
    "sent-other": "the PACS sent something else than what was asked for",
    "sent-broken": "the PACS sent something that is no whole DICOM file",
    "disk-full": "this machine has no room left",
    "not-kept": "this machine could not write it",
    "pacs-failed": "the PACS did not answer the question whole",
    "internal-error": "a defect of ours; tell us, or try again",
    "query-invalid": "it cannot be asked for: a wildcard or a control character",
}


class _Refusal(Exception):
    """Nothing can be retrieved for the request; its one argument is a code of `REASONS`."""


@dataclass(frozen=True)
class Retrieval:
    """Everything that an attempt needs."""

    pacs: QueryRetrieve
    settings: Pacing
    requests: Requests
    wanted: WantedFiles
    arrivals: Arrivals
    reserve: int = 0
    has_room: Callable[[], bool] = lambda: True  # without it nothing is attempted, so that no attempt is used up

    def attempt(self, entry: RequestEntry) -> RequestEntry:
        """One attempt at one request; how it stands after that."""
        wanted = self.wanted.get(entry.id)
        try:
            studies = self._studies(wanted)
            parts = self._announced(studies)
            self.requests.found(entry.id, parts)
            parts = [self._retrieve(study, part) for study, part in zip(studies, parts, strict=True)]
        except _Refusal as refusal:
            self._refuse(entry, str(refusal.args[0]))
        except TransportError as error:  # while it was asked, not yet retrieved
            self._settle(entry, self._before(entry), error.code)
        except Exception as error:  # noqa: BLE001 -- a defect with one request must not stop the others
            log.error("pacs.defect", request=entry.id, trace=trace_lines(error))
            self._settle(entry, self._before(entry), "internal-error")
        else:
            self._settle(entry, parts, next((one.reason for one in parts if one.reason), ""))
        return self.requests.get(entry.id) or entry

    def _announced(self, studies: Sequence[StudyFound]) -> list[Part]:
        """How much each study is; raises `_Refusal` where there is nothing."""
        parts = [self._counted(study, self.pacs.announced(study), "not-arrived") for study in studies]
        if not any(part.announced for part in parts):
            raise _Refusal("nothing-in-study")
        return parts

    def _studies(self, wanted: Wanted | None) -> tuple[StudyFound, ...]:
        """The studies meant, of one patient; raises `_Refusal`."""
        if wanted is None:
            raise _Refusal("request-lost")
        try:
            found = self.pacs.studies(Query(accession=wanted.accession, study_uid=wanted.study_uid))
        except InvalidArgument:
            raise _Refusal("query-invalid") from None
        if not found:
            raise _Refusal("unknown-accession" if wanted.accession else "unknown-study")
        meant = {
            one.study_uid: one
            for one in found
            if one.accession == wanted.accession or (not wanted.accession and one.study_uid == wanted.study_uid)
        }
        if not meant:
            raise _Refusal("other-accession")
        if len({(one.patient_id, one.issuer) for one in meant.values()}) > 1:
            raise _Refusal("several-patients")
        if wanted.patient_id and {one.patient_id for one in meant.values()} != {wanted.patient_id}:
            raise _Refusal("other-patient")
        return tuple(meant.values())

    def _counted(self, study: StudyFound, announced: int, reason: str) -> Part:
        """How many of them are here. More than announced means that the PACS got more meanwhile."""
        arrived = self.arrivals.count(study.study_uid)
        return Part(
            key=self.arrivals.key(study.study_uid),
            announced=max(announced, arrived),
            arrived=arrived,
            reason=reason if arrived < announced else "",
        )

    def _retrieve(self, study: StudyFound, part: Part) -> Part:
        """Fetch a study of which something is missing, and count again; the PACS is asked again how much it is."""
        if not part.reason:
            return part
        try:
            outcome = self._fetch(study.study_uid)
            reason = outcome.reason or "not-arrived"
            announced = part.announced
            if self.arrivals.count(study.study_uid) != part.announced:
                found = self.pacs.studies(Query(study_uid=study.study_uid))
                again = [one for one in found if one.study_uid == study.study_uid]
                announced = self.pacs.announced(again[0]) if again else part.announced
        except TransportError as error:
            reason, announced = error.code, part.announced
        return self._counted(study, announced, reason)

    def _fetch(self, study_uid: str) -> Outcome:
        """Fetch a study, or only what is missing of one that is here in part."""
        outcome = Outcome()
        for asked in self._missing(study_uid) or [Fetch(study_uid=study_uid)]:
            outcome = self.pacs.retrieve(asked, self.arrivals, self.reserve)
            if outcome.reason:
                break
        return outcome

    def _missing(self, study_uid: str) -> list[Fetch]:
        """What to ask for of a study that is here in part; empty where none of it is, or nothing known is missing."""
        if not self.arrivals.count(study_uid):
            return []
        series = self.pacs.instances(study_uid).items()
        missing = {
            uid: sorted(one for one in sop_uids if not self.arrivals.has(study_uid, one)) for uid, sop_uids in series
        }
        return [
            Fetch(study_uid=study_uid, series_uid=uid, sop_uids=tuple(sop_uids[start : start + _AT_ONCE]))
            for uid, sop_uids in missing.items()
            for start in range(0, len(sop_uids), _AT_ONCE)
        ]

    def _before(self, entry: RequestEntry) -> list[Part]:
        """What was announced before, and how much of it came meanwhile: a kill may have come before it was noted."""
        return [
            part.model_copy(
                update={"arrived": min(part.announced, max(part.arrived, self.arrivals.count_of(part.key)))}
            )
            for part in entry.parts
        ]

    def _refuse(self, entry: RequestEntry, reason: str) -> None:
        """End it; what was announced before and did not come has failed, so that nobody takes the rest for whole."""
        parts = [part.model_copy(update={"reason": reason}) for part in self._before(entry)]
        if parts:
            self.requests.reconcile(entry.id, [_failed(part, reason) for part in parts])
        else:
            self.requests.refuse(entry.id, reason)

    def _settle(self, entry: RequestEntry, parts: Sequence[Part], reason: str) -> None:
        """Reconcile, or wait for the next attempt; after the last one what is missing has failed."""
        attempts = entry.attempts + 1
        missing = not parts or any(part.arrived < part.announced for part in parts)
        log.info("pacs.attempt", request=entry.id, attempt=attempts, missing=missing, reason=reason)
        if missing and attempts < self.settings.attempts:
            seconds = self.settings.wait_seconds(attempts)
            self.requests.again(entry.id, attempts=attempts, seconds=seconds, reason=reason, parts=parts)
        elif parts:
            self.requests.reconcile(entry.id, [_failed(part, reason) for part in parts])
        else:
            self.requests.refuse(entry.id, reason)


def _failed(part: Part, reason: str) -> Part:
    failed = part.announced - part.arrived
    return part.model_copy(update={"failed": failed, "reason": (part.reason or reason) if failed else ""})


def work(retrieval: Retrieval, stop: Event, *, patience: float | None = None) -> int:
    """Attempt what is due, in the hours and at the rate that are set, until `stop`; how many attempts were made.

    With `patience` it ends when nothing is due for so many seconds, when the hours are over or the disk is full.
    """
    made, earliest = 0, 0.0
    settings = retrieval.settings
    while not stop.is_set():
        open_now = settings.is_open(datetime.now().astimezone().time()) and retrieval.has_room()
        entry = retrieval.requests.next_due(datetime.now(UTC)) if open_now else None
        if entry is not None and time.monotonic() >= earliest:
            retrieval.attempt(entry)
            made += 1
            earliest = time.monotonic() + (3600 / settings.studies_per_hour if settings.studies_per_hour else 0)
        elif patience is not None and not (open_now and _is_soon(retrieval.requests, patience)):
            break
        else:
            stop.wait(0.2)
    return made


def _is_soon(requests: Requests, seconds: float) -> bool:
    soonest = min((one.not_before for one in requests.all() if one.is_open), default=None)
    return soonest is not None and (soonest - datetime.now(UTC)).total_seconds() <= seconds
