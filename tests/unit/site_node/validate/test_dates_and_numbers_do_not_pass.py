"""What once passed the validator: the patient's dates and bare numbers in technical text and in numbers."""

from dataclasses import replace

import pytest

from shared.ids import SiteId
from shared.protocol.loader import load_profile
from site_node.study import Identity
from site_node.validate.conformance import make_rules
from site_node.validate.elements import Document, Element
from site_node.validate.identifiers import Collector
from site_node.validate.residual import make_search
from tests.factories.validated import runs_of, search_document

RULES = make_rules(load_profile(), SiteId("123456"))
SOURCE = (
    Element((), 0x00080020, "DA", b"20210302"),
    Element((), 0x00080050, "SH", b"A-1234567 "),
    Element((), 0x0008002A, "DT", b"20210304101500"),
    Element((), 0x00100030, "", b"19610514"),
)


def codes_of(vr: str, tag: int, raw: bytes) -> list[str]:
    """Codes of what the search finds in one element."""
    collector = Collector(Identity(issuer="", patient_id="MRN-0007731904"), frozenset(), {0x00100030})
    empty = Document(b"", (), "", True, (), None, False, ())
    collector.add(replace(empty, runs=runs_of(*SOURCE)))
    charset = Element((), 0x00080005, "CS", b"ISO_IR 192")
    new = replace(empty, runs=runs_of(charset, Element((), tag, vr, raw)))
    return [finding.code for finding in search_document(new, make_search(collector.identifiers(), RULES), RULES)]


@pytest.mark.parametrize(
    "text",
    ["EXAM 2021-03-02", "14MAY1961", "14. Mai 1961", "5/14/61", "v20210304101500", "May 14th, 1961", "610514",
     "5_14_61", "5 14 61", "1961年5月14日", "March 2, 2021", "2021 mar 4", "14 de mayo de 1961", "1961년 5월 14일",
     "14th of May 1961"],
)  # fmt: skip
def test_days_in_text_are_found(text: str) -> None:
    """Whatever order, signs and month names a date of the source is written with."""
    assert set(codes_of("LO", 0x00181020, text.encode())) & {"residual-date", "residual-birth-date"}


@pytest.mark.parametrize("raw", [b"20210302", b"19610514", b"610514", b"1\\19610514.0", b"04032021"])
def test_days_in_numbers_are_found(raw: bytes) -> None:
    """Some series have the date as their number."""
    assert codes_of("IS", 0x00200011, raw) == ["residual-date"]


@pytest.mark.parametrize("raw", [b"7731904 ", b"1\\ 7731904", b"+7731904", b"7731904.0", b"00007731904", b"1234567 "])
def test_bare_numbers_are_found(raw: bytes) -> None:
    """Without prefix, zeros, sign and blanks a number is still the patient's."""
    assert "residual-identifier" in codes_of("DS", 0x00180060, raw)


@pytest.mark.parametrize(
    ("vr", "tag", "raw"),
    [("IS", 0x00200011, b"14"), ("DS", 0x00180060, b"120 "), ("DS", 0x00200032, b"-77.3190\\12.3456"),
     ("TM", 0x00080030, b"210302"), ("LO", 0x00181020, b"VB20A 5.14"), ("LO", 0x00181020, b"5.14.62")],
)  # fmt: skip
def test_ordinary_values_are_let_go(vr: str, tag: int, raw: bytes) -> None:
    """Small numbers, measures, times of day and versions identify nobody."""
    assert codes_of(vr, tag, raw) == []
