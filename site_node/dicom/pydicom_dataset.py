"""The other way to a file's header, by pydicom: for what the fast one leaves to it, and for comparison.

pydicom is lenient: it returns what it could read of a file that ends early, and its warnings quote values. Both are
handled here, so that no later stage meets a file whose elements or pixels end early.
"""

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, TypeVar

import pydicom
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, MediaStorageDirectoryStorage

from shared.errors.studies import DicomUnreadable
from shared.protocol.vr import LONG_VRS, SHORT_VRS
from site_node.dicom.fragments import is_whole
from site_node.dicom.header import AGE_KEYWORDS, HEADER_KEYWORDS, Attributes, Header, header_of
from site_node.dicom.keywords import ATTRIBUTES, PIXELS
from site_node.dicom.unreadable import unreadable

_BROKEN = (InvalidDicomError, BytesLengthException, struct.error, zlib.error, ValueError, TypeError, KeyError,
           AttributeError, NotImplementedError, EOFError, RecursionError, LookupError, OverflowError)  # fmt: skip
T = TypeVar("T")


def read_header(stream: BinaryIO, size: int) -> Header:
    """The header of the file in `stream`, of `size` bytes; raises `DicomUnreadable`."""
    stream.seek(0)
    with _strictly():
        dataset = _parse(stream, size)
        for keyword in AGE_KEYWORDS:  # a file is not refused for these
            try:
                dataset.get(keyword)
            except (*_BROKEN, OSError):
                with suppress(KeyError):
                    del dataset[keyword]
        return header_of(dataset, _syntax(dataset))


def read_as(make: Callable[[Attributes], T], stream: BinaryIO, *, force: bool) -> T:
    """What `make` makes of the attributes that `ATTRIBUTES` names; raises `DicomUnreadable`.

    Without `force` a file needs preamble and prefix; a file may end early.
    """
    stream.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a parser's warning quotes the value it warns of
            return make(pydicom.dcmread(stream, force=force, specific_tags=list(ATTRIBUTES), stop_before_pixels=True))
    except InvalidDicomError:
        raise DicomUnreadable(problem="it lacks the DICOM header") from None
    except Exception:  # noqa: BLE001 -- the parser raises many kinds, and their texts quote values
        raise DicomUnreadable(problem="an element cannot be parsed") from None


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
    representations: set[str | None] = set()

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        representations.add(vr)
        if int(tag) in PIXELS:
            pixels.append((vr, length))
        return bool(pixels)

    dataset = read_partial(stream, at_pixels, force=True, specific_tags=[Tag(name) for name in HEADER_KEYWORDS])
    if dataset.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise unreadable("dicomdir")
    if _syntax(dataset) == DeflatedExplicitVRLittleEndian:
        return dataset
    if pixels:
        vr, length = pixels[0]
        whole = is_whole(stream, size, stream.tell() + (12 if vr in LONG_VRS else 8), length)
    else:
        whole = stream.tell() <= size  # skipping a value that is cut off leads past the end
    if not whole:  # after an unknown representation pydicom takes other bytes for the length
        is_known = dataset.original_encoding[0] or representations <= LONG_VRS | SHORT_VRS
        raise unreadable("truncated" if is_known else "malformed-element")
    return dataset


def _syntax(dataset: FileDataset) -> str:
    """The transfer syntax; without file meta information implicit or explicit little endian, as pydicom detected."""
    stated = dataset.file_meta.get("TransferSyntaxUID")
    if stated:
        return str(stated)
    return str(ImplicitVRLittleEndian if dataset.original_encoding[0] else UID("1.2.840.10008.1.2.1"))
