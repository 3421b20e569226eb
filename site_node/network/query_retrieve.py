"""Query a PACS: C-ECHO, C-FIND, and C-MOVE or C-GET of studies.

pynetdicom can lose a response (a race between its threads; about one in 6,000) and then returns an empty status. It
means *unknown*, never *done*: the association is given up, and the caller asks again, which is safe as an instance that
comes twice replaces itself. Nothing here logs; only return values hold PHI.
"""

import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, build_context, build_role

from shared.errors.transport import PacsFailed
from site_node.network.arrivals import Arrivals
from site_node.network.connection import associated, missing_service
from site_node.network.interface import QueryRetrieve, Trial
from site_node.network.presentation_contexts import retrieve_contexts
from site_node.network.query import (
    INSTANCE_KEYS,
    PENDING,
    SERIES_KEYS,
    STUDY_KEYS,
    SUCCESS,
    Fetch,
    Outcome,
    Query,
    SeriesMatch,
    StudyMatch,
    find_identifier,
    is_uid,
    outcome_of,
    reason_of_status,
    retrieve_identifier,
    series_match,
    study_match,
    text_of,
)
from site_node.network.scp import handle_store
from site_node.settings.dimse import PacsSettings

VERIFICATION = UID("1.2.840.10008.1.1")
STUDY_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
STUDY_MOVE = UID("1.2.840.10008.5.1.4.1.2.2.2")
STUDY_GET = UID("1.2.840.10008.5.1.4.1.2.2.3")

_MOST_ANSWERS = 10_000
_NO_STUDY = "2.25.0"  # a UID that no PACS knows


