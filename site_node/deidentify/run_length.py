"""RLE frames by their grammar (PS3.5 Annex G): what a segment has after its last pixel goes."""

import struct

from site_node.deidentify.reasons import unsupported

_HEADER = 64
_NO_OPERATION, _LONGEST = 128, 257


def clean_rle(frame: bytes, planes: int, size: int) -> bytes:
    """The frame with `planes` segments of `size` bytes each, decoded, and nothing else.

    Raises:
        DicomUnsupported: the segments do not lie in order in the frame, or a run goes on past the last pixel.
        IndexError, struct.error: the frame ends early.
    """
    count, *offsets = struct.unpack_from("<16L", frame)
    used, unused = offsets[:count], offsets[count:]
    if count != planes or used[:1] != [_HEADER] or any(unused):
        raise unsupported("pixel-fragments", "PixelData")
    segments = []
    for start, end in zip(used, [*used[1:], len(frame)], strict=True):
        segment = _runs(frame, start, end, size)
        segments.append(segment + b"\0" * (len(segment) % 2))
    starts = [_HEADER + sum(map(len, segments[:number])) for number in range(count)]
    return struct.pack("<16L", count, *starts, *unused) + b"".join(segments)


def _runs(frame: bytes, start: int, end: int, pixels: int) -> bytes:
    """The runs of one segment, without those that mean nothing."""
    kept, place = b"", start
    while pixels > 0:
        head = frame[place]
        if head < _NO_OPERATION:
            place += head + 2
            pixels -= head + 1
        elif head > _NO_OPERATION:
            place += 2
            pixels -= _LONGEST - head
        else:
            kept += frame[start:place]
            start = place = place + 1
    if pixels or place > end:
        raise unsupported("pixel-fragments", "PixelData")
    return kept + frame[start:place]
