"""What is plainly meant by values that are nearly right, and how large a number may be: data of this release.

`deidentify` mends by these lists and `validate` checks by them, each with a method of its own.
"""

from functools import cache
from importlib import resources

from pydantic import Field

from shared.frozen import Frozen
from shared.protocol.parts import parse_part

_FILE = "search/values.toml"


class CharacterSets(Frozen):
    """Defined terms of SpecificCharacterSet, and other spellings of them."""

    terms: frozenset[str]
    spellings: dict[str, str]  # -> a term


class BodyParts(Frozen):
    """Defined terms of BodyPartExamined."""

    terms: frozenset[str]


class Numbers(Frozen):
    """What a number may be in any attribute but the unbounded ones, whatever its sign: zero, or between these two."""

    nothing: float = Field(gt=0)
    beyond: int = Field(gt=0)
    unbounded: frozenset[str]  # keywords


class ValueTerms(Frozen):
    """All lists of the file."""

    edition: str
    source: str
    character_sets: CharacterSets
    body_parts: BodyParts
    numbers: Numbers


@cache
def value_terms() -> ValueTerms:
    """The lists of this release, read once."""
    text = (resources.files("shared.protocol") / "data" / _FILE).read_text(encoding="utf-8")
    return parse_part(text, ValueTerms, file=_FILE)
