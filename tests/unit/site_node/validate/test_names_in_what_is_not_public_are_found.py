"""The third look: public words tell nothing unless somebody bears them; what is left of a text holds no name."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.loader import load_profile
from shared.protocol.search_terms import search_terms
from site_node.study import Identity
from site_node.validate.elements import Document, Element
from site_node.validate.identifiers import Collector
from tests.factories.validated import found_by_search, runs_of

LISTS = load_profile().vocabulary
DESCRIPTION, KERNEL = 0x0008103E, 0x00181210
EVERYWHERE = sorted(word for word in LISTS.known_everywhere if len(word) > 2 and word.isascii())
RARE = sorted(word for word in LISTS.in_text - LISTS.known_everywhere if len(word) > 3 and word.isascii())
PUBLIC = sorted(word for word in LISTS.in_text if len(word) > 4 and word.isascii())
names = st.text(string.ascii_lowercase, min_size=7, max_size=12).map(lambda word: f"zq{word}")
tags = search_terms().tags


def codes(text: str, *source: tuple[int, str, str], tag: int = DESCRIPTION, vr: str = "LO") -> list[str]:
    """What is found in one text, of a source with these attributes: tag, VR, value."""
    elements = [Element((), number, kind, value.encode()) for number, kind, value in source]
    return found_by_search(elements, Element((), tag, vr, text.encode()))


@given(st.sampled_from(EVERYWHERE), st.sampled_from([0x00100010, 0x00081070, 0x00080080]))
def test_a_name_that_is_public_everywhere_is_excused(word: str, tag: int) -> None:
    assert codes(f"CT {word.upper()}", (tag, "PN", f"{word}^X")) == []


@given(st.sampled_from(RARE), st.sampled_from([0x00100010, 0x00081070, 0x00080080]))
def test_a_public_word_that_somebody_bears_is_found(word: str, tag: int) -> None:
    """The patient, other people, and in descriptions places."""
    assert codes(f"CT {word.upper()}", (tag, "PN", f"{word}^X"))


@given(st.sampled_from(PUBLIC), st.data())
def test_a_name_inside_a_longer_public_word_is_no_finding(word: str, data: st.DataObject) -> None:
    """A patient called Hest is not named by CHEST."""
    start = data.draw(st.integers(0, len(word) - 4))
    size = data.draw(st.integers(4, len(word) - (start == 0)))
    part = word[start : start + size]
    assert codes(f"CT {word.upper()}", (0x00100010, "PN", f"{part}^Q")) == [] or word in {part, f"q{part}", f"{part}q"}


@given(names, st.sampled_from(sorted(tags.places | tags.numbers)), st.sampled_from(["CT {}", "{}_chest", "{}2"]))
def test_every_listed_attribute_is_searched_for(name: str, tag: int, text: str) -> None:
    """Stations, AE titles, plates, regions, trial sites, insurances, occupations, procedure steps."""
    assert codes(text.format(name), (tag, "LO", name))


@given(names, st.sampled_from(["ISO", ""]))
def test_a_name_in_a_private_element_is_searched_for(name: str, vr: str) -> None:
    """An implicit file does not say that a private value is a name; it looks like one."""
    assert codes(f"CT {name.title()}", (0x00091002, "" if vr else "PN", f"{name}^Ignotus")) == ["residual-other"]


@pytest.mark.parametrize(
    ("tag", "value", "text"),
    [
        (0x00081070, "Lundqvist^Petra", "plundqvist CT"),
        (0x00081070, "Lundqvist^Petra Maria", "CT LUNDQVISTPM"),
        (0x00100010, "Kowalczyk^Berenika", "CT KOWALCZ"),
        (0x00081070, "Lundqvist^Petra", "CT LUNDQ"),
        (0x00080080, "Silverbrook Regional Hospital", "SRH CT"),
        (0x00080080, "Klinikum am Quellenpark Zorn", "KQZ CT"),
        (0x00100010, "Иванов^Пётр", "CT IVANOV"),
        (0x00100010, "Иванов^Пётр", "CT PETR thorax"),
        (0x00081070, "Παπαδόπουλος^Νίκος", "CT Papadopoylos"),
    ],
)
def test_derived_forms_are_found(tag: int, value: str, text: str) -> None:
    """User names, names cut short, acronyms of places, names in Latin letters."""
    assert codes(text, (tag, "PN", value))


def test_codes_and_devices_are_excused_by_their_lists() -> None:
    """A patient called Lin has a presentation all the same; a station has its model's name."""
    assert codes("MONOCHROME2\\LIN", (0x00100010, "PN", "Lin^X"), tag=0x00080008, vr="CS") == []
    device = max(LISTS.devices, key=len)
    assert codes(device, (0x00081010, "SH", device[:16]), tag=0x00081090) == []


@given(names, st.sampled_from(["LO", "SH", "ST"]))
def test_a_private_text_that_says_it_is_no_name_names_nobody(name: str, vr: str) -> None:
    """Devices write `Maker^Protocol` into texts of their own; only what may be a name by its kind is taken for one."""
    assert codes(f"CT {name.title()}", (0x00091002, vr, f"{name}^Ignotus")) == []


@pytest.mark.parametrize(("words", "is_glued"), [(6, True), (7, False)])
def test_each_two_of_a_names_first_six_words_are_looked_for_as_one(words: int, is_glued: bool) -> None:
    """A place of many words would give too many pairs to look for; its first six are searched in any two."""
    parts = ["zqalpha", "zqbravo", "zqcharl", "zqdelta", "zqechoo", "zqfoxtr", "zqgolfo"][:words]
    place = Element((), 0x00080080, "LO", " ".join(parts).encode())
    collector = Collector(Identity(issuer="", patient_id="P1"))
    collector.add(Document(b"", (), "", True, runs_of(place), None, False, ()))
    assert (parts[0] + parts[-1] in collector.identifiers().places) == is_glued
