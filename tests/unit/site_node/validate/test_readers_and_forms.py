"""The validator's parts by themselves: reader, value forms, frames, required attributes, forms of identifiers."""

import contextlib
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from shared.errors.studies import DicomUnreadable
from shared.ids import SiteId
from shared.protocol.iod import required_of
from shared.protocol.loader import load_profile
from site_node.study import Identity
from site_node.validate.characters import charset_of, normal
from site_node.validate.codestream import Planes, frames_of, hides_bytes, read_by_decoder
from site_node.validate.conformance import check_document, check_part, make_rules
from site_node.validate.elements import Document, Element
from site_node.validate.entropy import CodestreamBroken
from site_node.validate.finding import Finding
from site_node.validate.identifiers import Collector
from site_node.validate.presence import MissingAttribute, missing_in
from site_node.validate.reader import read_document
from site_node.validate.search import Search, words_of
from site_node.validate.values import has_form
from tests.factories import frames
from tests.factories.dicom import make_dx, write_file
from tests.factories.validated import runs_of, search_document

REGION, CODE = 0x00082218, 0x00080100
SEQUENCES = frozenset({REGION, 0x00400555})
DX = "1.2.840.10008.5.1.4.1.1.1.1"
RULES = make_rules(load_profile(), SiteId("123456"))


