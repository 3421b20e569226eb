"""Compressed frames: text segments go, the image stays, what cannot be taken apart is refused."""

import struct
from collections.abc import Callable

import pytest
from pydicom.uid import UID

from shared.errors.studies import DicomUnsupported
from site_node.deidentify.encapsulated import FAMILIES, Family, Planes, clean_frames
from tests.factories import frames
from tests.factories.frames import items, segment

SECRET = b"Zanzibarova^Ada"
JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
END = b"\xff\xd9"
PICTURE = frames.picture(16, 24)
BARE = frames.jpeg(PICTURE)[20:]  # from its tables on
TWO_SCANS = frames.jpeg(PICTURE, progressive=True)[20:]
LS = frames.JPEG_LS[2:]
J2K = frames.jpeg_2000(PICTURE, num_resolutions=2)
J2K_MAIN = J2K.index(frames.SOT)  # where its main header ends, in a comment
J2K_BARE = J2K[: J2K.index(b"\xff\x64")] + J2K[J2K_MAIN:]


def comment(marker: int, text: bytes = SECRET) -> bytes:
    """One JPEG segment."""
    return segment(marker, text)


def jpeg(*extra: bytes, rest: bytes = BARE) -> bytes:
    """A JPEG stream with `extra` segments before its tables."""
    return b"\xff\xd8" + b"".join(extra) + rest


def j2k(*extra: bytes, tile: bytes = b"") -> bytes:
    """A JPEG 2000 code stream: main header with `extra` segments, one tile-part with those of `tile`."""
    return frames.in_tile_part(J2K_BARE.replace(frames.SOT, b"".join((*extra, frames.SOT))), tile, b"")


def cleaned(content: bytes, family: Family, count: int = 1) -> bytes:
    return clean_frames(content, family, count, Planes(1, 64), extended=False)


@pytest.mark.parametrize("syntax", sorted(FAMILIES))
def test_each_transfer_syntax_is_of_the_family_that_its_name_says(syntax: str) -> None:
    """As PS3.6 names them, those of hierarchical JPEG and of video apart."""
    beginnings = {"JPEG-LS ": Family.JPEG_LS, "JPEG 2000 ": Family.JPEG_2000, "JPEG ": Family.JPEG, "RLE ": Family.RLE}
    name = UID(syntax).name.removeprefix("High-Throughput ")
    assert FAMILIES[syntax] is next(family for beginning, family in beginnings.items() if name.startswith(beginning))


@pytest.mark.parametrize("marker", [0xFE, 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF])
@pytest.mark.parametrize("family", [Family.JPEG, Family.JPEG_LS])
def test_text_segments_go(family: Family, marker: int) -> None:
    """COM and APPn go; the rest of the stream is what it was."""
    rest = LS if family is Family.JPEG_LS else BARE
    assert cleaned(items(jpeg(comment(marker), rest=rest)), family) == items(jpeg(rest=rest))


def test_text_after_a_scan_goes() -> None:
    """Progressive streams have segments between scans; a comment may be one."""
    before, scan, after = TWO_SCANS.rpartition(b"\xff\xda")
    planted = jpeg(rest=before + comment(0xFE) + scan + after)
    assert cleaned(items(planted), Family.JPEG) == items(jpeg(rest=TWO_SCANS))


def test_decoders_segments_stay_untouched() -> None:
    """A bare JFIF header and Adobe's colour flag stay, and then nothing at all changes."""
    content = items(jpeg(JFIF, ADOBE))
    assert cleaned(content, Family.JPEG) is content


def test_a_thumbnail_is_no_bare_header() -> None:
    """JFIF with anything more in it goes."""
    assert SECRET not in cleaned(items(jpeg(comment(0xE0, b"JFIF\0" + SECRET))), Family.JPEG)


def test_bytes_after_the_image_go() -> None:
    """What follows the end of image is dropped."""
    assert cleaned(items(jpeg() + SECRET), Family.JPEG) == items(jpeg())
    assert cleaned(items(j2k() + SECRET), Family.JPEG_2000) == items(j2k())


