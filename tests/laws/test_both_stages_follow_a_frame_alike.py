"""Laws of compressed frames: both stages follow the same packets, and each judges whatever byte of a frame is wrong."""

import re
import struct
from collections.abc import Callable
from itertools import pairwise
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors.studies import DicomUnsupported
from site_node.deidentify import jpeg as jpeg_cleaned
from site_node.deidentify import jpeg2000 as jpeg_2000_cleaned
from site_node.deidentify.encapsulated import Family, Planes, clean_frames
from site_node.validate import codestream
from site_node.validate import jpeg as jpeg_validated
from site_node.validate.entropy import CodestreamBroken, HuffmanTable
from tests.factories import frames

BYPASS, RESET, TERMINATE_ALL = 1, 2, 4  # of the style of code-blocks (T.800 Table A.19)
PLANES = Planes(2, 64)
SLACK = b"Kelstrupova^Ada"


_HEADERS = 180  # bytes that hold the most of what a frame says of itself
PICTURE, COLOURS = frames.picture(9, 11), frames.picture(16, 24, colours=3)
RUNS = frames.rle([bytes(range(64)), bytes(64)])


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
    packets, before, width, low, is_known = b"", 0, 3, 0, False
    for layer, count in enumerate(counts):
        bits, data = "0", 0
        if not count and draw(st.booleans()):  # a packet that says of its only code-block that it adds nothing
            bits = "1" + ("0" if is_known else "0" * (layer + 1 - low))
            low = layer + 1
        if count:
            bits = "11" if is_known else "1" + "0" * (layer - low) + "1" + "0" * draw(st.integers(0, 3)) + "1"
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
    return stream(b"", packets, style=style, layers=len(counts), marked=2 * sop + 4 * eph)


def stream(
    segments: bytes,
    packets: bytes,
    *,
    style: int = 0,
    layers: int = 1,
    marked: int = 0,
    side: int = 4,
    block: int = 4,
    count: int = 1,
) -> bytes:
    """A code stream of one tile and no wavelet, with further segments in its header; `block`: log2 of its side - 2."""
    main = (
        b"\xff\x4f"
        + frames.segment(0x51, struct.pack(">H8LH", 0, side, side, 0, 0, side, side, 0, 0, count) + b"\7\1\1" * count)
        + frames.segment(0x52, struct.pack(">BBHB5B", marked, 0, layers, 0, 0, block, block, style, 1))
        + frames.segment(0x5C, b"\x40\x40")
    )
    part = struct.pack(">HLBB", 0, 14 + len(packets), 0, 1)
    return main + segments + frames.segment(0x90, part) + b"\xff\x93" + packets + frames.EOI


@settings(max_examples=150)
@given(code_streams())
def test_packets_end_where_their_headers_say(frame: bytes) -> None:
    """Whatever layers, segments and markers a code-block's passes come in, both stages know the last byte."""
    planted = frames.in_tile_part(frame, b"", SLACK)
    assert (cleaned(frame), is_seen(frame)) == (frame, False)
    assert (cleaned(planted), is_seen(planted)) == (frame, True)
    assert codestream.read_by_decoder(planted, codestream.Planes(*PLANES)) == frame


@given(code_streams().filter(lambda frame: b"\xff\x91\0\4" in frame))
def test_a_packet_has_the_number_that_it_says(frame: bytes) -> None:
    """Start-of-packet markers count from nought; with another number the place of the data is in doubt."""
    at = frame.index(b"\xff\x91\0\4") + 5
    with pytest.raises(DicomUnsupported):
        cleaned(frame[:at] + bytes((frame[at] + 1,)) + frame[at + 1 :])


def judged(frame: bytes, family: Family = Family.JPEG_2000) -> tuple[bool, bool]:
    """Whether a frame leaves as it is, and whether validation lets it pass."""
    return outcome(frame, family) == frame, not is_seen(frame)


BOTH, NEITHER = (True, True), (False, False)
EMPTY = b"\0\0\0"  # the packet of each of three components


