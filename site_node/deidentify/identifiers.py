"""Finding a patient's own identifiers in text, however they are cased, glued, accented or split.

Identifiers of the patient (names, numbers) are found anywhere in a word; those of other people and places only as
whole words, because they are many and ordinary. Text is compared in a normal form: decomposed, without marks, folded
case, letters and digits only.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from shared.protocol.profile import Profile
from site_node.deidentify.characters import decode, encodings_of, readings
from site_node.deidentify.date_search import as_days, days_in, find_days, written_forms
from site_node.dicom.elements import Elements, ParsedFile, bytes_of

_NAMES = (0x00100010, 0x00101001, 0x00101005, 0x00101060)
_NUMBERS = (0x00080050, 0x00100020, 0x00101000, 0x00101090, 0x00102154, 0x00102155, 0x00120040, 0x00120042, 0x00380010,
            0x00380060, 0x00400009, 0x00401001, 0x00402016, 0x00402017)  # fmt: skip
_PEOPLE = (0x00080090, 0x0008009C, 0x00081048, 0x00081050, 0x00081060, 0x00081070, 0x00102297, 0x00321032)
_PLACES = (0x00080080, 0x00080081, 0x00081010, 0x00081040, 0x00100021, 0x00101040, 0x00102299, 0x00181000, 0x00200010,
           0x00380300, 0x00380400)  # fmt: skip
_ANYWHERE = 4  # letters a patient's identifier needs to be found inside a word
_ANYWHERE_FOREIGN = 2  # where a letter is a syllable or a word
_WHOLE = 2  # letters an identifier needs at all
_OTHERS_WHOLE = 3
_PLACE_ANYWHERE = 6  # letters of a whole place name
_SHORT_TEXT = 16  # letters that an SH or CS holds: devices cut what is longer
_MOST_GLUED = 6  # words of a value that are glued two and two: prose would make millions of pairs
_CONTRIBUTING = 0x0018A001  # ContributingEquipmentSequence: its institution is mostly a vendor
_CHARACTER_SET = 0x00080005
_BIRTH, _STUDY_ID = 0x00100030, 0x00200010
_DATED = frozenset({"DA", "DT"})
# Letters that do not decompose, and the two ways to write Japanese by sound: both sides are compared in one form.
_LETTERS = str.maketrans(
    {
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ħ": "h",
        "ŧ": "t",
        "æ": "ae",
        "œ": "oe",
        "þ": "th",
        "ð": "d",
    }
    | {chr(code): chr(code + 0x60) for code in range(0x3041, 0x3097)}
)
_SPELLED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})  # on keyboards without these letters
_DIGIT_RUN = re.compile(r"\d{5,}")  # too many digits to occur by chance
TAGS = frozenset(_NAMES + _NUMBERS + _PEOPLE + _PLACES)
Encodings = tuple[str, ...]


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
            yield from inner if tag != _CONTRIBUTING else (value for value in inner if value.tag not in _PLACES)


class Identifiers(NamedTuple):
    """Normal forms of what must not be in any text of a file."""

    inside: frozenset[str]  # found anywhere
    whole: frozenset[str]  # found as whole words
    numbers: frozenset[str]  # those of `inside` and `whole` that count even as known terms
    places: frozenset[str]  # words of places; found as whole words, and in descriptions only
    dates: frozenset[str] = frozenset()  # digits of dates, too short to be looked for in times of day
    days: frozenset[date] = frozenset()  # every day that the files name


def normal(text: str) -> str:
    """Letters and digits of `text`, decomposed, unmarked, case folded."""
    return _normal_with_places(text)[0]


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
        self._seen: set[tuple[Encodings, bytes]] = set()
        self._identifiers: Identifiers | None = None

    def collect(self, parsed: ParsedFile) -> bool:
        """Add the names in one file; whether any is new. Raises `DicomUnsupported` where a sequence is broken."""
        encodings, before = encodings_of(bytes_of(parsed.facts, _CHARACTER_SET)), len(self._values)
        for run in parsed.runs:
            key = (encodings, run.raw)
            if run.naming and key not in self._seen:
                self._values.update(identifying_values(run.elements, encodings, self._naming, self._dated))
                if run.raw:
                    self._seen.add(key)
        grown = len(self._values) > before
        if grown:
            self._identifiers = None
        return grown

    @property
    def identifiers(self) -> Identifiers:
        """The forms of all values collected so far."""
        if self._identifiers is None:
            self._identifiers = find_identifiers(self._values, self._extra)
        return self._identifiers


def find_identifiers(values: Iterable[IdentifyingValue], extra: Iterable[str]) -> Identifiers:
    """The forms of all that a study's files name, and of `extra` (the study's own PatientID and issuer)."""
    values, extra = tuple(values), tuple(extra)
    days = {value.raw for value in values if value.tag == _BIRTH}
    texts: dict[str, set[str]] = {"name": set(), "number": set(), "person": set(), "place": set(), "run": set()}
    for value in (value for value in values if value.tag != _BIRTH):
        if value.tag == _STUDY_ID:
            texts["run"].add(decode(value.raw, value.encodings))
        texts[_kind(value.tag)].update(readings(value.raw, value.encodings))

    def forms(kind: str) -> set[str]:
        return set().union(*map(_forms, texts[kind]))

    numbers = set().union(*map(_number_forms, texts["number"])) | {normal(text) for text in extra}
    numbers |= set().union(*map(_digit_runs, (*texts["number"], *texts["run"], *extra)))
    long, short = written_forms(days)
    numbers |= long
    own = forms("name") | numbers
    inside = {form for form in own if len(form) >= (_ANYWHERE if form.isascii() else _ANYWHERE_FOREIGN)}
    whole = {form for form in own if len(form) >= _WHOLE} | {
        form for form in forms("person") if len(form) >= _OTHERS_WHOLE
    }
    inside |= {form[:_SHORT_TEXT] for form in inside}
    inside |= {name for name in map(normal, texts["place"]) if len(name) >= _PLACE_ANYWHERE}
    places = {form for form in forms("place") if len(form) >= _OTHERS_WHOLE}
    whole |= short
    return Identifiers(
        frozenset(inside), frozenset(whole - inside), frozenset(numbers), frozenset(places), short, as_days(days)
    )


def _kind(tag: int) -> str:
    """Whose name or number a tag holds; every PN that is not the patient's is a person's."""
    if tag in _NAMES:
        return "name"
    if tag in _NUMBERS:
        return "number"
    return "place" if tag in _PLACES else "person"


def cut(text: str, identifiers: Identifiers, known: frozenset[str], *, description: bool) -> str:
    """`text` without the words that hold an identifier.

    Args:
        text: one value.
        identifiers: what to look for.
        known: terms (normal forms) that identify only as a number or, in a description, as the patient's name.
        description: whether it is free text, in which places count too.
    """
    dropped: set[int] = set()
    folded, places = _normal_with_places(text)
    for form in _forms_to_find(identifiers, known, description):
        at = folded.find(form)
        while at >= 0:
            first, last = places[at], places[at + len(form) - 1]
            if form in identifiers.inside or (_edge(text, first - 1, first) and _edge(text, last, last + 1)):
                dropped.update(range(first, last + 1))
            at = folded.find(form, at + 1)
    for start, end in find_days(text, identifiers.days):
        dropped.update(range(start, end))
    if not dropped:
        return text
    words = (word for word in re.finditer(r"\S+", text) if dropped.isdisjoint(range(*word.span())))
    return " ".join(word.group() for word in words)


@lru_cache(maxsize=4)
def _forms_to_find(identifiers: Identifiers, known: frozenset[str], description: bool) -> frozenset[str]:
    """The forms to look for, cached until the files name something new. PHI."""
    own = identifiers.inside | identifiers.whole
    if description:
        return (own | identifiers.places) - (known - identifiers.numbers - own)
    return own - (known - identifiers.numbers)


def known_forms(profile: Profile) -> frozenset[str]:
    """The profile's known terms in normal form."""
    return _normal_forms(profile.known_terms)


