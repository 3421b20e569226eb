"""What identifies the patient, people, places and devices in a study's sources, and the forms to search for.

Texts are compared in a normal form: compatibility-decomposed, without marks, case folded, letters and digits only. A
patient's own name or number of four characters or more is looked for inside words too, glued or re-cased; shorter ones
and names of other people are looked for as words and runs of words, because many of them are ordinary syllables. The
whole name of a place or device is looked for inside words, its single words ("General", "Lane") in descriptions only.

Independent of `site_node.deidentify.identifiers` on purpose; which tags hold names, and which letters are alike, is
shared data (`shared.protocol.search_terms`).
"""

import re
import unicodedata
import warnings
from collections.abc import Collection, Iterator
from functools import lru_cache
from itertools import permutations
from typing import NamedTuple

from pydicom.charset import convert_encodings, decode_bytes

from shared.protocol.search_terms import search_terms
from site_node.study import Identity
from site_node.validate.date_search import days_of
from site_node.validate.elements import Document, Element, UnseenElements
from site_node.validate.meant import charset_terms
from site_node.validate.values import day_of

_CHARSET, _BIRTH_DATE, _CONTRIBUTING = 0x00080005, 0x00100030, 0x0018A001
_INSIDE, _INSIDE_FOREIGN, _WHOLE, _OTHERS_WHOLE = 4, 2, 2, 3  # characters; two suffice where a letter is a syllable
_PLACE_INSIDE = 6
_RAW, _LONG_UID = 6, 12
_CUT = 16  # letters that an SH or CS holds: devices cut what is longer
_STUDY_ID = 0x00200010
_LONG_DIGITS = re.compile(r"\d{5,}")
_MOST_WORDS = 6  # of a value that are glued in pairs


class Identifiers(NamedTuple):
    """Everything in a study's sources that must not be in the output. PHI."""

    inside: frozenset[str]  # normal forms, looked for anywhere
    words: frozenset[str]  # normal forms, looked for as words
    numbers: frozenset[str]  # those of both that are never an ordinary word
    people: frozenset[str]  # normal forms of other people's names, looked for as words
    place_names: frozenset[str]  # whole names of places and devices, looked for anywhere
    places: frozenset[str]  # their words, looked for in descriptions
    birth_dates: frozenset[str]  # digits, in every order of a date
    raw: frozenset[bytes]  # lower-cased bytes, looked for in the raw file
    uids: frozenset[str]
    days: frozenset[str] = frozenset()  # every whole date, year first


def normal(text: str) -> str:
    """Letters and digits of a text, decomposed, without marks, case folded."""
    folded = unicodedata.normalize("NFKD", text).casefold().translate(search_terms().letters.to_plain)
    return "".join(letter for letter in folded if letter.isalnum())


def words_of(text: str) -> list[str]:
    """The words of a text in normal form; signs, digits beside letters and a change to upper case separate words."""
    unmarked = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return [normal(word) for word in re.findall(r"\d+|[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])|[A-Z]", unmarked)]


def charset_of(document: Document) -> tuple[str, ...]:
    """Python's names for the file's character sets; Latin-1 where they are unknown."""
    return _charset(document.first(_CHARSET))


@lru_cache(maxsize=64)
def _charset(raw: bytes) -> tuple[str, ...]:
    terms = charset_terms(raw)
    if terms is None:
        return ("latin-1",)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(convert_encodings(list(terms)))


def text_of(raw: bytes, charset: tuple[str, ...]) -> str:
    """A raw value as text; what its character set does not allow is read as Latin-1, so that nothing hides."""
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return str(decode_bytes(raw, list(charset), set(search_terms().letters.delimiters)))
    except (UnicodeError, Warning, LookupError):
        return raw.decode("latin-1")


