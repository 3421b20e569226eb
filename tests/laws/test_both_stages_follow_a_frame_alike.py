"""Laws of compressed frames: both stages follow the same packets, and each judges whatever byte of a frame is wrong."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors.studies import DicomUnsupported
from site_node.deidentify.encapsulated import Family, Planes, clean_frames
from site_node.validate import codestream
from site_node.validate.entropy import CodestreamBroken
from tests.factories import frames

BYPASS, RESET, TERMINATE_ALL = 1, 2, 4  # of the style of code-blocks (T.800 Table A.19)
PLANES = Planes(2, 64)
SLACK = b"Kelstrupova^Ada"


def cleaned(frame: bytes, family: Family = Family.JPEG_2000) -> bytes:
    """One frame as it leaves, without padding."""
    content = clean_frames(frames.items(frame), family, 1, PLANES, extended=False)[16:-8]
    return content if family is Family.RLE else content.rstrip(b"\0")


def is_seen(frame: bytes) -> bool:
    """Whether validation lets no frame like this pass."""
    try:
        return codestream.hides_bytes(frame, codestream.Planes(*PLANES))
    except CodestreamBroken:
        return True


def is_last(number: int, style: int) -> bool:
    """Whether a codeword segment ends with a coding pass: where raw passes begin and end (T.800 Table D.9)."""
    raw = [at >= 10 and at % 3 != 0 for at in (number, number + 1)]  # the first is a cleanup pass, as is every third
    return bool(style & TERMINATE_ALL) or bool(style & BYPASS and (raw[0] != raw[1]))


def packed(bits: str) -> bytes:
    """The bits of a packet header, with a stuffed zero after each byte of ones (T.800 B.10.1)."""
    header = bytearray()
    while bits or header[-1:] == b"\xff":
        width = 7 if header[-1:] == b"\xff" else 8
        header.append(int(bits[:width].ljust(width, "0"), 2))
        bits = bits[width:]
    return bytes(header)


def passes_written(count: int) -> str:
    """The codeword of a number of coding passes (T.800 Table B.4)."""
    if count <= 2:
        return ("0", "10")[count - 1]
    if count <= 5:
        return f"11{count - 3:02b}"
    return f"1111{count - 6:05b}" if count <= 36 else f"111111111{count - 37:07b}"


@st.composite
def code_streams(draw: st.DrawFn) -> bytes:
    """A code stream of one code-block, whose passes come in several layers and segments of any length."""
    style = draw(st.sampled_from([0, RESET, BYPASS, TERMINATE_ALL, BYPASS | TERMINATE_ALL]))
    sop, eph = draw(st.booleans()), draw(st.booleans())
    counts = draw(st.lists(st.integers(0, 8) | st.sampled_from([36, 37]), min_size=1, max_size=4))
    packets, before, width, is_known = b"", 0, 3, False
    for layer, count in enumerate(counts):
        bits, data = "0", 0
        if count:
            bits = "11" if is_known else "1" + "0" * layer + "1" + "0" * draw(st.integers(0, 3)) + "1"
            cuts = [before, *(at + 1 for at in range(before, before + count - 1) if is_last(at, style)), before + count]
            spans = [end - start for start, end in pairwise(cuts)]
            lengths = [draw(st.integers(0, 40)) for _ in spans]
            needed = max(
                length.bit_length() - span.bit_length() + 1 for length, span in zip(lengths, spans, strict=True)
            )
            bits += passes_written(count) + "1" * max(0, needed - width) + "0"
            width, is_known, before, data = max(width, needed), True, before + count, sum(lengths)
            for length, span in zip(lengths, spans, strict=True):
                bits += f"{length:0{width + span.bit_length() - 1}b}"
        start = b"\xff\x91\0\4" + struct.pack(">H", layer) if sop else b""
        packets += start + packed(bits) + (b"\xff\x92" if eph else b"") + b"\x5a" * data
    main = (
        b"\xff\x4f"
        + frames.segment(0x51, struct.pack(">H8LH3B", 0, 4, 4, 0, 0, 4, 4, 0, 0, 1, 7, 1, 1))
        + frames.segment(0x52, struct.pack(">BBHB5B", 2 * sop + 4 * eph, 0, len(counts), 0, 0, 4, 4, style, 1))
        + frames.segment(0x5C, b"\x40\x40")
    )
    part = struct.pack(">HLBB", 0, 14 + len(packets), 0, 1)
    return main + frames.segment(0x90, part) + b"\xff\x93" + packets + frames.EOI


@settings(max_examples=150)
@given(code_streams())
def test_packets_end_where_their_headers_say(frame: bytes) -> None:
    """Whatever layers, segments and markers a code-block's passes come in, both stages know the last byte."""
    planted = frames.in_tile_part(frame, b"", SLACK)
    assert (cleaned(frame), is_seen(frame)) == (frame, False)
    assert (cleaned(planted), is_seen(planted)) == (frame, True)


