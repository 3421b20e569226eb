"""Putting the new file together: file meta from scratch, the actions applied at every depth, what is written anew."""

import struct
from bisect import bisect
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from itertools import groupby
from typing import NamedTuple

from shared.ids import Uid
from shared.protocol.profile import Action, Rule
from shared.protocol.search_terms import search_terms
from site_node.deidentify.actions import CHARACTER_SET, NO_NOTES, ElementActions, NewElement, Notes, Outcome
from site_node.deidentify.codes import is_of_known_scheme, standing_values
from site_node.deidentify.context import StudyContext
from site_node.deidentify.hidden_bytes import LUT_DATA, check_palettes, check_table, has_palette
from site_node.deidentify.kinds import INSTANCE, PATIENT_AGE
from site_node.deidentify.native_pixels import UnusedBits
from site_node.deidentify.private import private_rule, safe_creator
from site_node.deidentify.reasons import unsupported
from site_node.deidentify.series_cache import SeriesCache
from site_node.dicom.elements import (
    PIXEL_DATA,
    UNDEFINED,
    Element,
    ElementRun,
    Elements,
    Items,
    ParsedFile,
    Span,
    bytes_of,
    encode,
    encode_items,
    header,
)

_STUDY, _SERIES, _CLASS = 0x0020000D, 0x0020000E, 0x00080016
_NAME, _ID = 0x00100010, 0x00100020
_METHOD_CODES = 0x00120064
_CODE_VALUE, _SCHEME, _MEANING = 0x00080100, 0x00080102, 0x00080104
_CODE_VRS = {_CODE_VALUE: "SH", _SCHEME: "SH", _MEANING: "LO"}
_IMPLEMENTATION = "2.25.206518923012283473928341902384752938475"  # ours, PS3.5 Annex B.2
_VERSION = "RICORD_FED_1"
_PRIVATE = 0x0013
_OLDEST = b"090Y"
_NO_CLAIMS: frozenset[str] = frozenset()
_PREFIX = bytes(128) + b"DICM"
_WRITTEN = frozenset(
    {_STUDY, _SERIES, INSTANCE, _NAME, _ID, PATIENT_AGE, 0x00120062, 0x00120063, _METHOD_CODES, 0x00280303}
)
_BETWEEN = sorted({*_WRITTEN, _PRIVATE << 16, PIXEL_DATA})  # no part of a file may reach across one of these


class NewFile(NamedTuple):
    """A new file in three parts, so that its pixel bytes need not pass through memory."""

    before: bytes
    pixels: Span | bytes
    after: bytes
    sop_instance_uid: Uid
    series_instance_uid: Uid
    unused: UnusedBits | None = None  # of the pixels
    notes: Notes = NO_NOTES  # codes and attributes of what was mended

    @property
    def bytes_in_memory(self) -> int:
        """Bytes of all parts but a span."""
        return len(self.before) + len(self.after) + (0 if isinstance(self.pixels, Span) else len(self.pixels))

    @property
    def size(self) -> int:
        """Bytes of all parts together."""
        pixels = self.pixels.length if isinstance(self.pixels, Span) else len(self.pixels)
        return len(self.before) + pixels + len(self.after)


def assemble(
    parsed: ParsedFile, actions: ElementActions, cache: SeriesCache, claims: frozenset[str] = frozenset()
) -> NewFile:
    """The new file of a parsed one, with `claims` of what else is done to it.

    Raises `DicomUnsupported` where an element cannot be judged.
    """
    writer, context = _Writer(parsed, actions, cache), actions.condition.context
    if has_palette(parsed.facts):
        check_palettes({tag: element for run in parsed.runs for tag, element in run.elements.items()})
    uids = {tag: _new_uid(context, parsed.facts, tag) for tag in (_STUDY, _SERIES, INSTANCE)}
    outcomes = [writer.outcome(run) for run in parsed.runs]
    parts = [part for outcome in outcomes for part in outcome.parts]
    parts += writer.written(claims.union(*(outcome.claims for outcome in outcomes)), uids)
    parts.sort()
    body = [part for tag, part in parts if tag < PIXEL_DATA]
    after = [part for tag, part in parts[len(body) :]]
    sop_class = bytes_of(parsed.facts, _CLASS).decode("latin-1").strip(" \0")
    meta = file_meta(sop_class, uids[INSTANCE], parsed.syntax)
    pixels, pixel_header, pad = _pixels(parsed)
    before = b"".join((meta, *body, pixel_header))
    notes = writer.age_notes().union(*(outcome.notes for outcome in outcomes))
    return NewFile(before, pixels, b"".join((pad, *after)), uids[INSTANCE], uids[_SERIES], notes=notes)


def file_meta(sop_class: str, sop_instance: str, syntax: str) -> bytes:
    """Preamble of zeros, prefix and file meta information from scratch (PS3.10 section 7.1)."""
    first, last = _meta_around(sop_class, syntax)
    group = first + encode(0x00020003, "UI", sop_instance.encode(), explicit=True) + last
    return _PREFIX + encode(0x00020000, "UL", struct.pack("<L", len(group)), explicit=True) + group


