"""What once passed the validator: the patient's dates and numbers as numbers; and what was once taken for them."""

import struct

import pytest

from shared.protocol.loader import load_profile
from site_node.study import Identity
from site_node.validate.conformance import make_rules
from site_node.validate.elements import Document, Element
from site_node.validate.identifiers import Collector
from site_node.validate.residual import search_clinical
from site_node.validate.search import Search
from tests.factories.validated import SITE, found_by_search, runs_of

SOURCE = (
    Element((), 0x00080020, "DA", b"20210302"),
    Element((), 0x00080050, "SH", b"A-1234567 "),
    Element((), 0x0008002A, "DT", b"20210304101500"),
    Element((), 0x00100030, "", b"19610514"),
)
SHORT = (Element((), 0x00080050, "SH", b"100 "), Element((), 0x00200010, "SH", b"2048"))


def codes_of(vr: str, tag: int, raw: bytes) -> list[str]:
    """Codes of what the search finds in one element."""
    return found_by_search(SOURCE, Element((), tag, vr, raw), patient_id="MRN-0007731904")


@pytest.mark.parametrize("raw", [b"20210302", b"19610514", b"610514", b"1\\19610514.0", b"04032021", b"20210304101500"])
def test_days_in_numbers_are_found(raw: bytes) -> None:
    """Some series have the date as their number."""
    assert codes_of("DS", 0x00180060, raw) == ["residual-date"]


@pytest.mark.parametrize("raw", [b"7731904 ", b"1\\ 7731904", b"+7731904", b"7731904.0", b"00007731904", b"1234567 "])
def test_bare_numbers_are_found(raw: bytes) -> None:
    """Without prefix, zeros, sign and blanks a number is still the patient's."""
    assert "residual-identifier" in codes_of("DS", 0x00180060, raw)


@pytest.mark.parametrize("raw", [b"77-31904", b"7,731,904 ", b"7 731 904"])
def test_a_number_that_is_none_is_read_as_its_digits(raw: bytes) -> None:
    """What no program takes for a number a reader still does."""
    assert "residual-identifier" in codes_of("DS", 0x00180060, raw)


def test_a_long_number_holds_a_day_by_its_year() -> None:
    """Six digits of a day are in many a long number by chance; eight are the day."""
    assert codes_of("DS", 0x00180060, b"992103021015") == []
    assert codes_of("DS", 0x00180060, b"9920210302") == ["residual-date"]


@pytest.mark.parametrize(("vr", "letter"), [("FD", "d"), ("UL", "I"), ("SL", "i")])
def test_binary_numbers_are_found(vr: str, letter: str) -> None:
    """A number or day of the patient in a binary value, wherever it stands in it."""
    assert codes_of(vr, 0x00189073, struct.pack(f"<2{letter}", 1, 7731904)) == ["residual-identifier"]
    assert codes_of(vr, 0x00189073, struct.pack(f"<{letter}", 19610514)) == ["residual-date"]
    assert codes_of(vr, 0x00189073, struct.pack(f"<{letter}", 610514)) == ["residual-date"]


@pytest.mark.parametrize(
    ("vr", "tag", "raw"),
    [("IS", 0x00200011, b"14"), ("DS", 0x00180060, b"120 "), ("DS", 0x00200032, b"-77.3190\\12.3456"),
     ("TM", 0x00080030, b"210302"), ("LO", 0x00181020, b"VB20A 5.1 ")],
)  # fmt: skip
def test_ordinary_values_are_let_go(vr: str, tag: int, raw: bytes) -> None:
    """Small numbers, measures, times of day and versions identify nobody."""
    assert codes_of(vr, tag, raw) == []


@pytest.mark.parametrize(
    ("vr", "tag", "raw"),
    [("SH", 0x00181210, b"B60f"), ("DS", 0x00281052, b"-1024"), ("CS", 0x00080005, b"ISO_IR 100"),
     ("DS", 0x00281051, b"2048"), ("LO", 0x0008103E, b"CT 60 kV 100 mm "), ("IS", 0x00201208, b"60")],
)  # fmt: skip
def test_short_numbers_of_the_patient_are_everywhere(vr: str, tag: int, raw: bytes) -> None:
    """A PatientID 60 is no kernel B60f, accession 100 no character set, StudyID 2048 no window."""
    assert found_by_search(SHORT, Element((), tag, vr, raw), patient_id="60") == []
    assert found_by_search(SHORT, Element((), tag, vr, raw), patient_id="1024") == []


@pytest.mark.parametrize(
    ("value", "codes"),
    [
        (59, []), (1.5, []), (None, []), ("F", []), ("rt-pcr", []), ("2020-04-03", []), ("a" * 40, []),
        ("a" * 41, ["clinical-text"]), ("she is better", ["clinical-text"]), ("", ["clinical-text"]),
        ("7731904", ["clinical-identifier"]), ("P7731904", ["clinical-identifier"]),
        ("19610514", ["clinical-identifier"]), ("1961-05-14", ["clinical-identifier"]),
        ("it is 7731904", ["clinical-text", "clinical-identifier"]),
    ],
)  # fmt: skip
def test_a_clinical_row_holds_codes_days_and_numbers(value: object, codes: list[str]) -> None:
    """No text, none of the patient's numbers, and not the day of birth."""
    profile = load_profile()
    rules = make_rules(profile, SITE)
    collector = Collector(Identity(issuer="", patient_id="P7731904"), frozenset(), profile.date_tags)
    runs = runs_of(Element((), 0x00100030, "DA", b"19610514"))
    collector.add(Document(b"", (), "", True, runs, None, False, ()))
    findings = list(search_clinical({"age": 7, "outcome": value}, Search(collector.identifiers(), rules)))
    assert [(finding.code, finding.attribute) for finding in findings] == [(code, "outcome") for code in codes]
