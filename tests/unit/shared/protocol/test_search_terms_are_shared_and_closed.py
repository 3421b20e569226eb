"""The lists that both looks at a study search by: one copy, nothing unknown."""

import ast
from pathlib import Path

import pytest

import shared.protocol
from shared.errors.protocol import ProtocolInvalid
from shared.protocol.parts import parse_part
from shared.protocol.search_terms import SearchTerms, search_terms

ROOT = Path(shared.protocol.__file__).parents[2]
TEXT = (ROOT / "shared" / "protocol" / "data" / "search" / "identifying.toml").read_text(encoding="utf-8")
FEW = 3  # of the listed tags, which a module may treat on their own


def test_every_letter_that_is_made_plain_is_in_folded_case() -> None:
    """Both looks fold case first, so any other letter would never be met."""
    letters = search_terms().letters
    assert all(letter == letter.casefold() for letter in (*letters.plain, *letters.spelled))


def test_no_attribute_is_of_two_kinds() -> None:
    """Names, numbers, people and places exclude each other."""
    tags = search_terms().tags
    assert 0x00100010 in tags.names, "tags are read in hexadecimal digits"
    assert len(tags.identifying) == sum(map(len, (tags.names, tags.numbers, tags.people, tags.places)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('edition = "2026.11"\n', ""),
        ("[dates]", "[dates]\nyears = 1"),
        ('"00100010"', '"PatientName"'),
        ('["jan"], ', ""),
    ],
)
def test_a_wrong_list_is_refused(old: str, new: str) -> None:
    """No edition, an unknown key, what is no tag, and a year of eleven months."""
    assert old in TEXT
    with pytest.raises(ProtocolInvalid):
        parse_part(TEXT.replace(old, new, 1), SearchTerms, file="x")


@pytest.mark.parametrize("room", ["deidentify", "validate"])
def test_neither_look_keeps_a_list_of_its_own(room: str) -> None:
    """No module of either names more than a few of the listed attributes, or a month."""
    tags, months = search_terms().tags.identifying, {name for names in search_terms().dates.months for name in names}
    for path in (ROOT / "site_node" / room).glob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        values = {node.value for node in nodes if isinstance(node, ast.Constant)}
        assert len(tags & values) <= FEW, path.name
        assert not months & values, path.name