def _bytes(folder: Path, dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    return write_file(dataset, folder / "file.dcm", syntax).read_bytes()


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_all_syntaxes_read_to_the_same_elements(tmp_path: Path, syntax: UID) -> None:
    """Raw values are little endian and the same whatever the file was written in; nested items are walked."""
    explicit = read_document(_bytes(tmp_path, make_dx()), SEQUENCES)
    document = read_document(_bytes(tmp_path, make_dx(), syntax), SEQUENCES)
    assert [element._replace(vr="") for element in document.elements] == [
        element._replace(vr="") for element in explicit.elements
    ]
    assert any(element.path == (REGION, 0) and element.tag == CODE for element in document.elements)
    assert document.fragments
    assert explicit.fragments
    assert bytes(document.fragments[0]) == bytes(explicit.fragments[0])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("open_items", [False, True])
@pytest.mark.parametrize("open_sequence", [False, True])
def test_lengths_may_be_given_or_left_open(
    tmp_path: Path, syntax: UID, *, open_items: bool, open_sequence: bool
) -> None:
    """Sequences and items read alike whether they say how long they are or end in a delimiter (PS3.5 section 7.5)."""
    dataset = make_dx()
    dataset.AnatomicRegionSequence.append(dataset.AnatomicRegionSequence[0])
    given = read_document(_bytes(tmp_path, dataset, syntax), SEQUENCES)
    dataset["AnatomicRegionSequence"].is_undefined_length = open_sequence
    for item in dataset.AnatomicRegionSequence:
        item.is_undefined_length_sequence_item = open_items
    document = read_document(_bytes(tmp_path, dataset, syntax), SEQUENCES)
    assert list(document.elements) == list(given.elements)
    assert {element.path for element in document.elements} >= {(REGION, 0), (REGION, 1)}


def test_a_file_without_preamble_or_meta_is_read(tmp_path: Path) -> None:
    data = _bytes(tmp_path, make_dx())
    document = read_document(data, SEQUENCES)
    size = int.from_bytes(document.meta[0].raw, "little") + 12
    bare = read_document(data[132 + size :], SEQUENCES)
    assert bare.parts == document.parts
    assert bare.preamble == b""


@given(cut=st.integers(0, 3000))
def test_a_file_cut_anywhere_is_refused_or_ends_between_elements(cut: int) -> None:
    """Never a crash, never a value shorter than it says."""
    data = _sample()
    try:
        document = read_document(data[: max(len(data) - cut, 0)], SEQUENCES)
    except DicomUnreadable:
        return
    whole = {(element.path, element.tag): element.raw for element in read_document(data, SEQUENCES).elements}
    assert all(whole[element.path, element.tag] == element.raw for element in document.elements)


@given(place=st.integers(132, 3000), value=st.integers(0, 255))
def test_a_changed_byte_never_crashes_the_reader(place: int, value: int) -> None:
    data = bytearray(_sample())
    data[min(place, len(data) - 1)] = value
    with contextlib.suppress(DicomUnreadable):
        read_document(bytes(data), SEQUENCES)


def _sample() -> bytes:
    head = bytes(128) + b"DICM"
    meta = b"\x02\x00\x10\x00UI" + struct.pack("<H", 20) + b"1.2.840.10008.1.2.1\0"
    item = b"\x08\x00\x00\x01SH\x04\x00ABCD"
    nested = b"\xfe\xff\x00\xe0" + struct.pack("<L", 0xFFFFFFFF) + item + b"\xfe\xff\x0d\xe0" + bytes(4)
    sequence = b"\x08\x00\x18\x22SQ\0\0" + struct.pack("<L", 0xFFFFFFFF) + nested + b"\xfe\xff\xdd\xe0" + bytes(4)
    names = b"".join(b"\x10\x00" + struct.pack("<H", number) + b"LO\x08\x00ABCDEFGH" for number in range(0x20, 0xA0))
    return head + meta + sequence + names


@pytest.mark.parametrize(
    ("vr", "good", "bad"),
    [
        ("DA", [b"20200229", b""], [b"20200230", b"2020 ", b"2020.01.01"]),
        ("TM", [b"101530", b"10", b"101530.123456", b"1015"], [b"251530", b"10:15:30"]),
        ("DT", [b"20200229101530", b"20200229"], [b"20200230101530"]),
        ("AS", [b"059Y"], [b"59Y ", b"059X"]),
        ("CS", [b"ORIGINAL\\PRIMARY "], [b"original", b"A-"]),
        ("DS", [b"1.5\\-2e3 ", b" 7"], [b"1,5 ", b"12345678901234567 "]),
        ("IS", [b"+12 "], [b"1.5 "]),
        ("UI", [b"1.2.840\0", b"1.2.30"], [b"1.02"]),
        ("SH", [b"A" * 16], [b"A" * 18]),
        ("US", [b"\1\0"], [b"\1\0\0"]),
        ("FD", [bytes(8)], [bytes(6)]),
    ],
)
def test_values_have_the_form_of_their_representation(vr: str, good: list[bytes], bad: list[bytes]) -> None:
    """PS3.5 section 6.2, on values of even length."""
    assert all(has_form(value + b" " * (len(value) % 2), vr) for value in good)
    assert not any(has_form(value, vr) for value in bad)


FRAME = frames.jpeg(frames.picture(16, 24))
GREY = Planes(1, 16 * 24)


def test_jpeg_comments_are_seen_before_and_between_scans() -> None:
    """COM and APPn with text count; a bare JFIF header does not; two pictures from the same bytes are the same."""
    comment = frames.segment(0xFE, b"Kelstrupov")
    assert not hides_bytes(FRAME, GREY)
    assert not hides_bytes(FRAME + b"\0", GREY)
    scan = FRAME.index(b"\xff\xda")
    for planted in (FRAME[:2] + comment + FRAME[2:], FRAME[:scan] + comment + FRAME[scan:], FRAME + b"tail"):
        assert hides_bytes(planted, GREY)
        assert read_by_decoder(planted, GREY) == read_by_decoder(FRAME, GREY)
    assert hides_bytes(FRAME[:2] + frames.segment(0xE1, b"Exif\0\0") + FRAME[2:], GREY)
    with pytest.raises(CodestreamBroken):
        hides_bytes(FRAME[:30], GREY)


def test_jpeg_2000_comments_are_seen_in_main_and_tile_headers() -> None:
    comment = frames.segment(0x64, b"\0\1text")
    bare = read_by_decoder(frames.jpeg_2000(frames.picture(16, 24), num_resolutions=2), GREY)
    assert not hides_bytes(bare, GREY)
    for planted in (frames.in_main_header(0x64)(bare, b"\0\1text"), frames.in_tile_part(bare, comment, b"")):
        assert hides_bytes(planted, GREY)
        assert read_by_decoder(planted, GREY) == bare


def test_fragments_of_one_frame_are_joined() -> None:
    frame = FRAME
    parts = [b"", frame[:30], frame[30:], frame]
    assert frames_of([memoryview(part) for part in parts]) == (frame, frame)


def _missing(folder: Path, dataset: Dataset) -> set[MissingAttribute]:
    document = read_document(_bytes(folder, dataset), SEQUENCES)
    tags = {*document.top, *(attribute.tag for attribute in required_of(DX)[()])}
    return {attribute for tag in tags for attribute in missing_in(tag, document.top.get(tag, ()), DX)}


def test_required_attributes_are_known_at_the_top_and_in_items(tmp_path: Path) -> None:
    """Type 1 needs a value, Type 2 must be present; an item that is present must satisfy its macro."""
    assert all(required_of(f"1.2.840.10008.5.1.4.1.1.{kind}") for kind in ("1", "1.1", "2", "2.1"))
    good = _missing(tmp_path, make_dx())
    empty = make_dx(Modality="", PatientName=None)
    empty.AnatomicRegionSequence = Sequence([Dataset()])
    assert _missing(tmp_path, empty) - good == {((), 0x00080060), ((), 0x00100010), ((REGION,), 0x00080104)}
    assert _missing(tmp_path, make_dx(StudyID="")) == good


def test_identifiers_take_the_forms_they_are_found_in(tmp_path: Path) -> None:
    dataset = make_dx(
        PatientName="Müller^Jörg Li", PatientID="P-0042", InstitutionName="General Hospital Northtown",
        OperatorsName="Quillfeather^A", PatientBirthDate="19610514",
    )  # fmt: skip
    dataset.SpecificCharacterSet = "ISO_IR 100"
    document = read_document(_bytes(tmp_path, dataset), SEQUENCES)
    collector = Collector(Identity(issuer="", patient_id="P-0042"))
    collector.add(document)
    identifiers = collector.identifiers()
    assert {"muller", "jorg", "mullerjorg", "p0042"} <= identifiers.inside
    assert "li" in identifiers.words
    assert "quillfeather" in identifiers.people
    assert "northtown" in identifiers.places
    assert "northtown" not in identifiers.inside
    assert identifiers.birth_dates == {"19610514", "14051961", "05141961", "610514", "140561", "051461"}
    assert str(dataset.SOPInstanceUID) in identifiers.uids
    assert str(dataset.SOPClassUID) not in identifiers.uids


@given(st.text(max_size=30))
def test_the_normal_form_is_stable(text: str) -> None:
    """Normalising twice is normalising once, and only letters and digits are left."""
    assert normal(normal(text)) == normal(text)
    assert all(letter.isalnum() for letter in normal(text))


def test_words_part_at_signs_digits_and_changes_of_case() -> None:
    assert words_of("ThoraxMULLERjoerg_12b Ärzte") == ["thorax", "mulle", "rjoerg", "12", "b", "arzte"]


CODES = ("residual-identifier", "word-not-public", "number-in-text")
LETTERS_ALONE = RULES.profile.vocabulary.rules.letters.single
LETTERS = st.text("abcdefghijklmnopqrstuvwxyzäöüéñçøABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=4, max_size=12)


@given(
    name=LETTERS,
    before=st.text("abc 123_-(", max_size=8),
    after=st.text("xyz 456_-)", max_size=8),
    style=st.sampled_from([str, str.upper, str.lower, str.title, str.swapcase, " ".join, "-".join]),
)
def test_a_name_is_found_however_it_is_cased_glued_or_spaced(
    name: str, before: str, after: str, style: Callable[[str], str]
) -> None:
    """Whatever stands around a patient's name of four letters or more, the first or the third look sees it.

    A name that is spelled in letters that may stand alone is excepted, as is a name made of public words.
    """
    assume(not set(name.casefold()) <= LETTERS_ALONE and not RULES.look.is_public(name, in_code=False))
    document = Document(
        b"", (), "", True, runs_of(Element((), 0x00100010, "PN", f"{name}^X".encode())), None, False, ()
    )
    charset = Element((), 0x00080005, "CS", b"ISO_IR 192")
    collector = Collector(Identity(issuer="", patient_id="P1"))
    collector.add(replace(document, runs=runs_of(charset, *document.elements)))
    search = Search(collector.identifiers(), RULES)
    text = Element((), 0x0008103E, "LO", f"{before}{style(name)}{after}".encode())
    new = replace(document, runs=runs_of(charset, text))
    findings = [*search_document(new, search, RULES), *check_part((text,), RULES, {}, charset_of(new))]
    assert {Finding(code=code, attribute="SeriesDescription") for code in CODES} & {*findings}


@given(st.lists(st.integers(0, 70), min_size=1, max_size=4))
def test_each_of_several_values_is_short_enough(lengths: list[int]) -> None:
    """64 characters of a LO, of every value of it (PS3.5 table 6.2-1)."""
    raw = b"\\".join(b"x" * length for length in lengths)
    assert has_form(raw + bytes(len(raw) % 2), "LO") == all(length <= 64 for length in lengths)


@pytest.mark.parametrize(
    ("age", "codes"),
    [(b"089Y", []), (b"090Y", []), (b"091Y", ["age"]), (b"095Y  ", ["age"]), (b"119Y\0\0", ["age"]), (b"999D", [])],
)
def test_no_age_is_beyond_ninety_years(age: bytes, codes: list[str]) -> None:
    """However it is padded; months and days reach no further by their form."""
    findings = check_part((Element((), 0x00101010, "AS", age),), RULES, {}, ("ascii",))
    assert [finding.code for finding in findings] == codes


@pytest.mark.parametrize("tag", [0x00020002, 0x00020003])
def test_file_and_data_set_name_the_same_object(tmp_path: Path, tag: int) -> None:
    """The class and the instance of the file meta information are those of the data set (PS3.10 section 7.1)."""
    document = read_document(_bytes(tmp_path, make_dx()), SEQUENCES)
    meta = tuple(each._replace(raw=b"1.2.3.4\0") if each.tag == tag else each for each in document.meta)
    assert "file-meta" in {finding.code for finding in check_document(replace(document, meta=meta), RULES)}
    assert "file-meta" not in {finding.code for finding in check_document(document, RULES)}
