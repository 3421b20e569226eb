"""What an annotation is follows from a closed table: terms, codes, scopes, the grade of the zones, voting policies."""

import csv
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.errors.inputs import NotFound
from shared.errors.protocol import ProtocolInvalid
from shared.protocol import loader
from shared.protocol.annotation import AnnotationDefinition, Policy, Vote
from shared.protocol.loader import load_annotation

FACTS = Path(__file__).resolve().parents[4].parent / "shared" / "notes" / "facts" / "codes.csv"
TEXT = (Path(loader.__file__).parent / "data" / "annotation" / "ricord.toml").read_text(encoding="utf-8")
DEFINITION = load_annotation()


@given(st.integers(-2, 9))
def test_the_grade_follows_from_the_zones(zones: int) -> None:
    """1 or 2 zones are mild, 3 or 4 moderate, 5 or 6 severe; no other number has a grade."""
    expected = {1: "mild", 2: "mild", 3: "moderate", 4: "moderate", 5: "severe", 6: "severe"}
    assert DEFINITION.grade_of(zones) == expected.get(zones)


def test_films_and_ct_are_asked_their_own() -> None:
    """A film is asked appearance, zones and grade; a CT regions at its instances and what holds for the examination."""
    film = [group.name for group in DEFINITION.asked_of("DX")]
    assert film == [group.name for group in DEFINITION.asked_of("CR")]
    assert film == ["appearance", "zones", "grade", "quality", "devices"]
    ct = {group.name: group.scope for group in DEFINITION.asked_of("CT")}
    assert ct.pop("regions") == "instance"
    assert set(ct.values()) == {"study"}
    assert set(ct) == {"appearance", "quality", "devices", "contrast", "lymphadenopathy", "lung-disease"}
    assert [term.key for term in DEFINITION.group("appearance").terms] == ["1", "2", "3", "4"]


@pytest.mark.skipif(not FACTS.exists(), reason="the developers' shared facts are not here")
def test_every_code_is_that_of_the_facts() -> None:
    """No code is lost, changed or invented."""
    with FACTS.open(encoding="utf-8", newline="") as file:
        facts = Counter((row["scheme"], row["code"], row["meaning"]) for row in csv.DictReader(file))
    terms = [term for group in DEFINITION.groups for term in group.terms] + [*DEFINITION.modifiers]
    codes = [code for group in DEFINITION.groups for code in group.codes]
    codes += [code for term in terms for code in term.codes]
    assert {*facts} == {(code.scheme, code.value, code.meaning) for code in codes}


def test_unknown_names_are_refused() -> None:
    """A group, a term or a policy that the table lacks is named."""
    with pytest.raises(NotFound, match="There is no group of terms lungs"):
        DEFINITION.group("lungs")
    with pytest.raises(NotFound, match="There is no term of `grade` dire"):
        DEFINITION.group("grade").term("dire")
    with pytest.raises(NotFound, match="There is no voting policy most"):
        DEFINITION.vote.policy("most")
    assert DEFINITION.vote.policy().name == "apart"
    with pytest.raises(ProtocolInvalid, match="this release has no such file"):
        load_annotation("other")


@pytest.mark.parametrize(
    ("was", "becomes", "problem"),
    [
        ("zones = [3, 4]", "zones = [3]", "not each number of zones has one grade"),
        ("zones = [3, 4]", "zones = [2, 3, 4]", "not each number of zones has one grade"),
        ('label = "Adequate"', 'label = "Adequate"\nzones = [1]', "a term that is no grade has numbers of zones"),
        ('ungraded = ["negative"]', 'ungraded = ["none"]', "`ungraded` names no appearance, or all"),
        ('ungraded = ["negative"]', 'ungraded = ["negative", "typical", "atypical", "indeterminate"]', "or all"),
        ('[["appearance"], ["grade"]]', '[["appearance"]]', "does not vote on appearance and grade once each"),
        ('default = "apart"', 'default = "most"', "the default is none of the policies"),
        ('name = "pair"', 'name = "apart"', "a policy stands twice"),
        ("agreeing = 2", "agreeing = 1", "not more than half"),
        ("agreeing = 2", "agreeing = 4", "not more than half"),
        ('name = "mild"', 'name = "severe"', "a term of `grade` stands twice"),
        ('label = "Mild"', 'label = "Severe"', "a label of `grade` stands twice"),
        ('key = "m"', 'key = "s"', "a key of `grade` stands twice"),
        ('name = "devices"', 'name = "quality"', "a group stands twice"),
        ('name = "zones"', 'name = "places"', "there is no appearance, no grade or no zones"),
        ('mode = "text"', "", "has either terms or the mode `text`"),
        ('modifier = "infectious"', 'modifier = "odd"', "a term names a modifier that is none"),
        ('scheme = "DCM"', 'scheme = "ODD"', "scheme"),
        ("many = true", "several = true", "there is no key"),
    ],
)
def test_a_table_that_cannot_be_is_refused(was: str, becomes: str, problem: str) -> None:
    """What contradicts itself stops the start, named."""
    assert was in TEXT
    with pytest.raises(ProtocolInvalid, match=problem):
        AnnotationDefinition.from_toml(TEXT.replace(was, becomes, 1))


def test_its_digest_is_of_its_contents() -> None:
    """A comment changes nothing; anything else another digest."""
    assert AnnotationDefinition.from_toml("# more\n" + TEXT).digest == DEFINITION.digest
    other = TEXT.replace("smallest_mm = 10", "smallest_mm = 9")
    assert AnnotationDefinition.from_toml(other).digest != DEFINITION.digest


def test_a_name_has_at_most_forty_letters() -> None:
    """Labels of studies carry it; it begins with a small letter."""
    ballots = (("appearance",), ("grade",))
    assert Policy(name="a" * 40, ballots=ballots).name
    for wrong in ("a" * 41, "", "A", "2a", "a b"):
        with pytest.raises(ValidationError):
            Policy(name=wrong, ballots=ballots)
    with pytest.raises(ValidationError):
        Policy(name="a", ballots=())


@pytest.mark.parametrize(("readers", "agreeing"), [(2, 2), (3, 2), (3, 3), (4, 3), (5, 3), (5, 5)])
def test_more_than_half_of_two_or_more_readers_decide(readers: int, agreeing: int) -> None:
    """Exactly half do not, for then the others might decide otherwise; nor does a reader alone."""
    fields = DEFINITION.vote.model_dump() | {"readers": readers, "agreeing": agreeing}
    assert Vote.model_validate(fields).agreeing == agreeing
    for wrong in ({"agreeing": readers + 1}, {"agreeing": readers // 2}, {"readers": 1, "agreeing": 1}):
        with pytest.raises(ValidationError):
            Vote.model_validate(fields | wrong)


def test_what_is_drawn_has_a_size() -> None:
    """A smallest one of more than nought, and a key is one letter."""
    for was, becomes in (("smallest_mm = 10", "smallest_mm = 0"), ('key = "m"', 'key = "mm"')):
        assert was in TEXT
        with pytest.raises(ProtocolInvalid):
            AnnotationDefinition.from_toml(TEXT.replace(was, becomes, 1))
