"""What once passed the validator: names in the letters of another keyboard."""

from dataclasses import replace

import pytest

from shared.ids import SiteId
from shared.protocol.loader import load_profile
from site_node.study import Identity
from site_node.validate.conformance import make_rules
from site_node.validate.elements import Document, Element
from site_node.validate.identifiers import Collector
from site_node.validate.search import Search
from tests.factories.validated import runs_of, search_document
from tests.unit.site_node.deidentify.test_names_of_other_keyboards_do_not_stay import NAMES

RULES = make_rules(load_profile(), SiteId("123456"))
CHARSET = Element((), 0x00080005, "CS", b"ISO_IR 192")


def _codes(source: Element, text: str) -> list[str]:
    empty = Document(b"", (), "", True, (), None, False, ())
    collector = Collector(Identity(issuer="", patient_id="P-1"))
    collector.add(replace(empty, runs=runs_of(CHARSET, source)))
    new = replace(empty, runs=runs_of(CHARSET, Element((), 0x0008103E, "LO", text.encode())))
    return [finding.code for finding in search_document(new, Search(collector.identifiers(), RULES), RULES)]


@pytest.mark.parametrize(("name", "text"), NAMES)
def test_a_name_on_another_keyboard_is_found(name: str, text: str) -> None:
    """A letter that a keyboard lacks is written as the one or two that stand for it."""
    assert "residual-identifier" in _codes(Element((), 0x00100010, "PN", name.encode()), f"PA {text}")


@pytest.mark.parametrize("tag", [0x00120040, 0x00120042, 0x00380060, 0x00200010])
def test_other_numbers_of_the_patient_are_found(tag: int) -> None:
    """A number that a trial, a visit or a study gave is one of the patient's too."""
    assert "residual-identifier" in _codes(Element((), tag, "LO", b"S-71234 "), "PA a71234b")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"Wolfeschlegelsteinhausenbergerdorff^A", "PA WOLFESCHLEGELSTE"),
        ("Kelstrupov\u00e1^Anna".encode(), "PA KELSTRUPOVA"),
    ],
)
def test_a_name_that_was_cut_or_misread(name: bytes, text: str) -> None:
    """A device cut the name to sixteen letters, or wrote UTF-8 in a file that says Latin-1."""
    empty = Document(b"", (), "", True, (), None, False, ())
    collector = Collector(Identity(issuer="", patient_id="P-1"))
    collector.add(replace(empty, runs=runs_of(Element((), 0x00100010, "PN", name))))
    new = replace(empty, runs=runs_of(Element((), 0x0008103E, "LO", text.encode())))
    findings = search_document(new, Search(collector.identifiers(), RULES), RULES)
    assert [finding.code for finding in findings] == ["residual-identifier"]


def test_what_the_program_writes_is_nobodys_name() -> None:
    """A patient called Yes: PatientIdentityRemoved says YES all the same, and its value is checked elsewhere."""
    empty = Document(b"", (), "", True, (), None, False, ())
    collector = Collector(Identity(issuer="", patient_id="P-1"))
    collector.add(replace(empty, runs=runs_of(Element((), 0x00100010, "PN", b"Yes^Modified"))))
    marks = (Element((), 0x00120062, "CS", b"YES "), Element((), 0x00280303, "CS", b"MODIFIED"))
    new = replace(empty, runs=runs_of(*marks))
    assert search_document(new, Search(collector.identifiers(), RULES), RULES) == []