def test_j2k_comments_go() -> None:
    """COM segments of the main header go."""
    assert cleaned(items(j2k(comment(0x64, b"\0\1" + SECRET))), Family.JPEG_2000) == items(j2k())


@pytest.mark.parametrize(
    ("content", "family"),
    [
        (items(jpeg(comment(0xF3))), Family.JPEG),  # a reserved segment
        (items(jpeg(comment(0x55), rest=LS)), Family.JPEG_LS),
        (items(j2k(comment(0x70))), Family.JPEG_2000),
        (items(j2k(tile=comment(0x70))), Family.JPEG_2000),
        (items(b"\0\0\0\x0cjP  \r\n\x87\n" + SECRET), Family.JPEG_2000),  # a file of boxes
        (items(jpeg()[:-2]), Family.JPEG),
        (items(b"\xff\xd8\xff\xfe\xff\xffab"), Family.JPEG),
        (items(j2k()[:-4]), Family.JPEG_2000),
        (items(SECRET + b"x"), Family.JPEG),
        (items(SECRET * 5), Family.RLE),
        (items(b""), Family.RLE),
        (b"", Family.JPEG),
        (items(jpeg())[:-20], Family.JPEG),
        (items(jpeg(), table=b"\1\0\0\0"), Family.JPEG),
        (items(jpeg(), jpeg(), jpeg()), Family.JPEG),
    ],
)
def test_what_cannot_be_taken_apart_is_refused(content: bytes, family: Family) -> None:
    """No broken or unknown structure passes."""
    with pytest.raises(DicomUnsupported):
        cleaned(content, family, 2 if content.count(b"\xff\xd8") > 1 else 1)


def test_offsets_follow_the_frames() -> None:
    """The Basic Offset Table of cleaned frames points to them."""
    first, second = jpeg(comment(0xFE)), jpeg()
    length = len(first) + len(first) % 2
    old = items(first, second, table=struct.pack("<2L", 0, 8 + length))
    new = items(jpeg(), second, table=struct.pack("<2L", 0, 8 + len(jpeg()) + len(jpeg()) % 2))
    assert cleaned(old, Family.JPEG, 2) == new


def test_an_extended_offset_table_that_would_no_longer_fit_is_refused() -> None:
    """Its offsets stand outside the pixel data and are not rewritten."""
    with pytest.raises(DicomUnsupported):
        clean_frames(items(jpeg(comment(0xFE))), Family.JPEG, 1, Planes(1, 64), extended=True)


def test_a_frame_in_fragments_is_read_whole() -> None:
    """A comment that is split between fragments goes too."""
    whole = jpeg(comment(0xFE))
    assert cleaned(items(whole[:12], whole[12:]), Family.JPEG) == items(jpeg())


def test_frames_in_fragments_without_offsets_are_told_apart() -> None:
    """Without an offset table a frame begins where a stream begins."""
    first, second = jpeg(comment(0xFE)), jpeg(comment(0xE1))
    parts = (first[:12], first[12:], second[:20], second[20:])
    assert cleaned(items(*parts), Family.JPEG, 2) == items(jpeg(), jpeg())
    with pytest.raises(DicomUnsupported):  # with one frame declared, the other is not cut off
        cleaned(items(*parts), Family.JPEG, 1)


def test_every_family_has_a_syntax() -> None:
    """The table of transfer syntaxes names all families."""
    assert set(FAMILIES.values()) == set(Family)


@pytest.mark.parametrize("marker", [0xC4, 0xDB, 0xDD, 0xC0, 0xF7, 0xF8])
def test_a_table_longer_than_its_own_counts_is_refused(marker: int) -> None:
    """Decoders read what the counts say and skip the rest; text may be the rest (T.81 B.2)."""
    for family in (Family.JPEG, Family.JPEG_LS):
        with pytest.raises(DicomUnsupported):
            cleaned(items(jpeg(comment(marker))), family)


