"""The lists that both looks at a study search by: tags, letters, months and words, as data of this release.

`deidentify` and `validate` are independent in method on purpose, and share these lists on purpose: a list that each
copied would be blind in the same places and be reviewed in one of them only. No protocol's digest covers them.
"""

from functools import cache, cached_property
from importlib import resources
from typing import Annotated

from pydantic import BeforeValidator, Field

from shared.frozen import Frozen
from shared.protocol.parts import parse_part

_FILE = "search/identifying.toml"
Tags = frozenset[Annotated[int, BeforeValidator(lambda text: int(text, 16))]]


class TagLists(Frozen):
    """Which attributes hold what."""

    names: Tags  # of the patient, as are the numbers
    numbers: Tags
    people: Tags  # besides every PN
    places: Tags
    palettes: Tags
    offsets: Tags

    @cached_property
    def identifying(self) -> frozenset[int]:
        """All tags of names, numbers, people and places."""
        return self.names | self.numbers | self.people | self.places


class Hiragana(Frozen):
    """A range of letters, and how far on the katakana of the same sounds lie."""

    first: str = Field(min_length=1, max_length=1)
    last: str = Field(min_length=1, max_length=1)
    to_katakana: int


class Letters(Frozen):
    """How letters are made alike."""

    plain: dict[str, str]
    spelled: dict[str, str]
    latin: dict[str, str]
    hiragana: Hiragana
    delimiters: frozenset[str]

    @cached_property
    def to_plain(self) -> dict[int, str]:
        """For `str.translate`, of text that is decomposed and case folded."""
        kana = range(ord(self.hiragana.first), ord(self.hiragana.last) + 1)
        return str.maketrans(self.plain | {chr(code): chr(code + self.hiragana.to_katakana) for code in kana})

    @cached_property
    def to_spelled(self) -> dict[int, str]:
        """For `str.translate`, of text that is composed and case folded."""
        return str.maketrans(self.spelled)

    @cached_property
    def to_latin(self) -> dict[int, str]:
        """For `str.translate`, of text that is case folded."""
        return str.maketrans(self.latin)


class Dates(Frozen):
    """The words of written dates, in folded case."""

    months: tuple[tuple[str, ...], ...] = Field(min_length=12, max_length=12)
    words: tuple[str, ...]
    suffixes: tuple[str, ...]
    units: str


class SearchTerms(Frozen):
    """All lists of the file."""

    edition: str
    source: str
    tags: TagLists
    letters: Letters
    dates: Dates


@cache
def search_terms() -> SearchTerms:
    """The lists of this release, read once."""
    text = (resources.files("shared.protocol") / "data" / _FILE).read_text(encoding="utf-8")
    return parse_part(text, SearchTerms, file=_FILE)
