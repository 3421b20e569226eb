"""Why a file is not read: errors that bear a code of the catalogue of reasons."""

from shared.errors.studies import DicomUnreadable, DicomUnsupported
from site_node.reasons import sentence_of


def unreadable(code: str) -> DicomUnreadable:
    """The error for a file that cannot be received; its `reason` field carries the code."""
    return DicomUnreadable(reason=code, problem=sentence_of(code).rstrip("."))


def malformed(code: str, attribute: str | None = None) -> DicomUnsupported:
    """The error for bytes that are no well-formed DICOM; its fields carry the code and the attribute's keyword."""
    return DicomUnsupported(code=code, problem=sentence_of(code).rstrip("."), attribute=attribute or "")