def test_a_segment_of_presets_holds_presets() -> None:
    """Of JPEG-LS (T.87 C.2.4.1), here those it has without: any other kind as long holds what no decoder reads."""
    for kind in range(256):
        content = items(jpeg(segment(0xF8, struct.pack(">B5H", kind, 4095, 24, 77, 290, 64)), rest=LS))
        if kind == 1:
            assert cleaned(content, Family.JPEG_LS) == content
        else:
            with pytest.raises(DicomUnsupported):
                cleaned(content, Family.JPEG_LS)


@pytest.mark.parametrize("marker", [0xCC, 0xDC, 0xDE, 0xDF])
def test_segments_that_medical_encoders_do_not_write_are_refused(marker: int) -> None:
    """Arithmetic conditioning, line counts and hierarchies decode nowhere here, so nothing shows what they hold."""
    with pytest.raises(DicomUnsupported):
        cleaned(items(jpeg(comment(marker))), Family.JPEG)


def test_a_scan_header_longer_than_its_components_is_refused() -> None:
    """The header of a scan says how many components it has."""
    place = BARE.index(b"\xff\xda")
    long = segment(0xDA, BARE[place + 4 : place + 10] + SECRET)
    with pytest.raises(DicomUnsupported):
        cleaned(items(jpeg(rest=BARE[:place] + long + BARE[place + 10 :])), Family.JPEG)


@pytest.mark.parametrize(
    ("marker", "body"),
    [
        (0x53, b"\0\0\1\4\4\0\1" + SECRET),  # COC
        (0x5D, b"\0\x40" + bytes(4) + SECRET),  # QCC
        (0x5D, b"\7\x40" + bytes(4)),  # of a component that is not there
        (0x5E, b"\0\0\0" + SECRET),  # RGN
        (0x50, b"\0\2\0\0\0\0" + SECRET),  # CAP
        (0x5F, SECRET),  # POC
        (0x60, SECRET),  # PPM
        (0x52, bytes(10)),  # a second COD
    ],
)
def test_a_j2k_segment_with_more_than_its_picture_needs_is_refused(marker: int, body: bytes) -> None:
    """What a decoder reads is as long as its counts say; what packs headers or changes their order is not followed."""
    with pytest.raises(DicomUnsupported):
        cleaned(items(j2k(segment(marker, body))), Family.JPEG_2000)


def test_a_second_picture_in_a_frame_is_refused() -> None:
    """A decoder shows one scan of a component; which, nobody knows."""
    before, scan, after = BARE.partition(b"\xff\xda")
    with pytest.raises(DicomUnsupported):
        cleaned(items(jpeg(rest=before + scan + after[:-2] + scan + after)), Family.JPEG)


def test_a_second_size_is_refused() -> None:
    """Only the first segment of a code stream is its size (T.800 A.5.1)."""
    with pytest.raises(DicomUnsupported):
        cleaned(items(j2k(comment(0x51))), Family.JPEG_2000)


def with_size(body: Callable[[bytes], bytes]) -> bytes:
    """A code stream of three components whose size is another (T.800 A.5.1), and whose quantisation is gone."""
    stream = frames.jpeg_2000(frames.picture(16, 24, colours=3), num_resolutions=1)
    (length,) = struct.unpack_from(">H", stream, 4)
    quantisation = stream.index(b"\xff\x5c")
    (removed,) = struct.unpack_from(">H", stream, quantisation + 2)
    bare = stream[4 + length : quantisation] + stream[quantisation + 2 + removed :]
    return stream[:2] + segment(0x51, body(stream[6 : 4 + length])) + bare


@pytest.mark.parametrize(
    "body",
    [
        lambda size: size + SECRET,
        lambda size: size[:-1],
        lambda size: size[:34] + b"\0\4" + size[36:],
        lambda size: size[:34] + b"\0\0",  # no component at all
        *(
            lambda size, place=place: size[:place] + b"\0" + size[place + 1 :]  # a step of nought
            for place in (37, 38, 40, 41, 43, 44)
        ),
    ],
)
def test_a_size_that_its_components_do_not_fill_is_refused(body: Callable[[bytes], bytes]) -> None:
    """Two steps of each component end the segment, and each is one sample at least (T.800 A.5.1)."""
    assert cleaned(items(with_size(lambda size: size)), Family.JPEG_2000)
    with pytest.raises(DicomUnsupported):
        cleaned(items(with_size(body)), Family.JPEG_2000)


