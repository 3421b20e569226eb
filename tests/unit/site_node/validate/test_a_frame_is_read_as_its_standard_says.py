"""The second look reads boxes, segments and tile-parts as their standards write them, and refuses what is none."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_node.validate.codestream import Planes, planes_of, read_by_decoder
from site_node.validate.elements import Document, Element
from site_node.validate.entropy import CodestreamBroken
from site_node.validate.jpeg2000 import code_stream
from tests.factories import frames
from tests.factories.validated import runs_of

GREY = Planes(1, 64 * 64)
SIGNATURE = pack(">L4sL", 12, b"jP  ", 0x0D0A870A)
KINDS = st.sampled_from([b"ftyp", b"jp2h", b"xml ", b"uuid"])
STREAM = b"\xff\x4f of a code stream"


def box(kind: bytes, content: bytes, *, is_large: bool = False) -> bytes:
    """A box of ISO/IEC 15444-1 annex I, with its length in four bytes or in eight."""
    if is_large:
        return pack(">L4sQ", 1, kind, 16 + len(content)) + content
    return pack(">L4s", 8 + len(content), kind) + content


@given(st.lists(st.tuples(KINDS, st.binary(max_size=9), st.booleans()), max_size=4), st.booleans(), st.integers(0, 4))
def test_a_code_stream_is_what_its_box_holds(
    others: list[tuple[bytes, bytes, bool]], is_large: bool, place: int
) -> None:
    """Whatever other boxes stand around it, and however its length is written."""
    boxes = [box(kind, content, is_large=large) for kind, content, large in others]
    boxes.insert(min(place, len(boxes)), box(b"jp2c", STREAM, is_large=is_large))
    assert code_stream(SIGNATURE + b"".join(boxes)) == STREAM


def test_a_last_box_may_leave_its_length_open() -> None:
    """0 stands for all that follows (I.4)."""
    assert code_stream(SIGNATURE + box(b"ftyp", b"jp2 ") + pack(">L4s", 0, b"jp2c") + STREAM) == STREAM


def test_boxes_that_hide_a_stream_are_refused() -> None:
    """Two code streams, of which a decoder shows one; a length that is less than the box's own head."""
    with pytest.raises(CodestreamBroken):
        code_stream(SIGNATURE + 2 * box(b"jp2c", STREAM))
    for short in (pack(">L4s", 7, b"free"), pack(">L4sQ", 1, b"free", 15)):
        with pytest.raises(CodestreamBroken):
            code_stream(SIGNATURE + short + box(b"jp2c", STREAM))


def test_a_frame_without_boxes_is_its_own_stream() -> None:
    assert code_stream(STREAM) == STREAM


@pytest.mark.parametrize("marker", [0x55, 0x57, 0x58, 0x63, 0x64])
def test_pointers_and_remarks_of_a_code_stream_go(marker: int) -> None:
    """Of the main header no segment stays that changes no picture (T.800 A.7 and A.9)."""
    stream = frames.jpeg_2000(frames.picture(64, 64))
    planted = frames.in_main_header(marker)(stream, b"JONES^MARY 19610514")
    assert planted != stream
    assert read_by_decoder(planted, GREY) == read_by_decoder(stream, GREY)


def test_a_tile_may_have_its_own_quantization() -> None:
    """In its first tile-part (A.3): the picture is the same, and it is read to its end."""
    stream = read_by_decoder(frames.jpeg_2000(frames.picture(64, 64)), GREY)
    at, sot = stream.index(b"\xff\x5c"), stream.index(b"\xff\x90")
    own = stream[at : at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")]
    size = int.from_bytes(stream[sot + 6 : sot + 10], "big") + len(own)
    part = stream[sot : sot + 6] + pack(">L", size) + stream[sot + 10 : sot + 12]
    retold = stream[:sot] + part + own + stream[sot + 12 :]
    assert read_by_decoder(retold, GREY) == retold


@given(st.integers(1, 3), st.integers(250, 700))
def test_segments_of_a_jpeg_have_any_length_and_may_be_filled_before(fill: int, length: int) -> None:
    """0xFF may stand before a marker (T.81 B.1.1.2), a comment has up to 65,533 bytes; neither stays."""
    picture = frames.jpeg(frames.picture(64, 64))
    remark = frames.segment(0xFE, b"x" * length)
    assert read_by_decoder(picture[:2] + b"\xff" * fill + picture[2:], GREY) == read_by_decoder(picture, GREY)
    assert read_by_decoder(picture[:2] + remark + picture[2:], GREY) == read_by_decoder(picture, GREY)


def test_a_file_that_counts_no_samples_has_one_plane_a_byte() -> None:
    """A grey picture's header may leave SamplesPerPixel out."""
    words = ((0x00280010, 4), (0x00280011, 6), (0x00280100, 16))
    elements = [Element((), tag, "US", pack("<H", word)) for tag, word in words]
    document = Document(b"", (), "", True, runs_of(*elements), None, True, ())
    assert planes_of(document) == Planes(2, 24)
