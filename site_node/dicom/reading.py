"""Read a file's header: by the fast way where it knows the file, else by pydicom. Both give the same."""

from collections.abc import Callable
from typing import BinaryIO, TypeVar

from site_node.dicom.fast_dataset import FastFile, read_fast
from site_node.dicom.fragments import is_whole
from site_node.dicom.header import Attributes, Header, header_of
from site_node.dicom.unreadable import unreadable

_FIRST_GROUPS = frozenset({b"\x02\x00", b"\x08\x00"})  # of file meta information, and of most data sets
T = TypeVar("T")


def looks_like_dicom(start: bytes) -> bool:
    """Whether a file with this start may be DICOM: `DICM` at 128, or, without a preamble, group 0002 or 0008 first."""
    return start[128:132] == b"DICM" or (start[0:2] in _FIRST_GROUPS and start[3:4] == b"\x00")


def read_header(stream: BinaryIO, size: int) -> Header:
    """The header of the file in `stream`, of `size` bytes.

    Raises `DicomUnreadable` whose field `reason` is a code of the catalogue of reasons.
    """
    start = stream.read(132)
    if not start:
        raise unreadable("empty-file")
    if not looks_like_dicom(start):
        raise unreadable("not-dicom")

    def whole(file: FastFile) -> Header | None:
        complete = file.pixels is None or is_whole(stream, size, *file.pixels)
        return header_of(file.dataset, file.syntax) if complete else None

    header = read_fast(stream, size, whole)
    if header is not None:
        return header
    from site_node.dicom import pydicom_dataset

    return pydicom_dataset.read_header(stream, size)


def read_as(make: Callable[[Attributes], T], stream: BinaryIO, size: int) -> T:
    """What `make` makes of the attributes that `ATTRIBUTES` names, also of a file whose pixel data end early.

    Raises `DicomUnreadable`.
    """
    value = read_fast(stream, size, lambda file: make(file.dataset))
    if value is not None:
        return value
    from site_node.dicom import pydicom_dataset

    stream.seek(0)
    bare = (start := stream.read(132))[128:] != b"DICM" and start[:2] in _FIRST_GROUPS
    return pydicom_dataset.read_as(make, stream, force=bare)