@pytest.mark.parametrize(
    ("segment", "expected"),
    [
        (frames.segment(0x53, b"\2\0\0\4\4\0\1"), BOTH),  # of the last component, as COD says
        (frames.segment(0x53, b"\2\1\0\4\4\0\1\xff"), BOTH),  # with a size of precincts
        (frames.segment(0x53, b"\2\0\0\4\4\0\1\xff"), NEITHER),  # with one that nobody reads
        (frames.segment(0x53, b"\3\0\0\4\4\0\1"), NEITHER),  # of a component that is not there
        (2 * frames.segment(0x53, b"\2\0\0\4\4\0\1"), NEITHER),
        (frames.segment(0x5D, b"\2\x40\x48"), BOTH),
        (frames.segment(0x5D, b"\3\x40\x48"), NEITHER),
        (frames.segment(0x5D, b"\2\x40\x48\x48"), NEITHER),  # of a resolution that is not there
        (frames.segment(0x5E, b"\2\0\7"), BOTH),
        (frames.segment(0x5E, b"\3\0\7"), NEITHER),
        (frames.segment(0x5E, b"\2\1\7"), NEITHER),
    ],
)
def test_a_segment_is_of_a_component_and_as_long_as_it_needs(segment: bytes, expected: tuple[bool, bool]) -> None:
    """What a header says of one component stays where there is one, and holds nothing that no decoder reads."""
    assert judged(stream(segment, EMPTY, count=3)) == expected


@pytest.mark.parametrize(("count", "expected"), [(0, NEITHER), (1, BOTH), (2, BOTH)])
def test_a_picture_has_components(count: int, expected: tuple[bool, bool]) -> None:
    """A stream without any shows nothing, so it goes nowhere."""
    assert judged(stream(b"", b"\0" * count, count=count)) == expected


def test_a_stream_says_how_it_is_coded() -> None:
    """Without that nobody can follow it, in a main header or in a tile-part's."""
    whole = stream(b"", b"\0")
    start = whole.index(b"\xff\x52")
    bare = whole[:start] + whole[whole.index(b"\xff\x5c") :]
    steps, component = frames.segment(0x5C, b"\x40\x40"), frames.segment(0x53, b"\0\0\0\4\4\0\1")
    assert judged(whole) == BOTH
    for broken in (bare, bare.replace(steps, b""), bare.replace(steps, component)):
        assert judged(broken) == NEITHER


@pytest.mark.parametrize(("planes", "expected"), [(70, BOTH), (90, (False, True))])
def test_a_block_lacks_no_more_planes_than_numbers_have(planes: int, expected: tuple[bool, bool]) -> None:
    """Of 80 bits at most (T.800 B.10.5); what validation lets pass need not leave."""
    bits = "1" + "1" + "0" * planes + "1" + "0" + "0" + "000"
    assert judged(stream(b"", packed(bits))) == expected


@pytest.mark.parametrize("places", [(0, 2, 1), (1, 0, 2), (0, 0, 1), (0, 1, 9)])
def test_planes_of_runs_lie_in_order(places: tuple[int, int, int]) -> None:
    """Each behind the one before, within the frame (PS3.5 Annex G): else neither stage follows them."""
    whole = frames.rle([bytes(range(64))] * 3)
    starts = struct.unpack_from("<3L", whole, 4)
    size = starts[1] - starts[0]
    frame = whole[:4] + struct.pack("<3L", *(64 + place * size for place in places)) + whole[16:]
    planes = Planes(3, 64)
    with pytest.raises(DicomUnsupported):
        clean_frames(frames.items(frame), Family.RLE, 1, planes, extended=False)
    with pytest.raises(CodestreamBroken):
        codestream.hides_bytes(frame, codestream.Planes(*planes))
    assert clean_frames(frames.items(whole), Family.RLE, 1, planes, extended=False) == frames.items(whole)


@pytest.mark.parametrize(("side", "expected"), [(2048, BOTH), (2052, (False, True)), (4100, NEITHER)])
def test_a_frame_of_more_code_blocks_than_any_picture_has_is_refused(side: int, expected: tuple[bool, bool]) -> None:
    """Blocks of four by four samples cost memory and hours; validation lets pass more of them than ever leave."""
    assert judged(stream(b"", b"\0", side=side, block=0)) == expected


