"""Why an instance does not go on: one table of codes, endings and sentences. No sentence holds a value."""

from types import MappingProxyType

from shared.errors import DicomUnsupported
from site_node.dicom.malformed import MALFORMED
from site_node.study import Ending, Reason, Severity

_REFUSED = MappingProxyType(
    MALFORMED
    | {
        "kind-not-allowed": "the kind of object (SOP class) is not one that the profile processes",
        "transfer-syntax-not-allowed": "the transfer syntax is not one that can be searched for hidden text",
        "unknown-tail": "bytes that are no elements follow the data set",
        "unknown-character-set": "SpecificCharacterSet names a character set that is not known",
        "invalid-date": "a date that must be there is no date",
        "no-identifiers": "StudyInstanceUID, SeriesInstanceUID or SOPInstanceUID is missing",
        "other-study": "the file's own StudyInstanceUID is not the study's",
        "too-large": "the file has more outside its native pixel data than fits into memory",
        "pixel-length": "the pixel data have not the length that rows, columns and frames ask for",
        "pixel-fragments": "the compressed pixel data are broken, or their number of frames is wrong",
        "pixel-hidden-data": "the compressed pixel data hold segments that cannot be removed safely",
        "changed-while-reading": "the file changed between receiving and rewriting",
        "not-writable": "the new file could not be written",
    }
)
_QUARANTINED = MappingProxyType(
    {
        "no-identity": "there is no PatientID; unknown patients are never merged",
        "other-patient": "the file's own PatientID is not the study's",
        "kind-may-hold-text": "objects of this kind often hold text in their pixels",
        "burned-in-annotation": "BurnedInAnnotation says that the pixels hold text",
        "screen-or-report": "ImageType or ConversionType says that this is a screen copy or a report",
        "ultrasound-region": "ultrasound regions mark an image with text in its pixels",
        "overlay-in-pixels": "an overlay is stored in unused bits of the pixel data",
        "malformed-age": "PatientAge is no age string, so it cannot be told whether it is over 89",
        "cannot-blank": "a box lies outside the picture, or the pixels have a form in which it cannot be blanked",
        "same-new-name": "two instances of the study bear the same SOPInstanceUID",
    }
)


def unsupported(code: str, attribute: str | None = None) -> DicomUnsupported:
    """The error to raise for a code of this table; its fields carry the code and the attribute's keyword."""
    return DicomUnsupported(code=code, problem=_sentence(code), attribute=attribute or "")


def reason_of(error: DicomUnsupported) -> tuple[Ending, Reason]:
    """What a stop means for the instance it came from."""
    code = error.fields["code"]
    ending = Ending.QUARANTINED if code in _QUARANTINED else Ending.REFUSED
    severity = Severity.REVIEW if ending is Ending.QUARANTINED else Severity.REJECT
    attribute = error.fields["attribute"] or None
    return ending, Reason(code=code, message=_sentence(code), severity=severity, attribute=attribute)


def codes() -> frozenset[str]:
    """Every code of the table."""
    return frozenset(_REFUSED) | frozenset(_QUARANTINED)


def _sentence(code: str) -> str:
    return _QUARANTINED.get(code) or _REFUSED[code]
