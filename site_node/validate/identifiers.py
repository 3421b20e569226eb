"""What identifies the patient, people, places and devices in a study's sources, and the forms to search for.

Texts are compared in the normal form of `site_node.validate.characters`. Of a name the search knows each word, words
glued in pairs, the spelling of other keyboards and scripts, and what is derived from it: initials beside a surname, a
name that was cut, a place's acronym.

Independent of `site_node.deidentify.identifiers` on purpose; which tags hold names, and which letters are alike, is
shared data (`shared.protocol.search_terms`).
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import permutations
from typing import NamedTuple

from shared.protocol.search_terms import search_terms
from shared.protocol.words import unmarked
from site_node.study import Identity
from site_node.validate.characters import charset_of, normal, text_of
from site_node.validate.elements import Document, Element, UnseenElements
from site_node.validate.values import day_of

_BIRTH_DATE, _CONTRIBUTING, _STUDY_ID = 0x00100030, 0x0018A001, 0x00200010
_INSIDE, _INSIDE_FOREIGN, _WHOLE, _OTHERS_WHOLE = 4, 2, 2, 3  # characters; two suffice where a letter is a syllable
_PLACE_INSIDE = 6
_RAW, _LONG_UID = 6, 12
_CUT = 16  # letters that an SH or CS holds: devices cut what is longer
_SHORTEST_CUT, _LONGEST_CUT = 5, 64  # letters that are left of a name that somebody cut
_ACRONYM = 3  # words, at least, of a place that has one
_LONG_DIGITS = re.compile(r"\d{5,}")
_SHORT_NUMBER = re.compile(r"\d{1,4}")  # whose like is in every text
_MOST_WORDS = 6  # of a value that are glued in pairs
_NAME_LIKE = re.compile(r"[^\W\d][\w .,'=-]*\^[\w .,'=^-]*[\0 ]?")
_DATE = re.compile(rb"\d{4}\.?\d{2}\.?\d{2}")


class Identifiers(NamedTuple):
    """Everything in a study's sources that must not be in the output. PHI."""

    inside: frozenset[str]  # normal forms of the patient's names and numbers, looked for inside words too
    words: frozenset[str]  # shorter ones, looked for as words
    numbers: frozenset[str]  # those of both that are numbers of five digits or more
    people: frozenset[str]  # normal forms of other people's names, looked for as words
    place_names: frozenset[str]  # whole names of places and devices, looked for anywhere
    places: frozenset[str]  # their words, looked for in descriptions
    derived: frozenset[str]  # from the names of people and places; no such form is an ordinary word's
    birth_dates: frozenset[str]  # digits, in every order of a date
    raw: frozenset[bytes]  # lower-cased bytes, looked for in the raw file
    uids: frozenset[str]
    days: frozenset[str] = frozenset()  # every whole date, in every order


class Collector:
    """Collects the identifiers in all sources of a study, at every depth, and of the identity it was received under."""

    def __init__(
        self, identity: Identity, kept_tags: frozenset[int] = frozenset(), dated: Collection[int] = ()
    ) -> None:
        self._dated = dated  # tags of dates, where the file does not say so
        self._kept_tags = kept_tags  # of people and places that the profile keeps, such as a station's name
        self._forms = defaultdict[str, set[str]](set)  # by kind: name, number, person, place, place name, derived
        self._days, self._birth_dates = set[str](), set[str]()
        self._raw, self._uids = set[bytes](), set[str]()
        self._unseen = UnseenElements()
        self._add_text("number", identity.patient_id, identity.patient_id.encode())

    def add(self, document: Document) -> None:
        """Collect the identifiers of one source."""
        charset = charset_of(document)
        for element in self._unseen.of(document, charset):
            self._add(element, charset)

    def _add(self, element: Element, charset: tuple[str, ...]) -> None:
        if element.vr in {"UI", "UN", ""}:
            self._uids |= set(_uids(element.raw))
        if element.tag == _BIRTH_DATE:
            self._birth_dates |= _days(element.raw)
        if element.vr in {"DA", "DT"} or (element.vr in {"", "UN"} and element.tag in self._dated):
            self._days |= _days(element.raw)
        if element.tag == _STUDY_ID:
            self._forms["number"] |= _digits(text_of(element.raw, charset))
        kind = _kind(element) if element.tag not in self._kept_tags else ""
        if kind:
            self._add_text(kind, text_of(element.raw, charset), element.raw)
        if kind and not element.raw.isascii():  # it may be UTF-8 whatever the file says
            self._add_text(kind, element.raw.decode(errors="ignore"), element.raw)

    def _add_text(self, kind: str, text: str, raw: bytes) -> None:
        if kind == "private":
            self._forms["derived"] |= _forms(text) if _NAME_LIKE.fullmatch(text) else set()
            return
        self._forms[kind] |= _forms(text) | (_digits(text) if kind == "number" else set())
        if kind == "place":
            self._forms["place name"].add(normal(text))
        if kind != "number":
            self._forms["derived"] |= set(_acronyms(text) if kind == "place" else _derived(text))
        if kind in {"name", "number"}:
            self._raw |= _raw_forms(raw)

    def identifiers(self) -> Identifiers:
        """Everything collected so far."""
        numbers = self._forms["number"]
        own = self._forms["name"] | {form for form in numbers if not _SHORT_NUMBER.fullmatch(form)}
        inside = {form for form in own if len(form) >= (_INSIDE if form.isascii() else _INSIDE_FOREIGN)}
        inside |= {form[:_CUT] for form in inside}
        return Identifiers(
            inside=frozenset(inside),
            words=frozenset(form for form in own - inside if len(form) >= _WHOLE),
            numbers=frozenset(form for form in numbers if _LONG_DIGITS.fullmatch(form)),
            people=frozenset(form for form in self._forms["person"] - own if len(form) >= _OTHERS_WHOLE),
            place_names=frozenset(name for name in self._forms["place name"] if len(name) >= _PLACE_INSIDE),
            places=frozenset(form for form in self._forms["place"] - own if len(form) >= _OTHERS_WHOLE),
            derived=frozenset(form for form in self._forms["derived"] if len(form) >= _OTHERS_WHOLE),
            birth_dates=frozenset(self._birth_dates),
            raw=frozenset(self._raw),
            uids=frozenset(self._uids),
            days=frozenset(self._days | self._birth_dates),
        )