@lru_cache(maxsize=8)
def _normal_forms(terms: frozenset[str]) -> frozenset[str]:
    return frozenset(map(normal, terms))


def _forms(text: str) -> set[str]:
    """Each word of a value, its parts, each value whole, and neighbouring words glued both ways round."""
    forms: set[str] = set()
    composed = unicodedata.normalize("NFC", text).casefold()
    spelled = composed.translate(_SPELLED)
    for value in re.split(r"[\\=]", text if spelled == composed else f"{text}\\{spelled}"):
        words = [word for word in map(normal, re.split(r"[\^\s,;/]+", value)) if word]
        forms.update(words, map(normal, re.split(r"[\^\s,;/-]+", value)), map(normal, re.split(r"[\W_]+", value)))
        forms.add("".join(words))
        near = words[:_MOST_GLUED]
        forms.update(first + second for first in near for second in near if first != second)
    forms.discard("")
    return forms


def _number_forms(text: str) -> set[str]:
    """A number as a whole, and its parts where they are long enough to identify."""
    forms: set[str] = set()
    for value in text.split("\\"):
        forms |= {normal(value)} | {part for part in map(normal, value.split()) if len(part) > _ANYWHERE}
    forms.discard("")
    return forms


def _digit_runs(text: str) -> set[str]:
    """The digits of a number without its prefix, with and without leading zeros."""
    runs = {run for form in (text, *map(normal, text.split("\\"))) for run in _DIGIT_RUN.findall(form)}
    return runs | {short for run in runs if _DIGIT_RUN.fullmatch(short := run.lstrip("0"))}


def _normal_with_places(text: str) -> tuple[str, list[int]]:
    letters: list[str] = []
    places: list[int] = []
    for place, letter in enumerate(text):
        for part in unicodedata.normalize("NFKD", letter).casefold().translate(_LETTERS):
            if part.isalnum():
                letters.append(part)
                places.append(place)
    return "".join(letters), places


def _edge(text: str, left: int, right: int) -> bool:
    """Whether a word ends between two places: no letter on a side, a change to upper case, or to or from digits."""
    if left < 0 or right >= len(text):
        return True
    a, b = text[left], text[right]
    return not a.isalnum() or not b.isalnum() or a.isdigit() != b.isdigit() or (a.islower() and b.isupper())
