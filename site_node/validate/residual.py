"""The search for the source's identifiers in the output: in every text, and in every byte outside the pixels."""

import re
from collections.abc import Iterator, Mapping
from itertools import accumulate, takewhile
from typing import NamedTuple

from shared.protocol.profile import Action, Rule
from site_node.validate.conformance import Rules, in_marks, is_ours, name_of
from site_node.validate.date_search import pattern_of
from site_node.validate.elements import Document, Element, UnseenElements
from site_node.validate.finding import Finding
from site_node.validate.identifiers import Identifiers, charset_of, normal, text_of, words_of
from site_node.validate.meant import charset_terms
from site_node.validate.numbers import numbers_of, shows
from site_node.validate.private import safe_elements
from site_node.validate.values import TEXT

_LONGEST_RUN = 4  # words that may make one identifier
_TIME = 6  # digits of a time of day
_CHARSET = 0x00080005
_LONGEST_NUMBER = 40  # digits
_MOST_SPLIT = 16  # values that one number may be split over
_NUMERIC = 5  # characters; shorter numbers in a numeric value are not taken for identifiers
_WRITTEN = frozenset({0x00080050, 0x00100010, 0x00100020, 0x00120062, 0x00120063, 0x00280303})
_PRINTABLE = re.compile(rb"[ -~]{6,}")  # in compressed frames, whose other bytes only a decoder reads
_UID_LIKE = re.compile(r"\d+(?:\.\d+){2,}")
_UNDECLARED = ("utf-8", "latin-1", *(f"cp{page}" for page in range(1250, 1259)))  # what systems write in other files
_CHECKED_ELSEWHERE = frozenset({"DA", "DT", "UI"})  # each is compared with the value it must have


class Search(NamedTuple):
    """What is searched for, and the ordinary words that excuse a name in coded text."""

    identifiers: Identifiers
    known: frozenset[str]
    cache: dict[tuple[str, bool], str]  # results; the files of a study repeat their texts
    pattern: re.Pattern[bytes] | None  # finds any of the bytes looked for
    days: re.Pattern[str] | None  # finds any day of the sources, however written
    own: frozenset[int]  # numbers and days of the patient, to compare numbers with


def make_search(identifiers: Identifiers, rules: Rules) -> Search:
    """Prepare a search for all files of a study."""
    known = frozenset(normal(term) for term in rules.profile.known_terms)
    written = frozenset(term.encode() for term in (*known, rules.site_id))  # what the program writes itself
    # A number must not be part of a longer one.
    forms = [
        rb"(?<![\d.])%b(?![\d.])" % value if value.isdigit() else re.escape(value)
        for value in sorted(identifiers.raw - written)
    ]
    pattern = re.compile(b"|".join(forms)) if forms else None
    return Search(identifiers, known, {}, pattern, pattern_of(identifiers.days), _own_numbers(identifiers))


def _own_numbers(identifiers: Identifiers) -> frozenset[int]:
    """Numbers of five digits or more, and each day in its orders with four or two digits of the year."""
    days = ((day[:4], day[4:6], day[6:]) for day in identifiers.days)
    dates = {
        form
        for year, month, rest in days
        for written in (year, year[2:])
        for form in (written + month + rest, rest + month + written, month + rest + written)
    }
    digits = (form.lstrip("0") for form in identifiers.numbers | dates if form.isascii() and form.isdecimal())
    return frozenset(int(form) for form in digits if _NUMERIC <= len(form) <= _LONGEST_NUMBER)


