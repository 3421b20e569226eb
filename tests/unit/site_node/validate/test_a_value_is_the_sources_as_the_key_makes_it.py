"""The second look at a value beside its source's: only what the key and the profile make of it passes."""

from dataclasses import replace
from datetime import timedelta
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.loader import load_profile
from site_node.deidentify.date_shift import shift_values
from site_node.study import Identity
from site_node.validate.conformance import make_rules
from site_node.validate.elements import Document, Element
from site_node.validate.mapping import Condition, check_against_source, make_patient, outcomes_of, same_pixels
from site_node.validate.native_pixels import pixel_bytes
from tests.factories.deidentified import PSEUDONYMS
from tests.factories.validated import SITE, runs_of

RULES = make_rules(load_profile(), SITE)
PATIENT = make_patient(PSEUDONYMS, Identity(issuer="", patient_id="P1"))
EMPTY = Document(b"", (), "", True, (), None, False, ())
DATES = (b"19750301", b"20200301")
ITEM = (0x00081115, 0)
STUDY_DATE, ACQUIRED, PATIENT_NAME, AGE = 0x00080020, 0x0008002A, 0x00100010, 0x00101010


def codes(new: Element, *old: Element, days: int = 40, dates: tuple[bytes, bytes] = (b"", b"")) -> list[str]:
    """What is found in one element beside the part of its source."""
    condition = Condition(("ascii",), ("ascii",), {}, "", dates)
    patient = PATIENT._replace(shift=timedelta(days=days))
    return [finding.code for finding in check_against_source((new,), old, condition, patient, RULES)]


whole = st.dates().map("{:%Y%m%d}".format).map(lambda text: text.rjust(8, "0"))
times = st.sampled_from(["", "10", "1011", "101112", "101112.5", "101112.123456"])
zones = st.sampled_from(["", "+0100", "-0500"])
moments = st.builds("{}{}{}".format, whole, times, zones)
ranges = st.one_of(
    st.builds("{}-{}".format, whole, whole), st.builds("{}-".format, whole), st.builds("-{}".format, whole)
)


@given(st.lists(st.one_of(whole, moments, ranges), min_size=1, max_size=3), st.integers(1, 4000), st.booleans())
def test_a_date_is_the_sources_minus_the_shift(values: list[str], days: int, is_moment: bool) -> None:
    """Of every form that the first stage shifts, a day more or less is found; so is another number of values."""
    tag, vr = (ACQUIRED, "DT") if is_moment else (STUDY_DATE, "DA")
    text = "\\".join(values)
    source = Element((), tag, vr, text.encode())
    shifted = shift_values(text, days, complete=False)
    if not shifted:
        return
    new = Element((), tag, vr, shifted.encode())
    assert codes(new, source, days=days) == []
    if any(part.strip("-") for part in shifted.split("\\")):
        assert codes(new, source, days=days + 1) == codes(new, source, days=days - 1) == ["date-shift"]
    assert codes(new._replace(raw=new.raw + b"\\20200101"), source, days=days) == ["date-shift"]


def test_the_first_day_of_all_is_a_day() -> None:
    """A date may be shifted to the first that there is, and no further."""
    source = Element((), STUDY_DATE, "DA", b"00010210")
    assert codes(Element((), STUDY_DATE, "DA", b"00010101"), source, days=40) == []
    assert codes(Element((), STUDY_DATE, "DA", b"00010101"), source, days=41) == ["date-shift"]


@pytest.mark.parametrize("path", [(), ITEM])
def test_a_patient_is_the_pseudonym(path: tuple[int, int] | tuple[()]) -> None:
    """At the top whether or not the source names anybody; in an item only where its source does."""
    name = Element(path, PATIENT_NAME, "PN", b"Doe^Jane")
    ours = name._replace(raw=PATIENT.pseudonym.encode())
    assert codes(ours, name) == []
    assert codes(name, name) == ["patient-mapping"]
    assert codes(ours) == (["added"] if path else [])


@pytest.mark.parametrize("path", [(), ITEM])
def test_an_age_is_computed_of_the_studys_own_dates(path: tuple[int, int] | tuple[()]) -> None:
    """An item has none, so that an age in it must stand in its source."""
    new, stated = Element(path, AGE, "AS", b"045Y"), Element(path, AGE, "AS", b"45Y ")
    assert codes(new, stated, dates=DATES) == codes(new, stated) == []
    assert codes(new, dates=DATES) == (["age-mapping"] if path else [])
    assert codes(new) == ["age-mapping"]


@pytest.mark.parametrize(("meaning", "expected"), [("Lung", []), ("LUNG ", []), ("Kelstrupova", ["changed"])])
def test_a_meaning_is_its_sources_or_the_standards(meaning: str, expected: list[str]) -> None:
    """For its code: another word than the source's has to be what PS3.16 says of it."""
    scheme, value = Element(ITEM, 0x00080102, "SH", b"SCT "), Element(ITEM, 0x00080100, "SH", b"39607008")
    old, new = (Element(ITEM, 0x00080104, "LO", text.encode()) for text in ("Thorax KELSTRUP", meaning))
    condition = Condition(("ascii",), ("ascii",), {}, "", (b"", b""))
    findings = check_against_source((value, scheme, new), (value, scheme, old), condition, PATIENT, RULES)
    assert [finding.code for finding in findings] == expected


