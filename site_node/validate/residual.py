"""The search for the source's identifiers in the output: in texts, in numbers, in every byte outside the pixels."""

import re
from collections.abc import Iterator, Mapping
from itertools import accumulate, takewhile

from shared.protocol.profile import Action, Rule
from site_node.validate.characters import CHARSET, charset_of, normal, text_of
from site_node.validate.conformance import Rules, in_marks, is_ours, name_of
from site_node.validate.elements import Document, Element, UnseenElements
from site_node.validate.finding import Finding
from site_node.validate.meant import charset_terms
from site_node.validate.numbers import numbers_of, shows
from site_node.validate.private import CREATOR, safe_elements
from site_node.validate.search import Kind, Search
from site_node.validate.values import TEXT

_WRITTEN = frozenset({CHARSET, 0x00080050, 0x00100010, 0x00100020, 0x00120062, 0x00120063, 0x00280303})
_NUMERIC = 5  # digits of a number that does not occur by chance
_MOST_SPLIT = 16  # values that one number may be split over
_PRINTABLE = re.compile(rb"[ -~]{6,}")  # in compressed frames, whose other bytes only a decoder reads
_CHECKED_ELSEWHERE = frozenset({"DA", "DT", "UI"})  # each is compared with the value it must have


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
            if element.items >= 0 or not element.raw or _is_written(element, rule, self._rules):
                continue
            code = _search_element(element, search, charset, rule)
            if code:
                yield Finding(code=code, attribute=name_of(element.tag, self._rules.profile))
        for part in self._parts:
            yield from search.in_bytes(part)


def search_clinical(row: Mapping[str, object], search: Search) -> Iterator[Finding]:
    """Findings in the clinical row: identifiers, and text that is neither code nor date."""
    for name, value in row.items():
        if not isinstance(value, str):
            continue
        if not re.fullmatch(r"[A-Za-z0-9.+-]{1,40}", value):
            yield Finding(code="clinical-text", attribute=name)
        if search.in_text(value, Kind()) or normal(value) in search.identifiers.birth_dates:
            yield Finding(code="clinical-identifier", attribute=name)


def _is_written(element: Element, rule: Rule | None, rules: Rules) -> bool:
    """Whether this program or the profile's list says the value; the checks of marks, mapping and form compare it."""
    is_listed = rule is not None and rule.keyword == CREATOR
    return is_listed or (element.tag in _WRITTEN and not element.path) or in_marks(element) or is_ours(element, rules)


def _search_element(element: Element, search: Search, charset: tuple[str, ...], rule: Rule | None) -> str:
    vr = element.vr or (min(rule.vrs) if rule else "")
    if vr in _CHECKED_ELSEWHERE or (element.tag == CHARSET and charset_terms(element.raw) is not None):
        return ""
    if vr in {"IS", "DS", "TM", "AS"}:
        return _in_numbers(element.raw, search, is_short=vr == "TM") or _in_measures(element.raw, search, vr)
    if vr in TEXT or vr in {"", "UN"}:
        is_description = rule is None or rule.action is Action.CLEAN
        keyword = rule.keyword if rule is not None else ""
        kind = Kind(vr == "CS" or search.is_termed(keyword), is_description, "Manufacturer" in keyword)
        return search.in_text(text_of(element.raw, charset), kind)
    return _in_measures(element.raw, search, vr)


def _in_numbers(raw: bytes, search: Search, *, is_short: bool) -> str:
    """The code of what one of the numbers is, or several of them joined."""
    values = raw.decode("latin-1").strip(" \0").split("\\")
    for at in range(len(values)):
        joined = accumulate(takewhile(str.isdecimal, map(str.strip, values[at : at + _MOST_SPLIT])))
        if any(len(run) >= _NUMERIC and run in search.identifiers.numbers for run in joined):
            return "residual-identifier"
    return next(filter(None, (search.in_number(value, is_short=is_short) for value in values)), "")


def _in_measures(raw: bytes, search: Search, vr: str) -> str:
    """The code of a number of the patient, or a day, in decimal or binary numbers of any form."""
    numbers = tuple(numbers_of(raw, vr))
    if any(shows(number, search.own_numbers, vr) for number in numbers):
        return "residual-identifier"
    return "residual-date" if any(shows(number, search.own_days, vr) for number in numbers) else ""
