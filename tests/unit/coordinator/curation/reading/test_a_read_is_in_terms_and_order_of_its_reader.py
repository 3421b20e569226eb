"""A read says what the definition has terms for, with the grade of its zones; each reader has an order of their own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.curation.reading.reads import FilmRead, reading_order
from shared.errors.inputs import ReadingRefused
from shared.protocol.loader import load_annotation

DEFINITION = load_annotation()
ZONES = [term.name for term in DEFINITION.group("zones").terms]
names = st.sets(st.text(min_size=1, max_size=8), max_size=12)


@given(st.permutations(ZONES), st.integers(1, 6), st.booleans())
def test_zones_give_the_grade(zones: list[str], count: int, says: bool) -> None:
    """Whatever the order of ticking, the read is the same, and its grade that of the number of zones."""
    expected = DEFINITION.grade_of(count)
    read = FilmRead(appearance="typical", zones=tuple(zones[:count]), grade=expected if says else None)
    checked = read.checked(DEFINITION)
    assert checked.grade == checked.classification.grade == expected
    assert checked.zones == tuple(zone for zone in ZONES if zone in zones[:count])
    assert checked.checked(DEFINITION) == checked


def test_a_grade_may_stand_alone() -> None:
    """A reader who gives no zones gives the grade; a negative film has neither."""
    assert FilmRead(appearance="atypical", grade="severe").checked(DEFINITION).grade == "severe"
    assert FilmRead(appearance="negative", devices=("pacemaker",)).checked(DEFINITION).grade is None


@pytest.mark.parametrize(
    ("read", "problem"),
    [
        ({"appearance": "odd"}, "its appearance is none of"),
        ({"appearance": "typical"}, "its grade is none of"),
        (
            {"appearance": "typical", "grade": "severe", "zones": ("right-mid",)},
            "its zones are mild, and it says severe",
        ),
        ({"appearance": "negative", "zones": ("right-mid",)}, "an appearance that is negative has no grade"),
        ({"appearance": "negative", "grade": "mild"}, "an appearance that is negative has no grade"),
        (
            {"appearance": "typical", "zones": ("right-mid", "right-mid")},
            "the terms of its zones are not different ones of",
        ),
        ({"appearance": "negative", "quality": ("blurred",)}, "the terms of its quality are not different ones of"),
        ({"appearance": "negative", "devices": ("stent",)}, "the terms of its devices are not different ones of"),
        ({"appearance": "negative", "note": "a\x1b[0m"}, "characters that cannot be printed"),
    ],
)
def test_anything_else_is_refused(read: dict[str, str], problem: str) -> None:
    """A read in other terms, or that contradicts itself, is refused in a sentence."""
    with pytest.raises(ReadingRefused, match=problem):
        FilmRead.model_validate(read).checked(DEFINITION)


@given(names, names, st.text(max_size=8))
def test_an_order_is_of_its_reader(studies: set[str], more: set[str], seed: str) -> None:
    """It has every study once, in whatever order they came; others that come or go move none of these."""
    order = reading_order(sorted(studies), seed)
    assert sorted(order) == sorted(studies)
    assert order == reading_order(sorted(studies, reverse=True), seed)
    assert order == tuple(each for each in reading_order(studies | more, seed) if each in studies)


def test_readers_have_different_orders() -> None:
    """Of 100 studies two readers have the order of neither each other nor the arrival."""
    studies = [str(number) for number in range(100)]
    orders = {reading_order(studies, "a"), reading_order(studies, "b"), tuple(studies), tuple(sorted(studies))}
    assert len(orders) == 4
