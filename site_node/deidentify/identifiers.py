"""What the files of a study name: people, places, numbers and dates.

Texts are compared in a normal form: decomposed, without marks, folded case, letters and digits only. A word that
nobody knows of does not leave anyway (`site_node.deidentify.text`); these are for words and numbers that might.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import permutations
from typing import NamedTuple

from shared.protocol.search_terms import search_terms
from site_node.deidentify.characters import encodings_of, readings
from site_node.deidentify.date_search import days_in, written_forms
from site_node.dicom.elements import Elements, ParsedFile, bytes_of

_TELLING = 5  # letters or digits that do not occur by chance
_MOST_GLUED = 6  # words of a value that are glued in pairs
_SHORTENED, _LONGEST = 4, 64  # letters of a name that is cut short
_CONTRIBUTING = 0x0018A001  # ContributingEquipmentSequence: its institution is mostly a vendor
_CHARACTER_SET = 0x00080005
_BIRTH, _STUDY_ID = 0x00100030, 0x00200010
_DATED = frozenset({"DA", "DT"})
_DIGITS = re.compile(rf"\d{{{_TELLING},}}")
Encodings = tuple[str, ...]
_RunKey = tuple[Encodings, bool, bytes]  # which elements bytes are depends on the VR encoding


class IdentifyingValue(NamedTuple):
    """A value that names or numbers someone: its tag, its encodings, its bytes."""

    tag: int
    encodings: Encodings
    raw: bytes


def identifying_values(
    dataset: Elements, encodings: Encodings, naming: frozenset[int], dated: frozenset[int] = frozenset()
) -> Iterator[IdentifyingValue]:
    """The names, numbers and dates of a data set at every depth, including those that no profile keeps.

    Args:
        dataset: elements of one data set; each of its sequences is read to its end.
        encodings: its character set, unless it names one.
        naming: the tags to look for beside every PN.
        dated: the tags that hold dates where the file does not say so.

    Raises:
        DicomUnsupported: a sequence is broken.
    """
    places = search_terms().tags.places
    for tag, element in dataset.items():
        if isinstance(element.value, bytes):
            if element.vr in _DATED or (tag in dated and element.vr in {"", "UN"}):
                yield from (IdentifyingValue(_BIRTH, (), day) for day in days_in(element.value))
            elif element.value and (tag in naming or element.vr == "PN"):
                yield IdentifyingValue(tag, encodings, element.value)
            continue
        for item in element.value():
            own = bytes_of(item, _CHARACTER_SET)
            inner = identifying_values(item, encodings_of(own) if own else encodings, naming, dated)
            yield from inner if tag != _CONTRIBUTING else (value for value in inner if value.tag not in places)


class Identifiers(NamedTuple):
    """Normal forms of what a study's files name. PHI."""

    names: frozenset[str]  # words of people's and places' names, and how they are cut short
    numbers: frozenset[str]  # long enough not to occur by chance; with letters where they have some
    dates: frozenset[str] = frozenset()  # digits of dates, too short to be looked for in times of day
    day_months: frozenset[str] = frozenset()  # days of the year as decimals: `14.5`, `5.14`

    def telling(self) -> frozenset[str]:
        """The forms that do not occur by chance among other bytes."""
        return frozenset(name for name in self.names if len(name) >= _TELLING) | self.numbers


def normal(text: str) -> str:
    """Letters and digits of `text`, decomposed, unmarked, case folded."""
    folded = unicodedata.normalize("NFKD", text).casefold().translate(search_terms().letters.to_plain)
    return "".join(letter for letter in folded if letter.isalnum())


class StudyIdentifiers:
    """What the files of one study name, gathered as they are read. PHI.

    Args:
        naming: the tags to look for beside every PN.
        extra: the study's own PatientID and issuer.
        dated: the tags that hold dates where a file does not say so.
    """

    def __init__(self, naming: frozenset[int], extra: Iterable[str], dated: frozenset[int] = frozenset()) -> None:
        self._naming = naming
        self._dated = dated
        self._extra = tuple(extra)
        self._values: set[IdentifyingValue] = set()
        self._seen: set[_RunKey] = set()

    def collect(self, parsed: ParsedFile) -> None:
        """Add the names in one file. Raises `DicomUnsupported` where a sequence is broken."""
        for key, values in self._unseen(parsed):
            self._values.update(values)
            if key[-1]:
                self._seen.add(key)

    def cover(self, parsed: ParsedFile) -> bool:
        """Whether a file names nothing new; raises `DicomUnsupported` as `collect` does."""
        return all(self._values.issuperset(values) for _, values in self._unseen(parsed))

    def identifiers(self) -> Identifiers:
        """The forms of all values collected so far."""
        return find_identifiers(self._values, self._extra)

    def _unseen(self, parsed: ParsedFile) -> Iterator[tuple[_RunKey, Iterator[IdentifyingValue]]]:
        """What the runs name that no file before had, with what they are known by."""
        encodings = encodings_of(bytes_of(parsed.facts, _CHARACTER_SET))
        for run in parsed.runs:
            key = (encodings, parsed.explicit, run.raw)
            if run.naming and key not in self._seen:
                yield key, identifying_values(run.elements, encodings, self._naming, self._dated)


def find_identifiers(values: Iterable[IdentifyingValue], extra: Iterable[str]) -> Identifiers:
    """The forms of all that a study's files name, and of `extra` (the study's own PatientID and issuer)."""
    days, texts, numbers = set[bytes](), set[str](), set(extra)
    tags = search_terms().tags
    for value in values:
        if value.tag == _BIRTH:
            days.add(value.raw)
        else:
            if value.tag != _STUDY_ID:  # a number, beside which the organ may stand
                texts.update(readings(value.raw, value.encodings))
            if value.tag in tags.numbers | tags.places:
                numbers.update(readings(value.raw, value.encodings))
    long, short = written_forms(days)
    return Identifiers(
        frozenset().union(*map(_names, texts)),
        frozenset().union(long, *map(_numbers, numbers)),
        short,
        frozenset(form for day in days for form in _day_months(day)),
    )


def _names(text: str) -> Iterator[str]:
    """The words of a name without digits, as written and as spelled without marks; each also cut short."""
    composed = unicodedata.normalize("NFC", text).casefold()
    for spelling in {text, composed.translate(search_terms().letters.to_spelled)}:
        parts = [normal(part) for part in re.split(r"[\W_]+", spelling)]
        glued = map("".join, permutations(parts[:_MOST_GLUED], 2))  # `Lu^Ng`
        for word in (*parts, *glued, *map(normal, re.split(r"[\^\s\\=,;/]+", spelling))):
            if len(word) > 1 and not any(letter.isdigit() for letter in word):
                yield word
                yield from (word[:length] for length in range(_SHORTENED, min(len(word), _LONGEST)))


def _numbers(text: str) -> Iterator[str]:
    """A number as a whole, its parts and its digits with and without leading zeros, where they are long enough."""
    for value in text.split("\\"):
        whole = normal(value)
        runs = _DIGITS.findall(whole)
        for form in (whole, *map(normal, value.split()), *runs, *(run.lstrip("0") for run in runs)):
            if len(form) >= _TELLING and any(letter.isdigit() for letter in form):
                yield form


def _day_months(day: bytes) -> tuple[str, str]:
    month, number = int(day[4:6]), int(day[6:])
    return f"{number}.{month}", f"{month}.{number}"
