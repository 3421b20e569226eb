"""Why bytes are no well-formed DICOM: codes and sentences. No sentence holds a value."""

from types import MappingProxyType

from shared.errors import DicomUnsupported

MALFORMED = MappingProxyType(
    {
        "not-readable": "the file is no readable DICOM",
        "truncated": "the file ends before its data do",
        "length-past-end": "an element's length points past the end of the file or of its sequence",
        "malformed-element": "an element has an unknown value representation or a broken header",
        "malformed-sequence": "a sequence is broken",
        "malformed-value": "an attribute that must be there has a value that is none of its kind",
        "doubled-element": "an element stands twice in one data set",
        "too-deep": "sequences are nested more deeply than any real object's",
        "command-group": "the file holds network command elements",
    }
)


def malformed(code: str, attribute: str | None = None) -> DicomUnsupported:
    """The error to raise for a code of this table; its fields carry the code and the attribute's keyword."""
    return DicomUnsupported(code=code, problem=MALFORMED[code], attribute=attribute or "")