def _kind(element: Element) -> str:
    """Name, number, place, person; private where only the look of a value tells whether it is a name."""
    if not element.raw:  # a sequence has none
        return ""
    tags = search_terms().tags
    if element.tag in tags.names:
        return "name"
    if element.tag in tags.numbers:
        return "number"
    if element.tag in tags.places:  # of contributing equipment, it is mostly a vendor's
        return "" if _CONTRIBUTING in element.path[::2] else "place"
    if element.tag in tags.people or element.vr == "PN":
        return "person"
    return "private" if element.tag >> 16 & 1 and element.vr in {"", "UN"} and b"^" in element.raw else ""


def _words(value: str) -> list[str]:
    return [word for part in re.split(r"[\^\s,;/]+", value) if (word := normal(part))]


def _forms(text: str) -> set[str]:
    """Each word of each value, the whole value, and its words glued in pairs, in both orders."""
    forms, letters, folded = set[str](), search_terms().letters, unicodedata.normalize("NFC", text).casefold()
    latin = folded.translate(letters.to_latin)
    decomposed = unmarked(folded).translate(letters.to_latin)
    spellings = (text, folded.translate(letters.to_spelled), unmarked(latin).translate(letters.to_latin), decomposed)
    for value in re.split(r"[\\=]", "\\".join(dict.fromkeys(spellings))):
        words = _words(value)
        forms |= {*words, "".join(words)}
        forms |= {first + second for first, second in permutations(words[:_MOST_WORDS], 2)}
    return forms - {""}


def _derived(text: str) -> Iterator[str]:
    """Initials beside the surname, as in user names, and the surname cut short."""
    for value in re.split(r"[\\=]", text):
        surname, _, others = value.partition("^")
        family, initials = "".join(_words(surname)), "".join(word[0] for word in _words(others))
        for first in {initials, initials[:1]} - {""}:
            yield from (first + family, family + first)
        for word in _words(value):
            yield from (word[:size] for size in range(_SHORTEST_CUT, min(len(word), _LONGEST_CUT)))


def _acronyms(text: str) -> Iterator[str]:
    """The initials of a place's words, of all or of all but the short ones."""
    for value in text.split("\\"):
        words = _words(value)
        for chosen in (words, [word for word in words if len(word) >= _OTHERS_WHOLE]):
            if len(chosen) >= _ACRONYM:
                yield "".join(word[0] for word in chosen)


def _digits(text: str) -> set[str]:
    """Each long run of digits, separated or not by signs, as it stands and without leading zeros."""
    runs = [run for value in (text, *map(normal, text.split("\\"))) for run in _LONG_DIGITS.findall(value)]
    return {form for run in runs for form in (run, run.lstrip("0")) if _LONG_DIGITS.match(form)}


def _raw_forms(raw: bytes) -> set[bytes]:
    """Values and components as bytes, long enough not to occur by chance."""
    parts = (part.strip(b" \0").lower() for part in re.split(rb"[\\=^]", raw))
    return {part for part in parts if len(part) >= _RAW}


def _uids(raw: bytes) -> Iterator[str]:
    for value in raw.split(b"\\"):
        uid = value.strip(b" \0").decode("latin-1")
        is_uid = len(uid) >= _LONG_UID and re.fullmatch(r"[0-2](?:\.\d+){2,}", uid)
        if is_uid and not uid.startswith("1.2.840.10008."):
            yield uid


def _days(raw: bytes) -> set[str]:
    """Each day in a DA or DT value in the orders year-month-day, day-month-year and month-day-year, long and short."""
    days = (day_of(written.replace(b".", b"")) for written in _DATE.findall(raw))
    orders = ("{0:%Y%m%d}", "{0:%d%m%Y}", "{0:%m%d%Y}", "{0:%y%m%d}", "{0:%d%m%y}", "{0:%m%d%y}")
    return {order.format(day) for day in days if day is not None for order in orders}