class OutputContent:
    """Everything in a study's new files but the pixels, without repeats, to search once all sources are read. PHI."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._unseen = UnseenElements()
        self._elements: dict[tuple[Element, tuple[str, ...], bool], Rule | None] = {}
        self._parts: dict[bytes, None] = {}

    def add(self, document: Document) -> None:
        """Add the content of one new file."""
        charset, table = charset_of(document), self._rules.profile.by_tag
        private = safe_elements(document, self._rules.profile)
        for element in self._unseen.of(document, (charset, frozenset(private))):
            safe = private.get((element.path, element.tag)) if private else None
            key = (element, charset, safe is not None)
            if key not in self._elements:
                self._elements[key] = table.get(element.tag) or safe
        self._parts.update(dict.fromkeys(document.rest))
        for fragment in document.fragments or () if document.encapsulated else ():
            self._parts.update(dict.fromkeys(_PRINTABLE.findall(fragment)))

    def search(self, search: Search) -> Iterator[Finding]:
        """Findings in everything added."""
        for (element, charset, _), rule in self._elements.items():
            if element.items >= 0 or not element.raw or _is_written(element, self._rules):
                continue
            code = _search_element(element, search, charset, rule)
            if code:
                yield Finding(code=code, attribute=name_of(element.tag, self._rules.profile))
        for part in self._parts:
            yield from _search_bytes(part, search)


def search_clinical(row: Mapping[str, object], search: Search) -> Iterator[Finding]:
    """Findings in the clinical row: identifiers, and text that is neither code nor date."""
    for name, value in row.items():
        if not isinstance(value, str):
            continue
        if not re.fullmatch(r"[A-Za-z0-9.+-]{1,40}", value):
            yield Finding(code="clinical-text", attribute=name)
        if _in_text(value, search, description=False):
            yield Finding(code="clinical-identifier", attribute=name)


def _is_written(element: Element, rules: Rules) -> bool:
    """Whether this program wrote the value itself; the checks of marks and mapping compare it."""
    return (element.tag in _WRITTEN and not element.path) or in_marks(element) or is_ours(element, rules)


def _search_element(element: Element, search: Search, charset: tuple[str, ...], rule: Rule | None) -> str:
    vr = element.vr or (min(rule.vrs) if rule else "")
    if vr in _CHECKED_ELSEWHERE or (element.tag == _CHARSET and charset_terms(element.raw) is not None):
        return ""
    if vr in {"IS", "DS", "TM", "AS"}:
        return _in_number(element.raw, search, is_time=vr == "TM") or _in_measures(element.raw, search, vr)
    if vr in TEXT or vr in {"", "UN"}:
        coded = rule is not None and rule.action is Action.KEEP
        text = text_of(element.raw, charset)
        in_days = _in_days(text, search) if vr in TEXT else ""
        return _in_text(text, search, description=not coded) or in_days or _in_undeclared(element.raw, search, coded)
    if code := _in_measures(element.raw, search, vr):
        return code
    low = element.raw.lower()
    return "residual-bytes" if any(value in low for value in search.identifiers.raw) else ""


def _in_undeclared(raw: bytes, search: Search, coded: bool) -> str:
    """The code of a patient's name or number in a text that was written in another character set than declared."""
    excused = search.known - search.identifiers.numbers if coded else frozenset()
    texts = [] if raw.isascii() else [normal(raw.decode(encoding, errors="ignore")) for encoding in _UNDECLARED]
    own = search.identifiers.inside - excused if texts else ()
    return "residual-identifier" if any(form in text for text in texts for form in own) else ""


def _in_number(raw: bytes, search: Search, *, is_time: bool) -> str:
    """The code of what one of the numbers is; a time of six digits may be a date by chance."""
    values = raw.decode("latin-1").strip(" \0").split("\\")
    for at in range(len(values)):  # a number split over values
        joined = accumulate(takewhile(str.isdecimal, map(str.strip, values[at : at + _MOST_SPLIT])))
        if any(len(run) >= _NUMERIC and run in search.identifiers.numbers for run in joined):
            return "residual-identifier"
    for value in values:
        whole = re.sub(r"\.0*$", "", value.strip(" \0+-"))
        forms = {whole, whole.lstrip("0"), "" if "." in value else normal(value)}
        if any(len(form) >= _NUMERIC for form in forms & search.identifiers.numbers):
            return "residual-identifier"
        if whole.isdecimal() and not (is_time and len(whole) <= _TIME) and _in_days(whole, search):
            return "residual-date"
    return ""


def _in_measures(raw: bytes, search: Search, vr: str) -> str:
    """The code of a number of the patient, or a day, in decimal or binary numbers of any form."""
    return "residual-identifier" if any(shows(number, search.own, vr) for number in numbers_of(raw, vr)) else ""


def _in_days(text: str, search: Search) -> str:
    return "residual-date" if search.days is not None and search.days.search(text) else ""


def _in_text(text: str, search: Search, *, description: bool) -> str:
    known = search.cache.get((text, description))
    if known is None:
        known = search.cache[text, description] = _find_in_text(text, search, description=description)
    return known


def _find_in_text(text: str, search: Search, *, description: bool) -> str:
    """The code of what is found in a text.

    In coded values ordinary words are not names; in descriptions they excuse the words of places only.
    """
    identifiers, folded = search.identifiers, normal(text)
    if not folded:
        return ""
    excused = frozenset() if description else search.known - identifiers.numbers
    words = words_of(text)
    runs = {"".join(words[at : at + size]) for size in range(1, _LONGEST_RUN + 1) for at in range(len(words))}
    if any(form in folded for form in identifiers.inside - excused) or runs & (identifiers.words - excused):
        return "residual-identifier"
    if runs & (identifiers.people - excused) or any(name in folded for name in identifiers.place_names - excused):
        return "residual-other"
    if description and runs & (identifiers.places - search.known):
        return "residual-other"
    if any(day in folded for day in identifiers.birth_dates):
        return "residual-birth-date"
    return "residual-uid" if _holds_uid(text, identifiers) else ""


def _search_bytes(part: bytes, search: Search) -> Iterator[Finding]:
    """Bytes outside the pixel data, whatever the elements say."""
    low = part.lower()
    if search.pattern is not None and search.pattern.search(low):
        yield Finding(code="residual-bytes")
    if _holds_uid(low.decode("latin-1"), search.identifiers):
        yield Finding(code="residual-uid")


def _holds_uid(text: str, identifiers: Identifiers) -> bool:
    """Whether a text holds one of the source's UIDs, and not as part of a longer one."""
    return not identifiers.uids.isdisjoint(_UID_LIKE.findall(text))
