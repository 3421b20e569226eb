"""How far a study has come, as types.

`Received -> Included | Review | Excluded -> Deidentified -> Validated -> Sealed -> Submitted`. A stage takes one of
these and returns the next, so a study cannot be sealed before it is validated: `seal` accepts nothing but `Validated`,
and only `validate` makes one. A refusal is a value that carries its reasons.
"""

import os
import re
from collections.abc import Collection, Sequence
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import (
    Field,
    PlainSerializer,
    SerializationInfo,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from shared.frozen import Frozen
from shared.ids import PatientPseudonym, Sha256, SiteId, StudyKey, Uid
from shared.manifest import SignedManifest
from shared.protocol.accepted import MOST_ACCEPTED, AcceptedWord


class Severity(StrEnum):
    """How grave a reason is."""

    ACCEPT = "accept"
    WARN = "warn"
    REVIEW = "review"
    REJECT = "reject"


class Ending(StrEnum):
    """Where every instance and study visibly ends."""

    SUBMITTED = "submitted"
    EXCLUDED = "excluded"  # by the criteria
    QUARANTINED = "quarantined"  # a person must look
    REFUSED = "refused"  # cannot be processed safely
    WAITING = "waiting"


class Reason(Frozen):
    """Why: a stable code, a sentence without any patient's value, and the attribute (keyword) it rests on."""

    code: str
    message: str
    severity: Severity
    attribute: str | None = None


_GRAVITY = (Severity.REJECT, Severity.REVIEW, Severity.WARN, Severity.ACCEPT)


def lead_of(reasons: Sequence[Reason]) -> str:
    """The code of the gravest reason, by which a study is counted; empty where there is none."""
    return min(reasons, key=lambda reason: _GRAVITY.index(reason.severity)).code if reasons else ""


class Identity(Frozen):
    """Who the patient is at this hospital: (IssuerOfPatientID, PatientID), stripped of padding. PHI, never shown."""

    issuer: str = Field(repr=False)
    patient_id: str = Field(repr=False, min_length=1)


class ClinicalRow(Frozen):
    """One row of the hospital's clinical sheet: typed and coded values by dictionary name. PHI, never shown.

    `keys` are the hospital's identifiers (MRN, accession, study UID) that join it to studies; they never leave.
    """

    row: int = Field(ge=1)  # as the sheet's reader counts, headings included
    keys: dict[str, str] = Field(repr=False)
    values: dict[str, str | int | float | date | None] = Field(repr=False)


class NoRowReason(StrEnum):
    """Why no row of the clinical sheets joins a study."""

    NO_ROW = "no-row"  # no row names the patient or the exam
    OTHER_EXAM = "other-exam"  # rows name the patient, but other exams
    KEYS_DISAGREE = "keys-disagree"  # a row names the exam, but another identifier in it differs
    SEVERAL_ROWS = "several-rows"


class FileStamp(NamedTuple):
    """A file's identity and times, by which a change shows: inode, size in bytes, times of change in ns.

    The device is left out: machines that share a file system number it differently.
    """

    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, state: os.stat_result) -> Self:
        """The stamp of a file in this state."""
        return cls(state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


def _path_text(path: Path, info: SerializationInfo) -> str:
    """A path as JSON holds it: below the folder of the context without that, one that is no UTF-8 in hexadecimal."""
    folder = info.context
    text = str(path.relative_to(folder) if isinstance(folder, Path) and path.is_relative_to(folder) else path)
    return text if text.isascii() or not _NO_UTF_8.search(text) else _BYTES + os.fsencode(path).hex()


def _path_of(value: object, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Path:
    if isinstance(value, str) and value.startswith(_BYTES):
        value = os.fsdecode(bytes.fromhex(value.removeprefix(_BYTES)))
    path: Path = handler(value)
    return info.context / path if isinstance(info.context, Path) else path


_BYTES = "bytes:"
_NO_UTF_8 = re.compile("[\ud800-\udfff]")  # as Python shows such bytes (PEP 383)
AnyPath = Annotated[Path, WrapValidator(_path_of), PlainSerializer(_path_text, return_type=str, when_used="json")]


class Instance(Frozen):
    """One DICOM file as received. Its UIDs are the hospital's own: PHI.

    Our copy in the spool is known by its digest; a file that is read where it lies, by its stamp.
    """

    path: AnyPath = Field(repr=False)
    size: int
    sha256: Sha256 | None = None  # of the whole file
    stamp: FileStamp | None = None
    opaque_name: str = ""  # where the path says none
    sop_instance_uid: str = Field(repr=False)
    sop_class_uid: str
    series_instance_uid: str = Field(repr=False)
    transfer_syntax_uid: str

    @property
    def name(self) -> str:
        """The site's own opaque name for the instance: in the spool its file's, the digest of its data."""
        return self.opaque_name or self.path.stem


class LeftOut(Frozen):
    """An instance that does not go on with its study, and why."""

    instance: Instance
    ending: Ending
    reasons: tuple[Reason, ...]


class Received(Frozen):
    """A study as received: one StudyInstanceUID, one patient (`None`: no PatientID), at least one instance."""

    key: StudyKey
    study_instance_uid: str = Field(repr=False)
    identity: Identity | None = Field(repr=False)
    instances: tuple[Instance, ...] = Field(min_length=1)


class DroppedWord(NamedTuple):
    """A word that left a text since no list names it, and the form in which it is compared with names. PHI."""

    word: str
    form: str


class StudyTexts(NamedTuple):
    """What the home keeps of a study's texts, as keyed digests and sealed words. PHI.

    `names` holds the forms of the names, places and institutions that were removed.
    """

    identity: Identity
    names: frozenset[str]
    dropped: frozenset[DroppedWord]


class Included(Frozen):
    """A study that meets the criteria, in whole or in part."""

    study: Received
    kept: tuple[Instance, ...] = Field(min_length=1)
    left_out: tuple[LeftOut, ...]
    warnings: tuple[Reason, ...]

    @property
    def key(self) -> StudyKey:
        """The site's own name for the study."""
        return self.study.key


class Review(Frozen):
    """A study that a person must look at before it goes on."""

    study: Received
    reasons: tuple[Reason, ...] = Field(min_length=1)


class Excluded(Frozen):
    """A study that the criteria leave out."""

    study: Received
    reasons: tuple[Reason, ...] = Field(min_length=1)


class Refused(Frozen):
    """A study that a later stage cannot process safely (`REFUSED`) or that a person must see (`QUARANTINED`)."""

    key: StudyKey
    ending: Ending
    reasons: tuple[Reason, ...] = Field(min_length=1)
    left_out: tuple[LeftOut, ...] = ()  # where the instances have reasons of their own


class DeidentifiedInstance(Frozen):
    """One rewritten file; `source` is what it was made from, for the validator's eyes only."""

    path: AnyPath
    size: int
    sop_instance_uid: Uid
    series_instance_uid: Uid
    source: Instance = Field(repr=False)
    notes: tuple[Reason, ...] = ()  # what was mended, by code and attribute


class Deidentified(Frozen):
    """A study under its pseudonyms; nothing has checked it yet, so nothing may leave with it."""

    key: StudyKey
    site_id: SiteId
    patient: PatientPseudonym
    study_instance_uid: Uid
    profile_digest: Sha256
    instances: tuple[DeidentifiedInstance, ...] = Field(min_length=1)
    left_out: tuple[LeftOut, ...]
    clinical: dict[str, str | int | float | None] | None = None  # the de-identified clinical row, by dictionary name
    accepted: tuple[AcceptedWord, ...] = Field(default=(), max_length=MOST_ACCEPTED)  # the site's words in its texts
    accepted_version: int = 0  # of the site's list that it was de-identified by


class Validated(Frozen):
    """A study that a second pair of eyes found clean. Only `site_node.validate` makes one. PHI ends here."""

    study: Deidentified
    digests: dict[Uid, Sha256]  # of each new file as it was checked, by SOPInstanceUID
    report_sha256: Sha256
    checked_at: datetime

    @property
    def key(self) -> StudyKey:
        """The site's own name for the study."""
        return self.study.key

    def without(self, withdrawn: Collection[Uid]) -> Self:
        """The same study without the instances that were withdrawn; it may have none left."""
        if not any(uid in withdrawn for uid in self.digests):
            return self
        rest = tuple(each for each in self.study.instances if each.sop_instance_uid not in withdrawn)
        digests = {uid: digest for uid, digest in self.digests.items() if uid not in withdrawn}
        study = self.study.model_copy(update={"instances": rest})
        return self.model_copy(update={"study": study, "digests": digests})


class Sealed(Frozen):
    """A study encrypted to the curator, with its signed manifest, in the outbox."""

    key: StudyKey
    ciphertext: AnyPath
    manifest: SignedManifest

    @property
    def named(self) -> tuple[Uid, PatientPseudonym]:
        """By what it is withdrawn: its new UID, and its patient's pseudonym."""
        return self.manifest.manifest.study, self.manifest.manifest.patient

    @property
    def files(self) -> tuple[Path, Path]:
        """Its files in the outbox: the ciphertext, and the manifest beside it."""
        return self.ciphertext, self.ciphertext.with_suffix(".manifest.json")


class Submitted(Frozen):
    """A study for which the site holds a receipt signed by the coordinator."""

    key: StudyKey
    receipt: Path
    sequence: int
    received_at: datetime
    audit_number: int
