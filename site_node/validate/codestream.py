"""Compressed frames by their markers: what carries comments, and the frame without it.

JPEG and JPEG-LS (ITU-T T.81 B.1, T.87 C.1): APPn and COM segments. JPEG 2000 (T.800 A.9): COM segments in main and
tile-part headers. Other codestreams (RLE) have no place for text.
"""

from collections.abc import Iterable, Sequence

_JPEG, _J2K = b"\xff\xd8", b"\xff\x4f\xff\x51"
_SOS, _EOI, _SOT, _SOD = 0xDA, 0xD9, 0x90, 0x93
_COM, _J2K_COM = 0xFE, 0x64
_STRUCTURAL = {0xE0: (b"JFIF\0", 16), 0xEE: (b"Adobe", 14), 0xE8: (b"mrfx", 7)}  # say how to decode, hold no text
_APP = range(0xE0, 0xF0)
_J2K_BARE = frozenset({0x4F, 0x92, *range(0x30, 0x40)})


class CodestreamBroken(ValueError):
    """A frame's markers cannot be followed."""


def frames_of(fragments: Sequence[memoryview]) -> tuple[bytes, ...]:
    """The frames: fragments joined from one start of image to the next, without the offset table."""
    frames: list[bytes] = []
    for fragment in fragments[1:]:
        start = bytes(fragment[:4])
        if frames and not (start[:2] == _JPEG or start == _J2K) and _is_marked(frames[-1]):
            frames[-1] += bytes(fragment)
        else:
            frames.append(bytes(fragment))
    return tuple(frames)


def _is_marked(frame: bytes) -> bool:
    return frame[:2] == _JPEG or frame[:4] == _J2K


def text_segments(frame: bytes) -> int:
    """How many places of a frame may carry text, what follows the image's end included. Raises `CodestreamBroken`."""
    return sum(1 for _ in _text_places(frame))


def without_text(frame: bytes) -> bytes:
    """The frame without segments that may carry text and without application segments that say how to decode.

    Two frames that show the same picture from the same codestream are equal after this. Raises `CodestreamBroken`.
    """
    stripped, at = bytearray(), 0
    for start, end in _text_places(frame, structural=True):
        stripped += frame[at:start]
        at = end
    return bytes(stripped + frame[at:])


def _text_places(frame: bytes, *, structural: bool = False) -> Iterable[tuple[int, int]]:
    if frame[:2] == _JPEG:
        return _jpeg_places(frame, structural=structural)
    if frame[:4] == _J2K:
        return _j2k_places(frame, structural=structural)
    return ()


def _segment(frame: bytes, at: int) -> int:
    """Where the segment whose marker stands at `at` ends."""
    size = int.from_bytes(frame[at + 2 : at + 4], "big")
    if size < 2 or at + 2 + size > len(frame):
        raise CodestreamBroken
    return at + 2 + size


def _jpeg_places(frame: bytes, *, structural: bool) -> Iterable[tuple[int, int]]:
    at = 2
    while at + 1 < len(frame):
        if frame[at] != 0xFF:
            raise CodestreamBroken
        marker = frame[at + 1]
        if marker == 0xFF:
            if structural:
                yield at, at + 1
            at += 1
            continue
        if marker == _EOI:
            yield from _tail(frame, at + 2, structural=structural)
            return
        end = _segment(frame, at)
        if (marker == _COM or marker in _APP) and (structural or not _is_structural(frame, at, end)):
            yield at, end
        at = _after_scan(frame, end) if marker == _SOS else end
    raise CodestreamBroken


def _tail(frame: bytes, end: int, *, structural: bool) -> Iterable[tuple[int, int]]:
    """What follows the end of the image: padding is neither text nor part of the picture."""
    if frame[end:].strip(b"\0") or (structural and frame[end:]):
        yield end, len(frame)


def _is_structural(frame: bytes, at: int, end: int) -> bool:
    name, size = _STRUCTURAL.get(frame[at + 1], (b"", 0))
    return bool(name) and end - at - 2 == size and frame[at + 4 : at + 4 + len(name)] == name


def _after_scan(frame: bytes, at: int) -> int:
    """The next marker after entropy-coded data; there 0xFF is stuffed or a restart (below 0x80 in JPEG-LS)."""
    while True:
        at = frame.find(b"\xff", at)
        if at < 0 or at + 1 >= len(frame):
            raise CodestreamBroken
        follower = frame[at + 1]
        if follower >= 0xC0 and not 0xD0 <= follower <= 0xD7:
            return at
        at += 1


def _j2k_places(frame: bytes, *, structural: bool) -> Iterable[tuple[int, int]]:
    """Main header, then each tile-part: its header's segments, its data by its own length (T.800 A.4.2)."""
    at, tile_end = 2, 0
    while at + 1 < len(frame):
        marker = frame[at + 1]
        if frame[at] != 0xFF:
            raise CodestreamBroken
        if marker == _EOI:
            yield from _tail(frame, at + 2, structural=structural)
            return
        if marker == _SOD:
            at = tile_end or frame.rfind(b"\xff\xd9")
            continue
        if marker in _J2K_BARE:
            at += 2
            continue
        end = _segment(frame, at)
        if marker == _SOT:
            size = int.from_bytes(frame[at + 6 : at + 10], "big")
            tile_end = at + size if size else 0
        if marker == _J2K_COM:
            yield at, end
        at = end
    raise CodestreamBroken
