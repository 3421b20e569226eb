"""Compressed frames: text segments go, the image stays, what cannot be taken apart is refused."""

import struct

import pytest

from shared.errors import DicomUnsupported
from site_node.deidentify.encapsulated import FAMILIES, Family, clean_frames

SECRET = b"Zanzibarova^Ada"
JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
TABLES = b"\xff\xdb\0\x43\0" + bytes(range(1, 65))
SCAN = b"\xff\xda\0\x08\1\1\0\0\x3f\0\x12\xff\0\x34\xff\xd0\x56\x78"
END = b"\xff\xd9"
J2K_SIZE = b"\xff\x51\0\x29\0\0" + bytes(32) + b"\0\1" + b"\7\1\1"


def comment(marker: int, text: bytes = SECRET) -> bytes:
    """One JPEG segment."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(text) + 2) + text


def jpeg(*extra: bytes, scan: bytes = SCAN) -> bytes:
    """A minimal JPEG stream with `extra` segments before its tables."""
    return b"\xff\xd8" + b"".join(extra) + TABLES + scan + END


def j2k(*extra: bytes, tile: bytes = b"", body: bytes = b"\x01\x02\x03\x04") -> bytes:
    """A minimal JPEG 2000 code stream: main header with `extra` segments, one tile-part."""
    part = tile + b"\xff\x93" + body
    start = b"\xff\x90\0\x0a\0\0" + struct.pack(">L", 12 + len(part)) + b"\0\1"
    return b"\xff\x4f" + J2K_SIZE + b"".join(extra) + start + part + END


def items(*fragments: bytes, table: bytes = b"") -> bytes:
    """Encapsulated fragments, each padded to even length."""
    even = [table, *(fragment + b"\0" * (len(fragment) % 2) for fragment in fragments)]
    body = b"".join(b"\xfe\xff\0\xe0" + struct.pack("<L", len(item)) + item for item in even)
    return body + b"\xfe\xff\xdd\xe0\0\0\0\0"


def cleaned(content: bytes, family: Family, frames: int = 1) -> bytes:
    return clean_frames(content, family, frames, extended=False)


@pytest.mark.parametrize("marker", [0xFE, 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF])
@pytest.mark.parametrize("family", [Family.JPEG, Family.JPEG_LS])
def test_text_segments_go(family: Family, marker: int) -> None:
    """COM and APPn go; the rest of the stream is what it was."""
    assert cleaned(items(jpeg(comment(marker))), family) == items(jpeg())


def test_text_after_a_scan_goes() -> None:
    """Progressive streams have segments between scans; a comment may be one."""
    twice = SCAN + comment(0xFE) + SCAN
    assert cleaned(items(jpeg(scan=twice)), Family.JPEG) == items(jpeg(scan=SCAN + SCAN))


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
        (items(jpeg(comment(0x55))), Family.JPEG_LS),
        (items(j2k(comment(0x70))), Family.JPEG_2000),
        (items(j2k(tile=comment(0x64))), Family.JPEG_2000),  # in a tile-part, whose length would no longer fit
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
        clean_frames(items(jpeg(comment(0xFE))), Family.JPEG, 1, extended=True)


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


@pytest.mark.parametrize("marker", [0xCC, 0xDC, 0xDE, 0xDF])
def test_segments_that_medical_encoders_do_not_write_are_refused(marker: int) -> None:
    """Arithmetic conditioning, line counts and hierarchies decode nowhere here, so nothing shows what they hold."""
    with pytest.raises(DicomUnsupported):
        cleaned(items(jpeg(comment(marker))), Family.JPEG)


def test_a_scan_header_longer_than_its_components_is_refused() -> None:
    """The header of a scan says how many components it has."""
    long = b"\xff\xda" + struct.pack(">H", 8 + len(SECRET)) + SCAN[4:10] + SECRET + SCAN[10:]
    with pytest.raises(DicomUnsupported):
        cleaned(items(jpeg(scan=long)), Family.JPEG)


@pytest.mark.parametrize("marker", [0x51, 0x63])
def test_a_second_size_or_a_registration_is_refused(marker: int) -> None:
    """Only the first segment of a code stream is its size (T.800 A.5.1)."""
    with pytest.raises(DicomUnsupported):
        cleaned(items(j2k(comment(marker))), Family.JPEG_2000)


def test_a_delimiter_with_a_length_is_written_anew() -> None:
    """Readers stop at the delimiter's tag and never look at its length, which is four bytes of anything."""
    content = items(jpeg())
    assert cleaned(content[:-4] + b"SMIT", Family.JPEG) == content
