"""Ask a PACS: C-ECHO, C-FIND, and C-MOVE or C-GET of studies.

pynetdicom can lose a response (a race between its threads; about one in 6,000): what comes then is an empty status. It
means *unknown*, never *done*: the association is given up, and the caller asks again, which is safe as an instance that
comes twice replaces itself. Nothing here logs; values stand only in what is returned.
"""

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import Field
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, build_context, build_role

from shared.errors import InvalidArgument, PacsFailed, PacsRefused, PacsUnreachable
from shared.frozen import Frozen
from site_node.dimse import LONGEST_PDU, PacsSettings
from site_node.receive.arrivals import Arrivals
from site_node.receive.contexts import asked_for
from site_node.receive.scp import SUCCESS, handle_store, send_at_once

VERIFICATION = UID("1.2.840.10008.1.1")
STUDY_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
STUDY_MOVE = UID("1.2.840.10008.5.1.4.1.2.2.2")
STUDY_GET = UID("1.2.840.10008.5.1.4.1.2.2.3")

_Value = TypeVar("_Value")

_PENDING = frozenset({0xFF00, 0xFF01})
_WARNINGS = frozenset({0xB000})  # sub-operations complete, one or more failures or warnings
_MOST_ANSWERS = 10_000
_STUDY_KEYS = (
    *("AccessionNumber", "PatientID", "IssuerOfPatientID", "StudyDate", "ModalitiesInStudy", "StudyInstanceUID"),
    *("NumberOfStudyRelatedInstances", "NumberOfStudyRelatedSeries"),
)
_SERIES_KEYS = ("SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances")
_REASONS = {  # PS3.4 tables C.4-2 and C.4-3
    0xA701: "pacs-out-of-resources",
    0xA702: "pacs-could-not-send",
    0xA801: "destination-unknown",
    0xA900: "pacs-did-not-understand",
    0xFE00: "cancelled-by-pacs",
}


class Query(Frozen):
    """What studies are asked for: whole values only, since a wildcard asks a PACS for everything."""

    accession: str = ""
    patient_id: str = ""
    dates: str = Field(default="", pattern=r"^(|\d{8}|\d{8}-\d{8}|\d{8}-|-\d{8})$")
    modality: str = Field(default="", pattern=r"^[A-Z]{0,16}$")
    study_uid: str = Field(default="", pattern=r"^[0-9.]{0,64}$")

    def __repr__(self) -> str:
        """Nothing: every field identifies."""
        return "Query(…)"

    def checked(self) -> "Query":
        """Itself; raises `InvalidArgument` where it holds a wildcard or asks for everything."""
        for name, value in (("The accession number", self.accession), ("The patient ID", self.patient_id)):
            if set(value) & set("*?\\") or any(ord(one) < ord(" ") for one in value):
                raise InvalidArgument(
                    name=name, problem="it holds a wildcard or a control character; give whole values"
                )
        if not any((self.accession, self.patient_id, self.dates, self.study_uid)):
            raise InvalidArgument(name="The query", problem="give an accession number, a patient ID or dates")
        return self


class StudyFound(Frozen):
    """A study as the PACS tells of it: PHI. `instances` is `None` where the PACS does not count."""

    study_uid: str
    accession: str
    patient_id: str
    issuer: str
    date: str
    modalities: str
    instances: int | None
    series: int | None

    def __repr__(self) -> str:
        """Nothing: every field identifies."""
        return "StudyFound(…)"


class SeriesFound(Frozen):
    """A series as the PACS tells of it."""

    series_uid: str
    modality: str
    instances: int | None

    def __repr__(self) -> str:
        """Nothing, likewise."""
        return "SeriesFound(…)"


class Outcome(Frozen):
    """How a retrieval ended, as the PACS tells; a reason where it was not a success. Counts may be missing."""

    reason: str = ""
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None