def test_what_became_of_an_element_names_no_private_one() -> None:
    """A private tag may be chosen to say something; its creator's name is the file's."""
    public, private = Element((), 0x00180060, "DS", b"120"), Element((), 0x00191002, "LO", b"x")
    assert outcomes_of((), (public, private), RULES) == (("removed", "KVP"), ("removed", "private"))
    changed = public._replace(raw=b"121")
    assert outcomes_of((changed,), (public,), RULES) == (("changed", "KVP"),)
    assert outcomes_of((public._replace(raw=b"120 "),), (public,), RULES) == (("kept", "KVP"),)


def test_what_stands_for_a_sequence_is_added() -> None:
    """An empty sequence of the source gives no text."""
    text = Element((), 0x0008103E, "LO", b"chest")
    assert codes(text, text) == []
    assert codes(text, Element((), 0x0008103E, "SQ", b"", 0)) == ["added"]


def test_a_uid_that_is_kept_is_the_standards() -> None:
    """Any other is mapped, whatever the attribute: copied, it would join the new file to its source."""
    standard, own = (Element((), 0x00080016, "UI", uid) for uid in (b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.3.4\0"))
    assert codes(standard, standard) == []
    assert codes(own, own) == ["uid-mapping"]


@given(st.lists(st.sampled_from(["chest", "ap", "pa", "lateral", "supine"]), min_size=1, max_size=5), st.data())
def test_a_text_says_what_is_left_of_its_source(words: list[str], data: st.DataObject) -> None:
    """Words may go, and none comes or changes its place."""
    source = Element((), 0x0008103E, "LO", " ".join(words).encode())
    kept = [word for word in words if data.draw(st.booleans())]
    assert codes(source._replace(raw=" ".join(kept).encode()), source) == []
    for other in ([*kept, "knee"], ["x", *kept]):
        assert codes(source._replace(raw=" ".join(other).encode()), source) == ["changed"]


def picture(pixels: bytes | None, *, encapsulated: bool = False, count: int = 8) -> Document:
    """A file of one row of 8-bit grey values."""
    words = ((0x00280002, 1), (0x00280010, 1), (0x00280011, count), (0x00280100, 8))
    elements = [Element((), tag, "US", pack("<H", word)) for tag, word in words]
    fragments = None if pixels is None else (memoryview(pixels),)
    return replace(EMPTY, runs=runs_of(*elements), fragments=fragments, encapsulated=encapsulated)


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=3), st.integers(0, 2), st.data())
def test_pixels_are_the_sources(pixels: bytes, beyond: bytes, zeros: int, data: st.DataObject) -> None:
    """To the last byte that the header asks for; of what follows in the source nothing stays but zeros."""
    source = picture(pixels + beyond, count=len(pixels))
    assert same_pixels(picture(pixels + bytes(zeros)), source)
    at = data.draw(st.integers(0, len(pixels) - 1))
    other = pixels[:at] + bytes((pixels[at] ^ 1,)) + pixels[at + 1 :]
    for wrong in (other, pixels[:-1], pixels + b"\0\1", b""):
        assert not same_pixels(picture(wrong), source)
    assert not same_pixels(picture(pixels, encapsulated=True), source)
    assert not same_pixels(picture(None), source)
    assert not same_pixels(source, picture(None))
    assert same_pixels(picture(None), picture(None))
    assert not same_pixels(picture(pixels), picture(pixels[:-1], count=len(pixels)))


@given(
    words=st.tuples(
        st.integers(1, 99), st.integers(1, 99), st.sampled_from([1, 8, 16, 32]), st.sampled_from([0, 1, 3])
    ),
    photometric=st.sampled_from(["MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422"]),
    number=st.none() | st.integers(1, 20).map(str),
)
def test_pixels_are_as_many_as_the_header_says(
    words: tuple[int, int, int, int], photometric: str, number: str | None
) -> None:
    """Of halved colours two bytes stand for three samples (PS3.3 C.7.6.3.1.2); a last byte is begun."""
    rows, columns, allocated, samples = words
    tags = {0x00280002: samples, 0x00280010: rows, 0x00280011: columns, 0x00280100: allocated}
    elements = [Element((), tag, "US", pack("<H", word)) for tag, word in tags.items() if word]
    texts = {0x00280004: photometric, 0x00280008: number}
    elements += [Element((), tag, "", text.encode()) for tag, text in texts.items() if text]
    each = 2 if samples == 3 and photometric.endswith("422") else samples or 1
    assert pixel_bytes(replace(EMPTY, runs=runs_of(*elements))) == -(
        -rows * columns * allocated * each * int(number or 1) // 8
    )
