"""Compressed frames as their decoders read them: what a frame holds besides is a finding.

Each kind of frame is followed by its grammar to the last packet, block or run.
"""

import struct
from collections.abc import Sequence
from operator import le
from typing import NamedTuple

from site_node.validate import jpeg, jpeg2000
from site_node.validate.elements import Document
from site_node.validate.entropy import CodestreamBroken
from site_node.validate.native_pixels import number_of

_ROWS, _COLUMNS, _SAMPLES, _ALLOCATED = 0x00280010, 0x00280011, 0x00280002, 0x00280100
_JPEG, _J2K, _JP2 = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "
_STARTS = (_JPEG, _J2K, _JP2)


def frames_of(fragments: Sequence[memoryview]) -> tuple[bytes, ...]:
    """The frames: fragments joined from one start of image to the next, without the offset table."""
    frames: list[bytes] = []
    for fragment in fragments[1:]:
        if frames and not bytes(fragment[:8]).startswith(_STARTS) and frames[-1].startswith(_STARTS):
            frames[-1] += bytes(fragment)
        else:
            frames.append(bytes(fragment))
    return tuple(frames)


class Planes(NamedTuple):
    """The byte planes of a frame as RLE has them: how many, and the bytes of each (PS3.5 section G.2)."""

    number: int
    size: int


def planes_of(document: Document) -> Planes:
    """The byte planes of a file's frames."""
    rows, columns, samples, allocated = (number_of(document, tag) for tag in (_ROWS, _COLUMNS, _SAMPLES, _ALLOCATED))
    return Planes((samples or 1) * ((allocated + 7) // 8), (rows * columns * min(allocated, 8) + 7) // 8)


def hides_bytes(frame: bytes, planes: Planes) -> bool:
    """Whether a frame holds more than its decoder reads. Raises `CodestreamBroken`."""
    needed = read_by_decoder(frame, planes, colour=True)
    return frame not in {needed, needed + b"\0"}


def read_by_decoder(frame: bytes, planes: Planes, *, colour: bool = False) -> bytes:
    """What the decoder of a frame reads, from a JP2 file's code stream on.

    Two frames that show the same picture from the same code stream are equal after this, without `colour`.

    Args:
        frame: the frame.
        planes: its byte planes, which RLE frames do not say.
        colour: whether segments that only say how the colours are coded stay.

    Raises:
        CodestreamBroken: the frame cannot be followed.
    """
    try:
        if frame.startswith(_JPEG):
            return jpeg.read_by_decoder(frame, colour=colour)
        if frame.startswith((_J2K, _JP2)):
            return jpeg2000.read_by_decoder(jpeg2000.code_stream(frame))
        return _runs_of(frame, planes)
    except (IndexError, KeyError, ValueError, ZeroDivisionError, struct.error) as error:
        raise CodestreamBroken from error


def _runs_of(frame: bytes, planes: Planes) -> bytes:
    """An RLE frame with the runs of its byte planes alone (PS3.5 Annex G)."""
    number, *starts = struct.unpack_from("<16L", frame)
    runs = [_plane(frame, start, planes.size) for start in starts[:number]]
    places = [64]
    for plane in runs:
        places.append(places[-1] + len(plane))
    if number != planes.number or any(starts[number:]) or not all(map(le, places, starts[:number])):
        raise CodestreamBroken
    return struct.pack("<16L", number, *places[:-1], *starts[number:]) + b"".join(runs)


def _plane(frame: bytes, at: int, size: int) -> bytes:
    """The runs from a place on that are `size` bytes together, padded to even length."""
    kept = bytearray()
    while size > 0:
        length = frame[at]
        end = at + (2 if length > 128 else length + 2 if length < 128 else 1)
        if length != 128:
            size -= 257 - length if length > 128 else length + 1
            kept += frame[at:end]
        at = end
    if size or at > len(frame):
        raise CodestreamBroken
    return bytes(kept) + bytes(len(kept) % 2)