@given(code_streams().filter(lambda frame: b"\xff\x91\0\4" in frame))
def test_a_packet_has_the_number_that_it_says(frame: bytes) -> None:
    """Start-of-packet markers count from nought; with another number the place of the data is in doubt."""
    at = frame.index(b"\xff\x91\0\4") + 5
    with pytest.raises(DicomUnsupported):
        cleaned(frame[:at] + bytes((frame[at] + 1,)) + frame[at + 1 :])


_HEADERS = 180  # bytes that hold the most of what a frame says of itself
PICTURE, COLOURS = frames.picture(9, 11), frames.picture(16, 24, colours=3)
RUNS = frames.rle([bytes(range(64)), bytes(64)])
JPEG, JPEG_2000 = Family.JPEG, Family.JPEG_2000
FRAMES = {
    "two resolutions": (frames.jpeg_2000(frames.picture(16, 24), num_resolutions=2), JPEG_2000),
    "precincts": (
        frames.jpeg_2000(frames.picture(40, 40, noise=0), precinct_size=(32, 32), codeblock_size=(8, 8)),
        JPEG_2000,
    ),
    "tiles": (frames.jpeg_2000(frames.picture(40, 64, noise=0), tile_size=(32, 32), irreversible=True), JPEG_2000),
    "baseline": (frames.jpeg(PICTURE), JPEG),
    "restarts": (frames.jpeg(COLOURS, restart_marker_blocks=2, optimize=True), JPEG),
    "lossless": (frames.jpeg_lossless(PICTURE), JPEG),
    "runs": (RUNS, Family.RLE),
}


def changed_bytes(frame: bytes) -> list[bytes]:
    """The frame with each of its first bytes by itself a bit larger, a bit smaller, nothing or with another bit."""
    return [
        frame[:at] + bytes((value,)) + frame[at + 1 :]
        for at in range(min(len(frame), _HEADERS))
        for value in {min(frame[at] + 1, 255), max(frame[at] - 1, 0), frame[at] ^ 0x20, 0} - {frame[at]}
    ]


def outcome(frame: bytes, family: Family) -> bytes | None:
    """The frame as it leaves, `None` where it is refused."""
    try:
        return cleaned(frame, family)
    except DicomUnsupported:
        return None


@pytest.mark.parametrize("kind", FRAMES)
def test_any_wrong_byte_is_judged(kind: str) -> None:
    """A frame is refused with a reason or leaves as validation wants it, and a second time nothing goes from it."""
    frame, family = FRAMES[kind]
    for wrong in changed_bytes(cleaned(frame, family)):
        is_seen(wrong)
        left = outcome(wrong, family)
        assert left is None or (not is_seen(left) and cleaned(left, family) == left)


def test_both_stages_refuse_the_same_wrong_runs() -> None:
    """An RLE frame leaves as it came where validation lets pass what came, and only there."""
    for wrong in changed_bytes(RUNS):
        assert (outcome(wrong, Family.RLE) == wrong) == (not is_seen(wrong))
