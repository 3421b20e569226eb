"""Ask a PACS: C-ECHO, C-FIND, and C-MOVE or C-GET of studies.

pynetdicom can lose a response (a race between its threads; about one in 6,000): what comes then is an empty status. It
means *unknown*, never *done*: the association is given up, and the caller asks again, which is safe as an instance that
comes twice replaces itself. Nothing here logs; values stand only in what is returned.
"""

import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, build_context, build_role

from shared.errors import PacsFailed
from site_node.network.arrivals import Arrivals
from site_node.network.connection import associated
from site_node.network.interface import QueryRetrieve
from site_node.network.presentation_contexts import asked_for
from site_node.network.query import (
    PENDING,
    SERIES_KEYS,
    STUDY_KEYS,
    SUCCESS,
    Fetch,
    Outcome,
    Query,
    SeriesFound,
    StudyFound,
    identifier,
    is_uid,
    outcome_of,
    series_found,
    study_found,
    text_of,
    to_retrieve,
)
from site_node.network.scp import handle_store
from site_node.settings.dimse import PacsSettings

VERIFICATION = UID("1.2.840.10008.1.1")
STUDY_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
STUDY_MOVE = UID("1.2.840.10008.5.1.4.1.2.2.2")
STUDY_GET = UID("1.2.840.10008.5.1.4.1.2.2.3")

_MOST_ANSWERS = 10_000


class Pacs(QueryRetrieve):
    """One PACS. Each question is asked in an association of its own, which is cheap beside what it asks for.

    `destination` is our AE title as it knows it, for C-MOVE.
    """

    def __init__(self, settings: PacsSettings, tls: ssl.SSLContext | None = None, destination: str = "") -> None:
        self._settings = settings
        self._tls = tls
        self._destination = destination

    def echo(self) -> None:
        """Ask whether it is there and speaks with us; raises `PacsUnreachable`, `PacsRefused`, `PacsFailed`."""
        with self._associated("C-ECHO", [build_context(VERIFICATION)]) as association:
            status = association.send_c_echo()
        self._expect("C-ECHO", status)

    def studies(self, query: Query) -> tuple[StudyFound, ...]:
        """The studies that fit; raises as `echo`, and `InvalidArgument` for a query that is not `checked`."""
        asked = identifier("STUDY", STUDY_KEYS, query.checked())
        found = tuple(map(study_found, self._find(asked)))
        if not all(is_uid(one.study_uid) for one in found):
            raise PacsFailed(operation="C-FIND", problem="it names a study without a valid UID")
        return found

    def series(self, study_uid: str) -> tuple[SeriesFound, ...]:
        """The series of a study; raises as `echo`."""
        asked = identifier("SERIES", SERIES_KEYS, Query(study_uid=study_uid))
        return tuple(map(series_found, self._find(asked)))

    def instances(self, study_uid: str) -> dict[str, frozenset[str]]:
        """The SOP Instance UIDs of each series of a study; for a PACS that does not count. Raises as `echo`."""
        found: dict[str, frozenset[str]] = {}
        for series in self.series(study_uid):
            asked = identifier("IMAGE", ("SOPInstanceUID",), Query(study_uid=study_uid))
            asked.SeriesInstanceUID = series.series_uid
            found[series.series_uid] = frozenset(text_of(one, "SOPInstanceUID") for one in self._find(asked)) - {""}
        return found

    def retrieve(self, asked: Fetch, arrivals: Arrivals, reserve: int = 0) -> Outcome:
        """C-GET into `arrivals`, or C-MOVE to our SCP, which must listen. Raises `PacsUnreachable`, `PacsRefused`.

        A PACS whose last answer was lost may go on sending without our listening: that is waited for.
        """
        if self._settings.method == "get":
            return self._get(asked, arrivals, reserve)
        outcome = self._move(to_retrieve(asked))
        seconds = self._settings.answer_seconds
        while outcome.reason == "no-answer" and arrivals.still_for(asked.study_uid) < seconds / 4:
            time.sleep(seconds / 16)
        return outcome

    def _move(self, asked: Dataset) -> Outcome:
        with self._associated("C-MOVE", [build_context(STUDY_MOVE)], self._settings.retrieve_seconds) as association:
            return outcome_of(association.send_c_move(asked, self._destination, STUDY_MOVE))

    def _get(self, asked: Fetch, arrivals: Arrivals, reserve: int) -> Outcome:
        contexts, classes = asked_for(STUDY_GET)
        handlers = [(evt.EVT_C_STORE, handle_store, [arrivals, reserve, asked])]
        roles = [build_role(one, scp_role=True) for one in classes]
        seconds = self._settings.retrieve_seconds
        with self._associated("C-GET", contexts, seconds, handlers, roles) as association:
            return outcome_of(association.send_c_get(to_retrieve(asked), STUDY_GET))

    def _find(self, asked: Dataset) -> Sequence[Dataset]:
        """All answers; raises `PacsFailed` where the last status is no success, or is none at all."""
        answers: list[Dataset] = []
        with self._associated("C-FIND", [build_context(STUDY_FIND)]) as association:
            for status, answer in association.send_c_find(asked, STUDY_FIND):
                if status.get("Status") not in PENDING:
                    self._expect("C-FIND", status)
                    return answers
                if answer is not None:
                    answers.append(answer)
                if len(answers) > _MOST_ANSWERS:
                    raise PacsFailed(operation="C-FIND", problem=f"more than {_MOST_ANSWERS} answers; ask for less")
        raise PacsFailed(operation="C-FIND", problem="the answers end without a status")

    @contextmanager
    def _associated(
        self,
        operation: str,
        contexts: Sequence[PresentationContext],
        seconds: float | None = None,
        handlers: Sequence[tuple[Any, ...]] = (),
        roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    ) -> Iterator[Association]:
        """An association for the service that the first of `contexts` is for; pynetdicom's errors become ours."""
        try:
            with associated(
                self._settings,
                contexts,
                answer_seconds=self._settings.answer_seconds,
                dimse_seconds=seconds,
                tls=self._tls,
                handlers=handlers,
                roles=roles,
            ) as association:
                if contexts[0].abstract_syntax not in {one.abstract_syntax for one in association.accepted_contexts}:
                    raise PacsFailed(operation=operation, problem="it does not offer this service")
                yield association
        except (RuntimeError, ValueError) as error:  # it ended just before we asked; it cannot be encoded
            raise PacsFailed(
                type(error).__name__, operation=operation, problem="it broke off, or was asked wrongly"
            ) from None

    def _expect(self, operation: str, status: Dataset) -> None:
        code = status.get("Status")
        if code is None:
            raise PacsFailed(operation=operation, problem="no answer")
        if code != SUCCESS:
            raise PacsFailed(operation=operation, problem=f"status 0x{code:04X}")
