"""The digest that identifies an instance, whoever wrote its file."""

import hashlib
from typing import BinaryIO

from site_node.dicom.elements import LONG_VRS
from site_node.dicom.header import Header

_BLOCK = 1 << 20
_META = b"\x02\x00"  # the group of file meta information, explicit little endian


def data_digest(stream: BinaryIO, header: Header) -> str:
    """SHA-256 of an instance's UID, its transfer syntax and every byte of its data set.

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
        is_long = head[4:6].decode("latin-1") in LONG_VRS
        length = int.from_bytes(stream.read(4) if is_long else head[6:8], "little")
        begin = stream.tell() + length
        stream.seek(begin)
    return begin if len(head) == 8 else 0
