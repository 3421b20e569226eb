"""File meta information, the beginning of a Part 10 file: explicit VR little endian always (PS3.10 section 7.1)."""

from typing import NamedTuple

from site_node.dicom.unreadable import malformed
from site_node.dicom.walk import EXPLICIT_HEADER, LENGTH, LONG, SHORT, Walk

PREAMBLE = 128  # bytes before the prefix `DICM`
START = PREAMBLE + 4
_GROUP = b"\x02\0"
_FIRST_GROUPS = frozenset({_GROUP, b"\x08\0"})  # file meta information, or a data set without
_SOP_CLASS, _SOP_INSTANCE, _SYNTAX = 0x0002, 0x0003, 0x0010  # element numbers of group 0002


class FileMeta(NamedTuple):
    """The values as they stand in the file, without padding; empty where the element is missing."""

    syntax: str  # TransferSyntaxUID
    sop_class: str  # MediaStorageSOPClassUID
    instance: slice  # where the value of MediaStorageSOPInstanceUID lies
    end: int  # offset of the data set


def read_file_meta(walk: Walk) -> FileMeta:
    """The file meta information of a file with a preamble; raises `DicomUnsupported`, `NeedsMore`."""
    data = walk.data
    if data[START : START + 2] not in _FIRST_GROUPS:
        raise malformed("not-readable")
    place, values, instance = START, {_SYNTAX: "", _SOP_CLASS: ""}, slice(0)
    while data[place : place + 2] == _GROUP:
        if place + 12 > len(data):
            walk.need(place + 12, walk.size)
        _, element, vr, length = EXPLICIT_HEADER(data, place)
        start = place + 8
        if vr in LONG:
            (length,), start = LENGTH(data, place + 8), place + 12
        elif vr not in SHORT:
            raise malformed("malformed-element")
        place = start + length
        if place > len(data):
            walk.need(place, walk.size)
        if element == _SOP_INSTANCE:
            instance = slice(start, place)
        elif element in values:
            values[element] = data[start:place].decode("latin-1").strip(" \0")
    return FileMeta(values[_SYNTAX], values[_SOP_CLASS], instance, place)
