"""Which words, numbers and codes of a kept text may leave: lists and figures, as data of a profile.

`deidentify` lets pass only what these lists name, and `validate` looks for anything else. Both cut a text into words by
a method of their own; the lists are one, because a list that each copied would be reviewed in one place only. They are
part of the profile's digest: a site agrees to them.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, Field

from shared.frozen import Frozen
from shared.protocol.parts import parse_part

VOCABULARY, DEVICES, SURNAMES, ENGLISH = (
    "words/vocabulary.tsv",
    "words/devices.txt",
    "words/surnames.txt",
    "words/english.txt",
)
_SHORTEST_PART = 3  # letters of a word that may be glued to another


def _compiled(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"`{pattern}` is no regular expression") from error
    return pattern


Pattern = Annotated[str, AfterValidator(_compiled)]


def unmarked(word: str) -> str:
    """A word in folded case and without marks: `Thórax` and `THORAX` are both `thorax`."""
    letters = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


class _Public(Frozen):
    collections: int = Field(gt=0)
    patients: int = Field(gt=0)
    known_everywhere: int = Field(gt=0)
    common_surname: int = Field(gt=0)


class _Letters(Frozen):
    single: frozenset[str]
    titles: frozenset[str]
    signs: str


class Numbers(Frozen):
    """Which numbers may leave, and beside which words they may not."""

    digits: int = Field(gt=0)
    decimals: Pattern
    digits_measured: int = Field(gt=0)
    decimals_measured: int = Field(gt=0)
    units: frozenset[str]
    ages: frozenset[str]
    oldest: int = Field(gt=0)
    markers: frozenset[str]
    months: frozenset[str]


class _Forms(Frozen):
    names: tuple[Pattern, ...]


class _Terms(Frozen):
    attributes: frozenset[str]  # keywords of those that are no CS and have defined terms
    coded: frozenset[str]


class _Reviewed(Frozen):
    words: frozenset[str]


class WordRules(Frozen):
    """The figures and short lists of `words/rules.toml`."""

    edition: str
    source: str
    public: _Public
    letters: _Letters
    numbers: Numbers
    forms: _Forms
    schemes: dict[str, Pattern]  # coding scheme -> form of its codes
    reviewed: _Reviewed
    terms: _Terms

    @cached_property
    def form(self) -> re.Pattern[str]:
        """Matches, as a whole and in small letters, a name made of letters and digits that may leave."""
        return re.compile("|".join(f"(?:{pattern})" for pattern in self.forms.names), re.ASCII)

    @cached_property
    def decimal(self) -> re.Pattern[str]:
        """Matches, as a whole, a number with a point that may leave."""
        return re.compile(self.numbers.decimals)

    @cached_property
    def scheme_forms(self) -> Mapping[str, re.Pattern[str]]:
        """The form of the codes of each coding scheme."""
        return {scheme: re.compile(pattern, re.ASCII) for scheme, pattern in self.schemes.items()}


class Word(NamedTuple):
    """What is known of a word: where it is public, and whether people are called so."""

    collections: int
    patients: int
    surname_rank: int  # 0 where it is none of the common surnames


class Words(Frozen):
    """All lists of one profile. Every word is in folded case; those with marks stand with and without them."""

    rules: WordRules
    vocabulary: Mapping[str, Word] = Field(repr=False)
    devices: frozenset[str] = Field(repr=False)  # makers and models as a whole, in folded case
    surnames: frozenset[str] = Field(repr=False)
    prose: frozenset[str] = Field(
        repr=False
    )  # words of English that are no names; empty where a profile keeps no prose

    @cached_property
    def in_text(self) -> frozenset[str]:
        """Words that leave in any kept text: public and reviewed ones, and the Standard's that are no surname."""
        words = {word for word, known in self.vocabulary.items() if not known.surname_rank or self._is_public(known)}
        return frozenset(words) | self.rules.reviewed.words | self.prose

    @cached_property
    def in_codes(self) -> frozenset[str]:
        """Words that leave in coded attributes (CS): all of the vocabulary, and the Standard's defined terms."""
        return frozenset(self.vocabulary) | self.rules.reviewed.words | self.rules.terms.coded

    @cached_property
    def known_everywhere(self) -> frozenset[str]:
        """Words public in so many collections that they tell nothing of a person who bears them as a name."""
        least = self.rules.public.known_everywhere
        return frozenset(word for word, known in self.vocabulary.items() if known.collections >= least)

    @cached_property
    def glued(self) -> frozenset[str]:
        """Words that two or three may be written as one (`chestabdpel`): long, public, and no surname."""
        return frozenset(
            word
            for word, known in self.vocabulary.items()
            if len(word) >= _SHORTEST_PART and self._is_public(known) and not known.surname_rank
        )

    def _is_public(self, known: Word) -> bool:
        return known.collections >= self.rules.public.collections and known.patients >= self.rules.public.patients

    @classmethod
    def from_files(cls, files: Mapping[str, str], *, file: str, prose: bool) -> Self:
        """The lists whose figures stand in `files[file]`; raises `ProtocolInvalid` where one is malformed."""
        rules = parse_part(files[file], WordRules, file=file)
        surnames = _listed(files[SURNAMES])[: rules.public.common_surname]
        return cls(
            rules=rules,
            vocabulary=_vocabulary(files[VOCABULARY], surnames),
            devices=frozenset(line.casefold() for line in _lines(files[DEVICES])),
            surnames=frozenset(surnames),
            prose=frozenset(_listed(files[ENGLISH]) if prose else ()),
        )


def _vocabulary(text: str, surnames: list[str]) -> dict[str, Word]:
    """The words of the table as written and without marks; then they may be a surname (`dünn`, Dunn)."""
    ranks = {name: rank for rank, name in enumerate(surnames, start=1)}
    words: dict[str, Word] = {}
    for row in csv.DictReader(text.splitlines(), delimiter="\t"):
        word, collections, patients = row["word"], int(row["collections"]), int(row["patients"])
        words[word] = Word(collections, patients, int(row["surname_rank"] or 0))
        plain = unmarked(word)
        words.setdefault(plain, Word(collections, patients, ranks.get(plain, 0)))
    return words


def _lines(text: str) -> Iterable[str]:
    return (line for line in text.splitlines() if line and not line.startswith("#"))


def _listed(text: str) -> list[str]:
    return [word for line in _lines(text) for word in line.split()]