class Collector:
    """Collects the identifiers in all sources of a study, at every depth, and of the identity it was received under."""

    def __init__(
        self, identity: Identity, kept_tags: frozenset[int] = frozenset(), dated: Collection[int] = ()
    ) -> None:
        self._dated = dated  # tags of dates, where the file does not say so
        self._kept_tags = kept_tags  # of people and places that the profile keeps, such as a station's name
        self._forms: dict[str, set[str]] = {kind: set() for kind in ("name", "number", "person", "place")}
        self._forms["number"] |= _forms(identity.patient_id) | _digits(identity.patient_id)
        self._raw = _raw_forms(identity.patient_id.encode())
        self._place_names = set[str]()
        self._days = set[str]()
        self._uids = set[str]()
        self._all_days = set[str]()
        self._unseen = UnseenElements()

    def add(self, document: Document) -> None:
        """Collect the identifiers of one source."""
        charset = charset_of(document)
        for element in self._unseen.of(document, charset):
            self._add(element, charset)

    def _add(self, element: Element, charset: tuple[str, ...]) -> None:
        if element.vr in {"UI", "UN", ""}:
            self._uids |= set(_uids(element.raw))
        if element.tag == _BIRTH_DATE:
            self._days |= _day_forms(element.raw)
        if (
            element.vr in {"DA", "DT"}
            or element.tag == _BIRTH_DATE
            or (element.vr in {"", "UN"} and element.tag in self._dated)
        ):
            self._all_days |= days_of(element.raw)
        if element.tag == _STUDY_ID:
            self._forms["number"] |= _digits(text_of(element.raw, charset))
        kind = _kind(element) if element.tag not in self._kept_tags else ""
        if kind:
            self._add_text(kind, text_of(element.raw, charset), element.raw)
        if kind and not element.raw.isascii():  # it may be UTF-8 whatever the file says
            self._add_text(kind, element.raw.decode(errors="ignore"), element.raw)

    def _add_text(self, kind: str, text: str, raw: bytes) -> None:
        self._forms[kind] |= _forms(text) | (_digits(text) if kind == "number" else set())
        if kind == "place":
            self._place_names.add(normal(text))
        if kind in {"name", "number"}:
            self._raw |= _raw_forms(raw)

    def identifiers(self) -> Identifiers:
        """Everything collected so far."""
        own = self._forms["name"] | self._forms["number"]
        inside = {form for form in own if len(form) >= (_INSIDE if form.isascii() else _INSIDE_FOREIGN)}
        inside |= {form[:_CUT] for form in inside}
        return Identifiers(
            inside=frozenset(inside),
            words=frozenset(form for form in own - inside if len(form) >= _WHOLE),
            numbers=frozenset(self._forms["number"]),
            people=frozenset(form for form in self._forms["person"] - own if len(form) >= _OTHERS_WHOLE),
            place_names=frozenset(name for name in self._place_names if len(name) >= _PLACE_INSIDE),
            places=frozenset(form for form in self._forms["place"] - own if len(form) >= _OTHERS_WHOLE),
            birth_dates=frozenset(self._days),
            raw=frozenset(self._raw),
            uids=frozenset(self._uids),
            days=frozenset(self._all_days),
        )


def _kind(element: Element) -> str:
    if element.items >= 0 or not element.raw:
        return ""
    tags = search_terms().tags
    if element.tag in tags.names:
        return "name"
    if element.tag in tags.numbers:
        return "number"
    if element.tag in tags.places:  # of contributing equipment, it is mostly a vendor's
        return "" if _CONTRIBUTING in element.path[::2] else "place"
    return "person" if element.tag in tags.people or element.vr == "PN" else ""


def _forms(text: str) -> set[str]:
    """Each word of each value, the whole value, and its words glued in pairs, in both orders."""
    forms: set[str] = set()
    spelled = unicodedata.normalize("NFC", text).casefold().translate(search_terms().letters.to_spelled)
    for value in re.split(r"[\\=]", f"{text}\\{spelled}"):
        words = [word for part in re.split(r"[\^\s,;/]+", value) if (word := normal(part))]
        forms |= {*words, "".join(words)}
        forms |= {first + second for first, second in permutations(words[:_MOST_WORDS], 2)}
    return forms - {""}


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


def _day_forms(raw: bytes) -> set[str]:
    """Eight digits in the orders year-month-day, day-month-year and month-day-year."""
    digits = re.sub(rb"\D", b"", raw)
    if len(digits) != 8 or day_of(digits) is None:
        return set()
    year, month, day = digits[:4].decode(), digits[4:6].decode(), digits[6:].decode()
    return {year + month + day, day + month + year, month + day + year}