@pytest.mark.parametrize("other", [b"\x12\x64\0\x04ab", b"\xff\x64\0\x01\x90", b"\xff\x64\0\0", b"\xff\x64\xff\xff"])
def test_what_is_no_segment_of_a_header_is_refused(other: bytes) -> None:
    """One begins with FF, is as long as its own length at least, and ends in the frame (T.800 A.1.3)."""
    for content in (j2k(other), j2k(tile=other)):
        with pytest.raises(DicomUnsupported):
            cleaned(items(content), Family.JPEG_2000)


def test_a_segment_of_nothing_goes_too() -> None:
    """A comment without a byte of text is a segment."""
    assert cleaned(items(j2k(comment(0x64, b""), comment(0x64))), Family.JPEG_2000) == items(j2k())


def test_a_delimiter_with_a_length_is_written_anew() -> None:
    """Readers stop at the delimiter's tag and never look at its length, which is four bytes of anything."""
    content = items(jpeg())
    assert cleaned(content[:-4] + b"SMIT", Family.JPEG) == content


@pytest.mark.parametrize(
    ("number", "announced", "stays"), [(0, True, True), (1, True, False), (0x4100, True, False), (0, False, False)]
)
def test_packets_are_counted_as_they_come(number: int, announced: bool, stays: bool) -> None:
    """A start-of-packet marker holds two bytes (T.800 A.8.1): a decoder skips it, and they could hold anything."""
    stream = bytearray(frames.jpeg_2000(PICTURE, num_resolutions=1))
    stream[stream.index(b"\xff\x52") + 4] |= 2 if announced else 0
    start, data = stream.index(frames.SOT), stream.index(b"\xff\x93") + 2
    (length,) = struct.unpack_from(">L", stream, start + 6)
    struct.pack_into(">L", stream, start + 6, length + 6 if length else 0)
    stream[data:data] = b"\xff\x91\0\x04" + struct.pack(">H", number)
    if stays:
        assert bytes(stream)[data:] in cleaned(items(bytes(stream)), Family.JPEG_2000)
    else:
        with pytest.raises(DicomUnsupported):
            cleaned(items(bytes(stream)), Family.JPEG_2000)


@pytest.mark.parametrize("slack", [b"", SECRET])
@pytest.mark.parametrize("padding", [b"", b"\0\0"])
def test_a_tile_part_without_a_length_ends_with_the_code_stream(slack: bytes, padding: bytes) -> None:
    """A length of nought means up to the end of the code stream (T.800 A.4.2), before which nothing hides either."""
    endless, planted = bytearray(j2k()), bytearray(frames.in_tile_part(j2k(), b"", slack))
    for stream in (endless, planted):
        struct.pack_into(">L", stream, stream.index(frames.SOT) + 6, 0)
    assert cleaned(items(bytes(planted) + padding), Family.JPEG_2000) == items(bytes(endless))


@pytest.mark.parametrize(("place", "value"), [(0, 8), (4, 2), (6, 9), (7, 9), (8, 0x80), (9, 2)])
def test_a_coding_that_no_standard_names_is_refused(place: int, value: int) -> None:
    """Of a picture and of one component: flags, transforms, code-blocks and styles (T.800 A.6.1, A.6.2)."""
    stream = j2k()
    start = stream.index(b"\xff\x52")
    (length,) = struct.unpack_from(">H", stream, start + 2)
    coding = bytearray(stream[start + 4 : start + 2 + length])

    def of_component() -> bytes:
        return segment(0x53, bytes([0, coding[0], *coding[5:]]))

    def of_picture() -> bytes:
        return stream[:start] + segment(0x52, bytes(coding)) + stream[start + 2 + length :]

    for content in (of_picture(), j2k(of_component())):
        assert cleaned(items(content), Family.JPEG_2000)
    coding[place] = value
    for content in (of_picture(), *([] if place == 4 else [j2k(of_component())])):
        with pytest.raises(DicomUnsupported):
            cleaned(items(content), Family.JPEG_2000)