def with_tables(frame: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A frame of JPEG whose Huffman tables are changed and lie in one segment."""
    pieces = re.split(rb"(?s)\xff\xc4(..)", frame)
    tables, rest = b"", pieces[0]
    for size, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        length = int.from_bytes(size, "big") - 2
        tables, rest = tables + piece[:length], rest + piece[length:]
    scan = rest.index(b"\xff\xda")
    return rest[:scan] + frames.segment(0xC4, change(tables)) + rest[scan:]


def test_tables_may_share_a_segment_but_no_symbol_is_twice_in_a_table() -> None:
    """A long segment is read to its end; with two codes for one symbol a decoder's way is not known."""
    frame = cleaned(frames.jpeg(PICTURE), Family.JPEG)
    assert judged(with_tables(frame, bytes), Family.JPEG) == BOTH
    twice = with_tables(frame, lambda tables: tables[:-1] + tables[-2:-1])
    with pytest.raises(CodestreamBroken):
        HuffmanTable(bytes((0, 2)) + bytes(14) + b"\1\1")
    assert is_seen(twice)


@pytest.mark.parametrize("module", [jpeg_cleaned, jpeg_validated])
def test_a_progressive_scan_of_too_many_blocks_is_refused(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block of such a scan is remembered, so their number has a bound; a picture of just as many passes."""
    frame = cleaned(frames.jpeg(frames.picture(16, 24), progressive=True), Family.JPEG)
    for most, passes in ((6, True), (5, False)):
        monkeypatch.setattr(module, "_MOST_BLOCKS", most)
        is_clean, is_let = judged(frame, Family.JPEG)
        assert (is_clean if module is jpeg_cleaned else is_let) == passes


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


@pytest.mark.parametrize("bands", [[(1, 63)], [(1, 1), (2, 63)], [(1, 5), (6, 6), (7, 63)], [(63, 63)]])
@pytest.mark.parametrize("side", [8, 9, 64])
def test_progressive_scans_may_be_of_any_band(bands: list[tuple[int, int]], side: int) -> None:
    """The coefficients of a picture come in scans of one or of many; what follows a scan's last code goes."""
    blocks = (-(-side // 8)) ** 2
    table = bytes((1,)) + bytes(15) + b"\0"  # one code, a nought: no difference, or nothing more in a block
    data = bytes(blocks // 8) + bytes(((1 << 8 - blocks % 8) - 1,) if blocks % 8 else ())
    scans = [frames.segment(0xDA, b"\1\1\0" + bytes((*band, 0))) for band in [(0, 0), *bands]]
    head = (
        b"\xff\xd8"
        + frames.segment(0xDB, b"\0" + b"\1" * 64)
        + frames.segment(0xC4, b"\0" + table + b"\x10" + table)
        + frames.segment(0xC2, struct.pack(">BHHB3B", 8, side, side, 1, 1, 0x11, 0))
    )
    frame = head + b"".join(scan + data for scan in scans) + frames.EOI
    assert judged(frame, Family.JPEG) == BOTH
    planted = head + b"".join(scan + data + SLACK for scan in scans) + frames.EOI
    assert cleaned(planted, Family.JPEG) == frame
    assert is_seen(planted)


def in_boxes(*boxes: tuple[bytes, bytes]) -> bytes:
    """A JP2 file of these boxes."""
    start = b"\0\0\0\x0cjP  \r\n\x87\n"
    return start + b"".join(struct.pack(">L4s", 8 + len(content), kind) + content for kind, content in boxes)


def test_a_file_of_boxes_has_one_stream_and_no_other_colours() -> None:
    """A second stream, be it empty, or a box that gives samples another meaning is refused; a long length is read."""
    frame = stream(b"", b"\0")
    assert outcome(in_boxes((b"jp2c", frame)), Family.JPEG_2000) == frame
    long = b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">L4sQ", 1, b"jp2c", 16 + len(frame)) + frame
    assert outcome(long, Family.JPEG_2000) == frame
    for others in ([(b"jp2c", b"")], [(b"jp2c", frame)], [(b"jp2h", struct.pack(">L4s", 8, b"pclr"))]):
        assert outcome(in_boxes((b"jp2c", frame), *others), Family.JPEG_2000) is None


@pytest.mark.parametrize("order", ["LRCP", "RLCP", "RPCL", "PCRL", "CPRL"])
@pytest.mark.parametrize("tiled", [False, True])
def test_packets_may_come_in_any_order(order: str, tiled: bool) -> None:
    """By layer, resolution, position or component first (T.800 Table A.16): what follows the last is seen and goes."""
    options: dict[str, object] = {"tile_size": (32, 32)} if tiled else {"precinct_size": (32, 16)}
    layers = {"quality_mode": "rates", "quality_layers": [16, 4, 1], "num_resolutions": 3, "codeblock_size": (8, 8)}
    colours = frames.picture(40, 72, colours=3, noise=60)
    frame = cleaned(frames.jpeg_2000(colours, progression=order, mct=0, **options, **layers))
    assert judged(frame) == BOTH
    planted = frames.in_tile_part(frame, b"", SLACK)
    assert (cleaned(planted), is_seen(planted)) == (frame, True)


def test_a_frame_of_more_precincts_than_any_picture_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of all its tiles together; just as many pass."""
    frame = cleaned(frames.jpeg_2000(frames.picture(40, 64, noise=0), tile_size=(32, 32), num_resolutions=1))
    for most, passes in ((4, True), (3, False)):
        monkeypatch.setattr(jpeg_2000_cleaned, "MOST_PRECINCTS", most)
        assert (outcome(frame, Family.JPEG_2000) == frame) == passes