@lru_cache(maxsize=64)
def _meta_around(sop_class: str, syntax: str) -> tuple[bytes, bytes]:
    """The file meta information before and after the instance's UID."""
    first = ((0x00020001, "OB", b"\0\1"), (0x00020002, "UI", sop_class.encode()))
    last = (
        (0x00020010, "UI", syntax.encode()),
        (0x00020012, "UI", _IMPLEMENTATION.encode()),
        (0x00020013, "SH", _VERSION.encode()),
    )
    before, after = (b"".join(encode(tag, vr, raw, explicit=True) for tag, vr, raw in rows) for rows in (first, last))
    return before, after


@cache
def _never_in_items() -> frozenset[int]:
    return search_terms().tags.palettes | search_terms().tags.offsets | {PIXEL_DATA}


class _Writer:
    """Applies the actions to one file's data sets and encodes what is left."""

    def __init__(self, parsed: ParsedFile, actions: ElementActions, cache: SeriesCache) -> None:
        context = self._context = actions.condition.context
        self._cache = cache
        self._rules = context.profile.kept_rules
        self._safe_groups = context.profile.safe_groups
        self._facts = parsed.facts
        self._actions = actions
        self._claims: set[str] = set()  # codes of what was done in the current run
        self._notes: Notes = NO_NOTES  # likewise
        self._explicit = parsed.explicit
        self._never = _WRITTEN | actions.condition.unused_tables

    def outcome(self, run: ElementRun) -> Outcome:
        """The outcome of one run, from the cache if an earlier file had the same."""
        previous = self._actions.recall(run)
        if previous is not None:
            return previous
        if self._claims:
            self._claims = set()
        self._notes = NO_NOTES
        parts = self.elements(run.elements, self._actions)
        if len(parts) > 1:
            groups = (list(group) for _, group in groupby(parts, key=lambda part: bisect(_BETWEEN, part[0])))
            parts = [(group[0][0], b"".join(part for _, part in group)) for group in groups]
        outcome = Outcome(tuple(parts), frozenset(self._claims) if self._claims else _NO_CLAIMS, self._notes)
        self._actions.remember(run, outcome)
        return outcome

    def elements(self, dataset: Elements, actions: ElementActions, *, in_item: bool = False) -> list[tuple[int, bytes]]:
        """Each element that stays, encoded, by rising tag."""
        parts: list[tuple[int, bytes]] = []
        never = _never_in_items() if in_item else self._never
        standing = standing_values(dataset, self._context.text_rule.leaves) if in_item else {}
        for tag, element in dataset.items():
            rule = self._rules.get(tag)
            if tag in standing:
                parts.append((tag, encode(tag, _CODE_VRS[tag], standing[tag], explicit=self._explicit)))
            elif rule is None:
                if tag >> 16 & 1 and tag >> 16 in self._safe_groups:
                    parts += self._private(tag, element, dataset if in_item else self._facts, actions)
            elif tag not in never:
                new = self._standard(rule, element, actions)
                if new is not None:
                    parts.append((tag, new))
        if len(parts) > 1:
            parts.sort()
        return parts

    def _standard(self, rule: Rule, element: Element, actions: ElementActions) -> bytes | None:
        """An element of the table, encoded; None if it is removed."""
        is_sequence = "SQ" in rule.vrs
        if rule.action is Action.CLEAN:
            self._claims.add(self._context.profile.claims.cleaned)
        elif is_sequence and rule.action is Action.EMPTY:
            return encode(rule.tag, "SQ", b"", explicit=self._explicit)
        new = None
        if isinstance(element.value, bytes) and not is_sequence:
            new = self._noted(actions.new_element(rule, element.vr, element.value))
        elif is_sequence and not isinstance(element.value, bytes):
            new = self._sequence(rule, element.value, actions)
        # An element of another kind than the table says is emptied: it may be Type 2.
        if new is None and len(rule.vrs) == 1:
            return encode(rule.tag, min(rule.vrs), b"", explicit=self._explicit)
        return new

    def _private(
        self, tag: int, element: Element, creators: Elements, actions: ElementActions
    ) -> Iterable[tuple[int, bytes]]:
        """A private element that the profile lists, or the creator of a block that may hold one."""
        profile = self._context.profile
        creator = safe_creator(profile, creators, tag)
        if creator:
            yield tag, encode(tag, "LO", creator.encode(), explicit=self._explicit)
        rule = private_rule(profile, creators, tag)
        if rule is not None and isinstance(element.value, bytes):
            new = self._noted(actions.new_element(rule, element.vr, element.value))
            if new is not None:
                self._claims.add(profile.claims.private)
                yield tag, new

    def _noted(self, new: NewElement) -> bytes | None:
        """The bytes of a new element, after what was mended in it is kept for the report."""
        if new.notes:
            self._notes |= new.notes
        return new.encoded

    def age_notes(self) -> Notes:
        """Whether PatientAge was computed or mended; that it is capped, every age over 89 is."""
        old, new = bytes_of(self._facts, PATIENT_AGE).strip(b" \0"), self._actions.condition.age
        if not self._writes_age() or new in {old, _OLDEST}:
            return NO_NOTES
        return frozenset({("value-mended" if old else "age-computed", "PatientAge")})

    def _writes_age(self) -> bool:
        return self._context.profile.action(PATIENT_AGE) is Action.AGE and bool(
            self._actions.condition.age or PATIENT_AGE in self._facts
        )

    def _sequence(self, rule: Rule, items: Items, actions: ElementActions) -> bytes:
        bodies = []
        for item in items():
            if not is_of_known_scheme(item, self._context.profile.vocabulary.rules):
                continue
            if LUT_DATA in item:
                check_table(item)
            inner = self._cache.inside(actions, bytes_of(item, CHARACTER_SET)) if CHARACTER_SET in item else actions
            bodies.append(b"".join([part for _, part in self.elements(item, inner, in_item=True)]))
        return encode(rule.tag, "SQ", encode_items(bodies), explicit=self._explicit)

    def written(self, claims: frozenset[str], uids: Mapping[int, str]) -> list[tuple[int, bytes]]:
        """What the program itself says in every object (PS3.15 E.1.1, E.3.6), and the federation's private block."""
        codes = tuple(self._codes(claims))
        key = (self._context, self._explicit, codes)
        marks = self._cache.marks.get(key)
        if marks is None:
            marks = self._cache.marks[key] = tuple(self._marks(codes))
        parts = [
            *marks,
            *((tag, encode(tag, "UI", uid.encode(), explicit=self._explicit)) for tag, uid in uids.items()),
        ]
        if self._writes_age():
            parts.append((PATIENT_AGE, encode(PATIENT_AGE, "AS", self._actions.condition.age, explicit=self._explicit)))
        return parts

    def _marks(self, codes: Iterable[str]) -> Iterable[tuple[int, bytes]]:
        """The marks that every file with these codes bears."""
        profile, pseudonym = self._context.profile, self._context.pseudonym.encode()
        rows = [
            (_NAME, "PN", pseudonym),
            (_ID, "LO", pseudonym),
            (0x00120062, "CS", b"YES"),
            (0x00120063, "LO", profile.method.encode()),
            (_METHOD_CODES, "SQ", encode_items(self._code(code) for code in codes)),
            (0x00280303, "CS", b"MODIFIED"),
        ]
        if profile.private_creator:
            rows += [
                (_PRIVATE << 16 | 0x0010, "LO", profile.private_creator.encode()),
                (_PRIVATE << 16 | 0x1001, "SH", self._context.pseudonyms.site_id.encode()),
                (_PRIVATE << 16 | 0x1003, "SH", profile.project.encode()),
            ]
        return ((tag, encode(tag, vr, value, explicit=self._explicit)) for tag, vr, value in rows)

    def _codes(self, done: frozenset[str]) -> list[str]:
        """Codes for what was done now, and those of earlier tools that are known and still true, in order."""
        claims = self._context.profile.claims
        codes = {*claims.always, *done} - {""}
        sequence = self._facts.get(_METHOD_CODES)
        for item in () if sequence is None or isinstance(sequence.value, bytes) else sequence.value():
            if bytes_of(item, _SCHEME).strip(b" \0") == b"DCM":
                codes |= {bytes_of(item, _CODE_VALUE).decode("latin-1").strip(" \0")} & claims.earlier
        return sorted(codes)

    def _code(self, code: str) -> bytes:
        meaning = self._context.profile.claims.meanings[code]
        rows = ((_CODE_VALUE, "SH", code), (_SCHEME, "SH", "DCM"), (_MEANING, "LO", meaning))
        return b"".join(encode(tag, vr, text.encode(), explicit=self._explicit) for tag, vr, text in rows)


def _new_uid(context: StudyContext, dataset: Elements, tag: int) -> Uid:
    original = bytes_of(dataset, tag).decode("latin-1").strip(" \0")
    if not original:
        raise unsupported("no-identifiers", context.profile.by_tag[tag].keyword)
    if "\\" in original:
        raise unsupported("malformed-value", context.profile.by_tag[tag].keyword)
    return context.pseudonyms.uid(original)


def _pixels(parsed: ParsedFile) -> tuple[Span | bytes, bytes, bytes]:
    """The pixel bytes, the header before them and the pad byte after them."""
    if parsed.pixels is None:
        return b"", b"", b""
    if parsed.encapsulated:
        return parsed.pixels, header(PIXEL_DATA, "OB", UNDEFINED, explicit=True), b""
    length = parsed.pixels.length if isinstance(parsed.pixels, Span) else len(parsed.pixels)
    pad = b"\0" * (length % 2)
    return parsed.pixels, header(PIXEL_DATA, parsed.pixel_vr, length + len(pad), explicit=parsed.explicit), pad
