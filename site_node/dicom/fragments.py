"""Whether a file holds all of its pixel data."""

from typing import BinaryIO

from site_node.dicom.elements import UNDEFINED

_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


def is_whole(stream: BinaryIO, size: int, place: int, length: int) -> bool:
    """Whether pixel data at `place` end within the file's `size` bytes; `length` is theirs, or `UNDEFINED`.

    Of encapsulated ones the items are stepped over to their delimiter (PS3.5 section A.4).
    """
    if length != UNDEFINED:
        return place + length <= size
    stream.seek(place)
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
