"""Why a file of a source is not read: codes and sentences. No sentence holds a value."""

from types import MappingProxyType

from shared.errors import DicomUnreadable

MESSAGES = MappingProxyType(
    {
        "not-dicom": "the file is no DICOM",
        "empty-file": "the file is empty",
        "truncated": "the file ends before its data do",
        "corrupt": "the file's structure is broken",
        "dicomdir": "a DICOMDIR is an index, not an image; the files it names are taken by themselves",
        "no-study-uid": "the file lacks a StudyInstanceUID",
        "no-series-uid": "the file lacks a SeriesInstanceUID",
        "no-sop-uid": "the file lacks a SOPInstanceUID",
        "no-sop-class": "the file lacks a SOPClassUID",
        "unreadable": "the file cannot be opened or read",
        "not-a-file": "this is no plain file (a device, socket or pipe)",
        "link-outside": "a link leads out of the folder named",
        "link-loop": "a link leads back to a folder that contains it",
        "link-broken": "a link leads nowhere",
        "path-outside": "a name leads out of the folder or archive named",
        "nested-archive": "an archive inside an archive is not opened",
        "archive-damaged": "the archive is damaged or encrypted",
        "listed-but-missing": "the DICOMDIR names a file that is not there",
        "other-bytes": "two files bear one SOPInstanceUID but differ; neither can be trusted",
    }
)


def unreadable(code: str) -> DicomUnreadable:
    """The error for one of `MESSAGES`; its `reason` field carries the code."""
    return DicomUnreadable(reason=code, problem=MESSAGES[code])
