"""Read just enough of a DICOM file to identify its patient and study, and refuse one that is cut off.

pydicom is lenient: it returns what it could read of a file that ends early, and its warnings quote values. Both are
handled here, so that no later stage meets a file whose elements or pixels end early.
"""

import hashlib
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, MediaStorageDirectoryStorage

from shared.errors import DicomUnreadable
from shared.frozen import Frozen
from site_node.reasons import ending_of, reason_for, sentence_of
from site_node.study import Ending, Identity, Reason

_KEYWORDS = ("SOPClassUID", "SOPInstanceUID", "PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID")
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_UNDEFINED = 0xFFFFFFFF
_META = b"\x02\x00"  # the group of file meta information, explicit little endian
_BLOCK = 1 << 20
_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_BROKEN = (InvalidDicomError, BytesLengthException, struct.error, zlib.error, ValueError, TypeError, KeyError,
           AttributeError, NotImplementedError, EOFError, RecursionError, LookupError, OverflowError)  # fmt: skip


class RefusedFile(Frozen):
    """A file that did not become part of a study, and why. `source` is its name relative to the source: PHI."""

    source: str
    ending: Ending
    reason: Reason

    def __repr__(self) -> str:
        """The reason alone; a file name may hold a patient's."""
        return f"RefusedFile({self.reason.code})"


class Header(Frozen):
    """The identifying attributes of a file; an `identity` of `None` means that it has no PatientID. PHI."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    identity: Identity | None

    def __repr__(self) -> str:
        """Nothing: every field identifies."""
        return "Header(…)"


def refused(source: str, code: str) -> RefusedFile:
    """The record of a file refused with a code of the catalogue; a person looks at conflicting bytes."""
    reason = reason_for(code)
    return RefusedFile(source=source, ending=ending_of(reason), reason=reason)


def unreadable(code: str) -> DicomUnreadable:
    """The error for a code of the catalogue; its `reason` field carries the code."""
    return DicomUnreadable(reason=code, problem=sentence_of(code).rstrip("."))


def looks_like_dicom(start: bytes) -> bool:
    """Whether a file with this start may be DICOM: `DICM` at 128, or, without a preamble, group 0002 or 0008 first."""
    if start[128:132] == b"DICM":
        return True
    return start[0:2] in {b"\x02\x00", b"\x08\x00"} and start[3:4] == b"\x00"


def read_header(stream: BinaryIO, size: int) -> Header:
    """The header of the file in `stream`, of `size` bytes.

    Raises `DicomUnreadable` whose field `reason` is a code of the catalogue.
    """
    start = stream.read(132)
    if not start:
        raise unreadable("empty-file")
    if not looks_like_dicom(start):
        raise unreadable("not-dicom")
    stream.seek(0)
    with _strictly():
        return _header(_parse(stream, size))


@contextmanager
def _strictly() -> Iterator[None]:
    """Suppress pydicom's warnings, which quote values, and raise `DicomUnreadable` for its many errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except EOFError:
        raise unreadable("truncated") from None
    except _BROKEN:
        raise unreadable("corrupt") from None  # its text may quote a value
    except OSError as error:  # pydicom's own, for broken items, has no number
        raise unreadable("corrupt" if error.errno is None else "unreadable") from None


def _parse(stream: BinaryIO, size: int) -> FileDataset:
    """Read the header's elements and skip the others; raises `DicomUnreadable` if the file ends early."""
    pixels: list[tuple[str | None, int]] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if int(tag) in _PIXELS:
            pixels.append((vr, length))
        return bool(pixels)

    dataset = read_partial(stream, at_pixels, force=True, specific_tags=[Tag(name) for name in _KEYWORDS])
    if dataset.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise unreadable("dicomdir")
    if _syntax(dataset) != DeflatedExplicitVRLittleEndian and not _is_whole(stream, size, pixels):
        raise unreadable("truncated")
    return dataset


def _is_whole(stream: BinaryIO, size: int, pixels: list[tuple[str | None, int]]) -> bool:
    """Whether what follows fits in the file; `stream` is at the pixel data, or where the elements ended."""
    if not pixels:
        return stream.tell() <= size  # skipping a value that is cut off leads past the end
    vr, length = pixels[0]
    begin = stream.tell() + (12 if vr in _LONG_VRS else 8)
    if length != _UNDEFINED:
        return begin + length <= size
    stream.seek(begin)
    return _ends_with_delimiter(stream, size)


def _ends_with_delimiter(stream: BinaryIO, size: int) -> bool:
    """Step over the items of encapsulated pixel data (PS3.5 section A.4) to their delimiter."""
    while len(head := stream.read(8)) == 8:
        if head[:4] == _DELIMITER:
            return True
        if head[:4] != _ITEM:
            return False
        position = stream.tell() + int.from_bytes(head[4:], "little")
        if position > size:
            return False
        stream.seek(position)
    return False


def data_digest(stream: BinaryIO, header: Header) -> str:
    """The digest that identifies an instance: SHA-256 of its UID, transfer syntax and every byte of its data set.

    File meta information is left out: each writer of a file writes its own (PS3.10 section 7.1), so an instance from a
    folder and again from a PACS has the same digest. `stream` is the file; it is read to its end.
    """
    digest = hashlib.sha256(f"{header.sop_instance_uid}\0{header.transfer_syntax_uid}\0".encode())
    stream.seek(_data_begin(stream))
    while block := stream.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _data_begin(stream: BinaryIO) -> int:
    """The offset of the data set; 0, which covers the whole file, if the file meta information is broken."""
    stream.seek(0)
    begin = len(start) if (start := stream.read(132))[128:] == b"DICM" else 0
    stream.seek(begin)
    while len(head := stream.read(8)) == 8 and head[:2] == _META:
        is_long = head[4:6].decode("latin-1") in _LONG_VRS
        length = int.from_bytes(stream.read(4) if is_long else head[6:8], "little")
        begin = stream.tell() + length
        stream.seek(begin)
    return begin if len(head) == 8 else 0


def _header(dataset: FileDataset) -> Header:
    texts = {keyword: _text(dataset, keyword) for keyword in _KEYWORDS}
    required = {
        "StudyInstanceUID": "no-study-uid",
        "SeriesInstanceUID": "no-series-uid",
        "SOPInstanceUID": "no-sop-uid",
        "SOPClassUID": "no-sop-class",
    }
    for keyword, code in required.items():
        if not texts[keyword]:
            raise unreadable(code)
    patient = texts["PatientID"]
    return Header(
        study_instance_uid=texts["StudyInstanceUID"],
        series_instance_uid=texts["SeriesInstanceUID"],
        sop_instance_uid=texts["SOPInstanceUID"],
        sop_class_uid=texts["SOPClassUID"],
        transfer_syntax_uid=_syntax(dataset),
        identity=Identity(issuer=texts["IssuerOfPatientID"], patient_id=patient) if patient else None,
    )


def _syntax(dataset: FileDataset) -> str:
    """The transfer syntax; without file meta information implicit or explicit little endian, as pydicom detected."""
    stated = dataset.file_meta.get("TransferSyntaxUID")
    if stated:
        return str(stated)
    return str(ImplicitVRLittleEndian if dataset.original_encoding[0] else UID("1.2.840.10008.1.2.1"))


def _text(dataset: FileDataset, keyword: str) -> str:
    """One attribute without padding: trailing spaces and NULs do not make another patient (PS3.5 section 6.2)."""
    value = dataset.get(keyword)
    values = [value] if isinstance(value, str) or value is None else list(value)
    return "\\".join(str(part).strip(" \0") for part in values if part is not None)