class Pacs:
    """One PACS. Each question is asked in an association of its own, which is cheap beside what it asks for."""

    def __init__(self, settings: PacsSettings, tls: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        self._tls = tls

    def echo(self) -> None:
        """Ask whether it is there and speaks with us; raises `PacsUnreachable`, `PacsRefused`, `PacsFailed`."""
        with self._associated([build_context(VERIFICATION)]) as association:
            status = association.send_c_echo()
        self._expect("C-ECHO", status)

    def studies(self, query: Query) -> tuple[StudyFound, ...]:
        """The studies that fit; raises as `echo`, and `InvalidArgument` for a query that is not `checked`."""
        asked = _identifier("STUDY", _STUDY_KEYS, query.checked())
        return tuple(map(_study, self._find(asked)))

    def series(self, study_uid: str) -> tuple[SeriesFound, ...]:
        """The series of a study; raises as `echo`."""
        asked = _identifier("SERIES", _SERIES_KEYS, Query(study_uid=study_uid))
        return tuple(
            SeriesFound(
                series_uid=_text(one, "SeriesInstanceUID"),
                modality=_text(one, "Modality"),
                instances=_number(one, "NumberOfSeriesRelatedInstances"),
            )
            for one in self._find(asked)
        )

    def instances(self, study_uid: str) -> frozenset[str]:
        """The SOP Instance UIDs of a study, series by series; for a PACS that does not count. Raises as `echo`."""
        found: set[str] = set()
        for series in self.series(study_uid):
            asked = _identifier("IMAGE", ("SOPInstanceUID",), Query(study_uid=study_uid))
            asked.SeriesInstanceUID = series.series_uid
            found |= {_text(one, "SOPInstanceUID") for one in self._find(asked)}
        return frozenset(found)

    def announced(self, study: StudyFound) -> int:
        """How many instances the study has: as counted for it, else for its series, else one by one."""
        if study.instances is not None:
            return study.instances
        series = self.series(study.study_uid)
        counts = [one.instances for one in series]
        if counts and None not in counts:
            return sum(one for one in counts if one is not None)
        return len(self.instances(study.study_uid))

    def move(self, study_uid: str, destination: str) -> Outcome:
        """Have it send a study to `destination`, which it must know; what arrived is for the caller to count.

        Raises `PacsUnreachable`, `PacsRefused`.
        """
        with self._associated([build_context(STUDY_MOVE)], self._settings.retrieve_seconds) as association:
            return _outcome(association.send_c_move(_of_study(study_uid), destination, STUDY_MOVE))

    def get(self, study_uid: str, arrivals: Arrivals, reserve: int = 0) -> Outcome:
        """Fetch a study over the association that asks for it; it lies in `arrivals` then. Raises as `move`."""
        contexts, classes = asked_for(STUDY_GET)
        handlers = [(evt.EVT_C_STORE, handle_store, [arrivals, reserve])]
        roles = [build_role(one, scp_role=True) for one in classes]
        seconds = self._settings.retrieve_seconds
        with self._associated(contexts, seconds, handlers, roles) as association:
            return _outcome(association.send_c_get(_of_study(study_uid), STUDY_GET))

    def _find(self, asked: Dataset) -> Sequence[Dataset]:
        """All answers; raises `PacsFailed` where the last status is no success, or is none at all."""
        answers: list[Dataset] = []
        with self._associated([build_context(STUDY_FIND)]) as association:
            for status, answer in association.send_c_find(asked, STUDY_FIND):
                if status.get("Status") not in _PENDING:
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
        contexts: Sequence[PresentationContext],
        seconds: float | None = None,
        handlers: Sequence[tuple[Any, ...]] = (),
        roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    ) -> Iterator[Association]:
        """An association that is released at the end; aborted where anything was left open."""
        ae = AE(ae_title=self._settings.calling)
        ae.acse_timeout = ae.connection_timeout = self._settings.answer_seconds
        ae.dimse_timeout = seconds or self._settings.answer_seconds
        ae.network_timeout = None  # the line above says how long
        try:
            association = ae.associate(
                self._settings.host,
                self._settings.port,
                contexts=list(contexts),
                ae_title=self._settings.ae_title,
                max_pdu=LONGEST_PDU,
                ext_neg=list(roles),
                evt_handlers=[(evt.EVT_CONN_OPEN, send_at_once), *handlers],
                tls_args=(self._tls, self._settings.host) if self._tls else None,
            )
        except (OSError, RuntimeError) as error:
            raise PacsUnreachable(type(error).__name__, address=self._address) from None
        if not association.is_established:
            raise self._not_established(association)
        try:
            yield association
            association.release()
        finally:
            if association.is_established:
                association.abort()

    def _not_established(self, association: Association) -> PacsRefused | PacsUnreachable:
        if association.is_rejected:
            return PacsRefused(address=self._address, called=self._settings.ae_title, calling=self._settings.calling)
        return PacsUnreachable(address=self._address)

    def _expect(self, operation: str, status: Dataset) -> None:
        code = status.get("Status")
        if code is None:
            raise PacsFailed(operation=operation, problem="no answer")
        if code != SUCCESS:
            raise PacsFailed(operation=operation, problem=f"status 0x{code:04X}")

    @property
    def _address(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"


def _outcome(answers: Iterator[tuple[Dataset, Dataset | None]]) -> Outcome:
    """The last status of a retrieval. An empty one, or none, is *unknown*: the counts seen so far come with it."""
    seen = Outcome(reason="no-answer")
    for status, _ in answers:
        code = status.get("Status")
        counts = {
            name: _number(status, f"NumberOf{name.title()}Suboperations") for name in ("completed", "failed", "warning")
        }
        seen = Outcome(reason="no-answer", **{name: count for name, count in counts.items() if count is not None})
        if code is not None and code not in _PENDING:
            return seen.model_copy(update={"reason": _reason(code, seen.failed)})
    return seen


def _reason(code: int, failed: int | None) -> str:
    if code == SUCCESS and not failed:
        return ""
    if code == SUCCESS or code in _WARNINGS:
        return "pacs-sent-in-part"
    return _REASONS.get(code, f"pacs-status-{code:04x}")


def _identifier(level: str, keys: Sequence[str], query: Query) -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    for key in keys:
        setattr(asked, key, "" if not key.startswith("Number") else None)
    values = {
        "AccessionNumber": query.accession,
        "PatientID": query.patient_id,
        "StudyDate": query.dates,
        "ModalitiesInStudy": query.modality,
        "StudyInstanceUID": query.study_uid,
    }
    for key, value in values.items():
        if value:
            setattr(asked, key, value)
    if not query.accession.isascii() or not query.patient_id.isascii():
        asked.SpecificCharacterSet = "ISO_IR 192"
    return asked


def _of_study(study_uid: str) -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel = "STUDY"
    asked.StudyInstanceUID = study_uid
    return asked


def _study(answer: Dataset) -> StudyFound:
    return StudyFound(
        study_uid=_text(answer, "StudyInstanceUID"),
        accession=_text(answer, "AccessionNumber"),
        patient_id=_text(answer, "PatientID"),
        issuer=_text(answer, "IssuerOfPatientID"),
        date=_text(answer, "StudyDate"),
        modalities=_text(answer, "ModalitiesInStudy"),
        instances=_number(answer, "NumberOfStudyRelatedInstances"),
        series=_number(answer, "NumberOfStudyRelatedSeries"),
    )


def _text(answer: Dataset, keyword: str) -> str:
    """A value as text, without the padding; several are joined as in the file. Unreadable ones are empty."""
    return _read(lambda: "\\".join(_parts(answer.get(keyword))).strip(" \0")) or ""


def _parts(value: object) -> list[str]:
    if value is None:
        return []
    return [str(value)] if isinstance(value, str) or not hasattr(value, "__iter__") else [str(one) for one in value]


def _number(answer: Dataset, keyword: str) -> int | None:
    value = _read(lambda: int(answer.get(keyword, "")))
    return value if value is not None and value >= 0 else None


def _read(value: Callable[[], _Value]) -> _Value | None:
    try:
        return value()
    except Exception:  # noqa: BLE001 -- pydicom raises whatever it meets in a broken answer, and quotes it
        return None