class Pacs(QueryRetrieve):
    """One PACS. Each operation has its own association, whose cost is small beside the operation's.

    `destination` is our AE title in the PACS's configuration, for C-MOVE.
    """

    def __init__(self, settings: PacsSettings, tls: ssl.SSLContext | None = None, destination: str = "") -> None:
        self._settings = settings
        self._tls = tls
        self._destination = destination

    def echo(self) -> None:
        """Check that it answers and lets us in; raises `PacsUnreachable`, `PacsRefused`, `PacsFailed`."""
        with self._associated("C-ECHO", [build_context(VERIFICATION)]) as association:
            status = association.send_c_echo()
        self._expect("C-ECHO", status)

    def studies(self, query: Query) -> tuple[StudyMatch, ...]:
        """The studies that match; raises as `echo`, and `InvalidArgument` for a query that is not `checked`."""
        identifier = find_identifier("STUDY", STUDY_KEYS, query.checked())
        matches = tuple(map(study_match, self._find(identifier)))
        if not all(is_uid(match.study_uid) for match in matches):
            problem = "it names a study without a valid UID"
            raise PacsFailed(operation="C-FIND", problem=problem, reason="answer-without-uid")
        return matches

    def series(self, study_uid: str) -> tuple[SeriesMatch, ...]:
        """The series of a study; raises as `echo`."""
        identifier = find_identifier("SERIES", SERIES_KEYS, Query(study_uid=study_uid))
        return tuple(map(series_match, self._find(identifier)))

    def instances(self, study_uid: str) -> dict[str, frozenset[str]]:
        """The SOP Instance UIDs of each series of a study; for a PACS that does not count. Raises as `echo`."""
        instances: dict[str, frozenset[str]] = {}
        for series in self.series(study_uid):
            identifier = find_identifier("IMAGE", INSTANCE_KEYS, Query(study_uid=study_uid))
            identifier.SeriesInstanceUID = series.series_uid
            sop_uids = (text_of(answer, "SOPInstanceUID") for answer in self._find(identifier))
            instances[series.series_uid] = frozenset(sop_uids) - {""}
        return instances

    def retrieve(self, fetch: Fetch, arrivals: Arrivals, reserve: int = 0) -> Outcome:
        """C-GET into `arrivals`, or C-MOVE to our SCP, which must listen. Raises `PacsUnreachable`, `PacsRefused`.

        After a C-MOVE whose last answer was lost the PACS may still send: wait until it stops.
        """
        if self._settings.method == "get":
            return self._get(fetch, arrivals, reserve)
        outcome = self._move(retrieve_identifier(fetch))
        seconds = self._settings.answer_seconds
        while outcome.reason == "no-answer" and arrivals.seconds_since_arrival(fetch.study_uid) < seconds / 4:
            time.sleep(seconds / 16)
        return outcome

    def trials(self) -> Mapping[str, Trial]:
        """C-FIND, C-GET and C-MOVE; without a sample the last two are only negotiated."""
        retrievals: dict[str, Trial] = {"C-GET": self._try_get, "C-MOVE": self._try_move}
        used = "C-MOVE" if self._settings.method == "move" else "C-GET"
        return {"C-FIND": self._try_find, used: retrievals[used], **retrievals}

    def _try_find(self, _sample: Fetch | None, _arrivals: Arrivals) -> Outcome:
        self.studies(Query(study_uid=_NO_STUDY))
        return Outcome()

    def _try_get(self, sample: Fetch | None, arrivals: Arrivals) -> Outcome:
        if sample is not None:
            return self._get(sample, arrivals, 0)
        contexts, classes = retrieve_contexts(STUDY_GET)
        roles = [build_role(storage_class, scp_role=True) for storage_class in classes]
        with self._associated("C-GET", contexts, roles=roles):
            return Outcome()

    def _try_move(self, sample: Fetch | None, _arrivals: Arrivals) -> Outcome:
        if sample is not None:
            return self._move(retrieve_identifier(sample))
        with self._associated("C-MOVE", [build_context(STUDY_MOVE)]):
            return Outcome()

    def _move(self, identifier: Dataset) -> Outcome:
        with self._associated("C-MOVE", [build_context(STUDY_MOVE)], self._settings.retrieve_seconds) as association:
            return outcome_of(association.send_c_move(identifier, self._destination, STUDY_MOVE))

    def _get(self, fetch: Fetch, arrivals: Arrivals, reserve: int) -> Outcome:
        contexts, classes = retrieve_contexts(STUDY_GET)
        handlers = [(evt.EVT_C_STORE, handle_store, [arrivals, reserve, fetch])]
        roles = [build_role(storage_class, scp_role=True) for storage_class in classes]
        seconds = self._settings.retrieve_seconds
        with self._associated("C-GET", contexts, seconds, handlers, roles) as association:
            return outcome_of(association.send_c_get(retrieve_identifier(fetch), STUDY_GET))

    def _find(self, identifier: Dataset) -> Sequence[Dataset]:
        """All answers; raises `PacsFailed` if the last status is missing or not a success."""
        answers: list[Dataset] = []
        with self._associated("C-FIND", [build_context(STUDY_FIND)]) as association:
            for status, answer in association.send_c_find(identifier, STUDY_FIND):
                if status.get("Status") not in PENDING:
                    self._expect("C-FIND", status)
                    return answers
                if answer is not None:
                    answers.append(answer)
                if len(answers) > _MOST_ANSWERS:
                    problem = f"more than {_MOST_ANSWERS} answers; ask for less"
                    raise PacsFailed(operation="C-FIND", problem=problem, reason="answers-too-many")
        raise PacsFailed(operation="C-FIND", problem="the answers end without a status", reason="no-answer")

    @contextmanager
    def _associated(
        self,
        operation: str,
        contexts: Sequence[PresentationContext],
        seconds: float | None = None,
        handlers: Sequence[tuple[Any, ...]] = (),
        roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    ) -> Iterator[Association]:
        """An association for the service of the first of `contexts`; pynetdicom's errors become ours."""
        try:
            with associated(
                self._settings,
                operation,
                contexts,
                answer_seconds=self._settings.answer_seconds,
                dimse_seconds=seconds,
                tls=self._tls,
                handlers=handlers,
                roles=roles,
            ) as association:
                offered = {context.abstract_syntax for context in association.accepted_contexts}
                if contexts[0].abstract_syntax not in offered:
                    raise missing_service(operation)
                yield association
        except (RuntimeError, ValueError) as error:  # the association ended just before; a value cannot be encoded
            raise PacsFailed(
                type(error).__name__,
                operation=operation,
                problem="it broke off, or was asked wrongly",
                reason="no-answer",
            ) from None

    def _expect(self, operation: str, status: Dataset) -> None:
        code = status.get("Status")
        if code is None:
            raise PacsFailed(operation=operation, problem="no answer", reason="no-answer")
        if code != SUCCESS:
            raise PacsFailed(operation=operation, problem=f"status 0x{code:04X}", reason=reason_of_status(code))
