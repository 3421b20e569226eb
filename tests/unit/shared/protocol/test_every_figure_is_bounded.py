"""A figure, list or text of the protocol's data is within its bounds, or the protocol refuses to load."""

from itertools import islice, product
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.frozen import Frozen
from shared.protocol.accepted import NONE_ACCEPTED, AcceptedList, is_word
from shared.protocol.clinical import ClinicalDictionary
from shared.protocol.cohort import Table, Variable
from shared.protocol.criteria import (
    AgeRule,
    GeometryRule,
    ModalityRule,
    OrientationRule,
    ThicknessRule,
)
from shared.protocol.private import SafePrivate
from shared.protocol.profile import METHOD_CODES, Claims, Profile
from shared.protocol.rules import Rule
from shared.protocol.search_terms import Dates, Hiragana
from shared.protocol.value_terms import Numbers as Magnitudes
from shared.protocol.words import Numbers, WordRules


def words_of(count: int) -> list[str]:
    """So many words of three letters."""
    return ["".join(letters) for letters in islice(product("abcdefghijk", repeat=3), count)]


PUBLIC: Any = WordRules.model_fields["public"].annotation
LEAST_OF_ONE = ("collections", "patients", "known_everywhere", "common_surname")
ABOVE_NOTHING = ("digits", "digits_measured", "decimals_measured", "oldest")
CASES: list[tuple[Any, str, tuple[Any, ...], tuple[Any, ...]]] = [
    *((PUBLIC, name, (1,), (0,)) for name in LEAST_OF_ONE),
    *((Numbers, name, (1,), (0,)) for name in ABOVE_NOTHING),
    (Magnitudes, "nothing", (1e-9,), (0.0,)),
    (Magnitudes, "beyond", (1,), (0,)),
    (ModalityRule, "allowed", (("CT",),), ((),)),
    (ModalityRule, "sop_classes", (("1.2",),), ((),)),
    (OrientationRule, "tolerance_degrees", (0.5, 89.9), (0, 90)),
    (GeometryRule, "minimum_positions", (2,), (1,)),
    (GeometryRule, "spacing_tolerance", (0.5, 0.01, 0.99), (0, 1)),
    (ThicknessRule, "minimum_mm", (0.5,), (0,)),
    (ThicknessRule, "maximum_mm", (0.5,), (0,)),
    (ThicknessRule, "spacing_ratio", (1,), (0.99,)),
    (AgeRule, "minimum_years", (0, 120), (-1, 121)),
    (SafePrivate, "group", (0x0009, 0xFFFD), (0x0007, 0xFFFF)),
    (SafePrivate, "creator", ("x", "x" * 64), ("", "x" * 65)),
    (SafePrivate, "element", (0, 0xFF), (-1, 0x100)),
    (Rule, "tag", (0x00080000, 0xFFFFFFFF), (0x0007FFFF, 0x100000000)),
    (Profile, "method", ("x" * 64,), ("x" * 65,)),
    (Profile, "private_creator", ("x" * 64,), ("x" * 65,)),
    (Profile, "project", ("x" * 16,), ("x" * 17,)),
    (Claims, "always", (("113100",),), ((),)),
    (Dates, "months", ((("x",),) * 12,), ((("x",),) * 11, (("x",),) * 13)),
    (Hiragana, "first", ("x",), ("", "xx")),
    (Hiragana, "last", ("x",), ("", "xx")),
    (Table, "rows", ("x" * 100,), ("x" * 101,)),
    (Table, "columns", ("x" * 100,), ("x" * 101,)),
    (Variable, "categories", (({"label": "x", "values": ("x",)},),), ((),)),
    (ClinicalDictionary, "fields", (({"name": "x", "title": "X", "meaning": "x", "kind": "text"},),), ((),)),
    (AcceptedList, "version", (0,), (-1,)),
    (AcceptedList, "words", (frozenset(words_of(1000)),), (frozenset(words_of(1001)),)),
]


@pytest.mark.parametrize(("model", "name", "within", "outside"), CASES, ids=lambda each: getattr(each, "__name__", ""))
def test_a_value_is_within_its_bounds(
    model: type[Frozen], name: str, within: tuple[Any, ...], outside: tuple[Any, ...]
) -> None:
    """The least and the most are accepted, and nothing beyond."""
    field = model.model_fields[name]
    annotated: Any = Annotated[field.annotation, field]
    values = TypeAdapter[Any](annotated)
    for value in within:
        values.validate_python(value)
    for value in outside:
        with pytest.raises(ValidationError):
            values.validate_python(value)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("abc", True),
        ("x" * 40, True),
        ("ab", False),
        ("x" * 41, False),
        ("Abc", False),
        ("thórax", False),
        ("ab1", False),
        ("ab c", False),
        ("", False),
    ],
)
def test_an_accepted_word_is_of_letters_in_folded_case(text: str, accepted: bool) -> None:
    """Three to forty of them, without marks; a list with any other is refused."""
    assert is_word(text) == accepted
    if accepted:
        assert AcceptedList(words=frozenset({text})).digest != NONE_ACCEPTED.digest
        return
    with pytest.raises(ValidationError):
        AcceptedList(words=frozenset({text}))


def test_a_site_begins_with_no_accepted_word() -> None:
    """Under number 0; two lists of the same words are one, whatever their numbers."""
    assert (NONE_ACCEPTED.version, NONE_ACCEPTED.words) == (0, frozenset())
    words = frozenset(words_of(5))
    assert AcceptedList(version=1, words=words).digest == AcceptedList(version=2, words=words).digest


def test_the_methods_of_deidentification_are_thirteen() -> None:
    """PS3.16 CID 7050: 113100 to 113112."""
    assert {min(METHOD_CODES), max(METHOD_CODES), str(len(METHOD_CODES))} == {"113100", "113112", "13"}
