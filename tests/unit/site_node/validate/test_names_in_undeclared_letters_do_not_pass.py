"""The second look finds a name in a text that is written in another character set than the file declares."""

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
from tests.unit.site_node.deidentify.test_names_in_undeclared_letters_do_not_stay import MISREAD

RULES = make_rules(load_profile(), SiteId("123456"))
EMPTY = Document(b"", (), "", True, (), None, False, ())


def codes(charset: str, name: bytes, description: bytes) -> list[str]:
    """What is found in a new file with this description, of a source with this name."""
    declared = Element((), 0x00080005, "CS", charset.encode())
    collector = Collector(Identity(issuer="", patient_id="P-1"))
    collector.add(replace(EMPTY, runs=runs_of(declared, Element((), 0x00100010, "PN", name))))
    new = replace(EMPTY, runs=runs_of(declared, Element((), 0x0008103E, "LO", description)))
    return [finding.code for finding in search_document(new, make_search(collector.identifiers(), RULES), RULES)]


@pytest.mark.parametrize(("charset", "declared", "name", "written"), MISREAD)
def test_a_name_in_undeclared_letters_is_found(charset: str, declared: str, name: str, written: str) -> None:
    text = f"CHEST {name.partition('^')[0]}".encode(written)
    assert "residual-identifier" in codes(charset, name.encode(declared), text)


@pytest.mark.parametrize("written", ["latin-1", "utf-8"])
def test_other_words_in_undeclared_letters_are_no_name(written: str) -> None:
    assert not codes("ISO_IR 100", b"Testington^Invented", "SCHÄDEL SEITLICH".encode(written))
