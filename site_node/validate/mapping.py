"""A de-identified file beside its source: every element is the one that the profile's action and the site's key make.

Independent, on purpose, of the stage that made the file: UIDs, pseudonym, accession number and dates are recomputed.
"""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import NamedTuple

from shared.ids import PatientPseudonym
from shared.protocol.profile import Action, Rule
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Identity
from site_node.validate.characters import normal, text_of
from site_node.validate.codes import MEANING, is_standard
from site_node.validate.codestream import frames_of, planes_of, read_by_decoder
from site_node.validate.conformance import DUMMY, STANDARD_ROOT, Rules, in_marks, is_ours, name_of
from site_node.validate.elements import Document, Element, Part, Path, forget
from site_node.validate.entropy import CodestreamBroken
from site_node.validate.finding import Finding
from site_node.validate.meant import charset_terms, is_age_of, says_the_same
from site_node.validate.native_pixels import pixel_bytes
from site_node.validate.private import PrivateRules
from site_node.validate.values import day_of
from site_node.validate.words import KEPT

_PAD = b" \0"
_PIECE = 1 << 16  # bytes compared at once: copies of this size are cheap
_WINDOW = 1 << 22  # bytes of a mapped file that may be in memory at once
_CHARSET = 0x00080005
_RESPELLED = frozenset({"CS", "DS", "IS", "TM"})
_DATE_LIKE = re.compile(r"(\d{4})\.?(\d{2})?\.?(\d{2})?((?<=\d{8})\d{2,6}(?:\.\d{1,6})?)?(?:[+-]\d{4})?")
Place = tuple[Path, int]
ElementOutcome = tuple[str, str]  # kept, changed or removed; the keyword


class Patient(NamedTuple):
    """What the site's key makes of the patient, computed once per study."""

    pseudonyms: Pseudonyms
    pseudonym: PatientPseudonym
    shift: timedelta


def make_patient(pseudonyms: Pseudonyms, identity: Identity) -> Patient:
    """Compute a patient's pseudonym and date shift."""
    return Patient(pseudonyms, pseudonyms.patient(identity), timedelta(days=pseudonyms.shift_days(identity)))


class Condition(NamedTuple):
    """What the judgement of a part depends on besides the part."""

    charset: tuple[str, ...]  # Python's names of the source's character sets
    new_charset: tuple[str, ...]  # of the new file's
    private: PrivateRules  # the new file's listed private elements
    sop_class: str
    dates: tuple[bytes, bytes]  # birth and study date of the source


def check_against_source(
    new: Part, old: Part, condition: Condition, patient: Patient, rules: Rules
) -> Iterator[Finding]:
    """Findings of one part of a file beside the same part of its source, which is empty where there is none.

    Args:
        new: a top-level element of the new file, with everything in its items.
        old: the same of the source.
        condition: what other elements of the two files say.
        patient: what the site's key makes of the patient.
        rules: the profile and the site.
    """
    before: dict[Place, Element] = {(element.path, element.tag): element for element in old}
    after: dict[Place, Element] = {}
    for element in new:
        place = (element.path, element.tag)
        rule = rules.profile.by_tag.get(element.tag) or condition.private.get(place)
        if rule is None or element.items >= 0 or in_marks(element) or is_ours(element, rules):
            continue
        code = _check_element(element, before.get(place), rule, patient, condition)
        if code and element.tag == MEANING:
            after = after or {(each.path, each.tag): each for each in new}
            if is_standard(element.path, after, condition.new_charset):
                continue
        if code:
            yield Finding(code=code, attribute=rule.keyword)


def _check_element(element: Element, origin: Element | None, rule: Rule, patient: Patient, condition: Condition) -> str:
    """The code of what is wrong with one element, empty where nothing is."""
    new = element.raw.strip(_PAD)
    if rule.action is Action.PATIENT and not element.path:
        return "" if new == patient.pseudonym.encode() else "patient-mapping"
    if rule.action is Action.WRITE:
        return ""
    if not new or (new == DUMMY and rule.action is not Action.UID):
        return ""  # emptied; the check of Type 1 and 2 says whether it may be
    if rule.action is Action.AGE:
        dates = condition.dates if not element.path else (b"", b"")
        return "" if is_age_of(new, origin.raw.strip(_PAD) if origin else b"", *dates) else "age-mapping"
    if origin is None or origin.items >= 0:
        return "added"
    return _compare(new, origin.raw.strip(_PAD), rule, patient, condition)


def _compare(new: bytes, old: bytes, rule: Rule, patient: Patient, condition: Condition) -> str:
    """The code of what is wrong with a value beside the value it was made from."""
    if rule.action is Action.UID or rule.vrs == {"UI"}:
        return "" if _is_mapped(new, old, patient) else "uid-mapping"
    if rule.vrs & {"DA", "DT"}:  # all that is shifted is
        return "" if _is_shifted(new, old, patient.shift) else "date-shift"
    if rule.action is Action.ACCESSION:
        return (
            "" if new == patient.pseudonyms.accession(text_of(old, condition.charset)).encode() else "accession-mapping"
        )
    if rule.action is Action.PATIENT:
        return "" if new == patient.pseudonym.encode() else "patient-mapping"
    return "" if new == old or _may_differ(new, old, rule, condition) else "changed"


def _may_differ(new: bytes, old: bytes, rule: Rule, condition: Condition) -> bool:
    """Whether the profile's action may turn `old` into `new`: another spelling, values or parts of a text left out."""
    if rule.tag == _CHARSET:
        return charset_terms(old) == tuple(new.decode("latin-1").split("\\"))
    if rule.action is Action.KEEP and len(rule.vrs & _RESPELLED) == 1:
        return says_the_same(new, old, min(rule.vrs))
    letters = iter(normal(text_of(old, condition.charset)))
    return bool(rule.vrs & KEPT) and all(letter in letters for letter in normal(text_of(new, condition.new_charset)))


def _is_mapped(new: bytes, old: bytes, patient: Patient) -> bool:
    """Whether each UID is the mapped one, or an unchanged one of the Standard."""
    pairs = list(zip(new.split(b"\\"), old.split(b"\\"), strict=False))
    if new.count(b"\\") != old.count(b"\\"):
        return False
    for after, before in pairs:
        was, now = (value.strip(_PAD).decode("latin-1") for value in (before, after))
        is_standard = now == was and was.startswith(STANDARD_ROOT)
        if now and not is_standard and now != patient.pseudonyms.uid(was):
            return False
    return True


def _is_shifted(new: bytes, old: bytes, shift: timedelta) -> bool:
    """Whether each date is the source's minus the shift, with its time of day but no zone, or is emptied."""
    after, before = new.decode("latin-1").split("\\"), old.decode("latin-1").split("\\")
    if len(after) != len(before):
        return False
    return all(
        not now.strip(" \0-") or now.strip(" \0") in _expected(was.strip(" \0"), shift)
        for now, was in zip(after, before, strict=True)
    )


def _expected(text: str, shift: timedelta) -> set[str]:
    """The allowed values for a date, datetime or range: both ends shifted."""
    whole = _shifted(text, shift)
    if whole:
        return {whole}
    ends = text.split("-")
    return {"-".join(_shifted(end.strip(), shift) or "" for end in ends)} if len(ends) == 2 else set()


def _shifted(text: str, shift: timedelta) -> str | None:
    """One date or datetime minus the shift; a partial one counts from its first day."""
    match = _DATE_LIKE.fullmatch(text)
    if match is None:
        return None
    day = day_of(f"{match[1]}{match[2] or '01'}{match[3] or '01'}".encode())
    if day is None or not day - date.max <= shift <= day - date.min:  # a stored shift may go forward
        return None
    return f"{day - shift:%Y%m%d}".rjust(8, "0") + (match[4] or "")


def same_pixels(output: Document, source: Document) -> bool:
    """Whether both show the same pixels: the same bytes, of compressed frames those that a decoder reads."""
    if output.fragments is None or source.fragments is None:
        return output.fragments is source.fragments
    if output.encapsulated != source.encapsulated:
        return False
    if not output.encapsulated:
        size = pixel_bytes(source)  # what follows is padding: dropped, or a zero
        new, old = output.fragments[0], source.fragments[0]
        return min(len(new), len(old)) >= size and _same_bytes(new, old[:size])
    planes = planes_of(source)
    new_frames, old_frames = frames_of(output.fragments), frames_of(source.fragments)
    try:
        return len(new_frames) == len(old_frames) and all(
            new == old or read_by_decoder(new, planes) == read_by_decoder(old, planes)
            for new, old in zip(new_frames, old_frames, strict=True)
        )
    except CodestreamBroken:
        return False


def _same_bytes(new: memoryview, old: memoryview) -> bool:
    """Whether both are equal but for trailing zeros of the new ones; in pieces, so that memory does not grow."""
    size = min(len(new), len(old))
    for start in range(0, size, _PIECE):
        last = min(start + _PIECE, size)
        if bytes(new[start:last]) != bytes(old[start:last]):  # memory views compare item by item, far slower
            return False
        if last % _WINDOW == 0:
            forget(new)
            forget(old)
    return len(old) == size and not bytes(new[size:]).strip(b"\0")


def outcomes_of(new: Part, old: Part, rules: Rules) -> tuple[ElementOutcome, ...]:
    """What became of each element of one part of a source; all private ones share one name."""
    after = {(element.path, element.tag): element for element in new}
    return tuple(
        (
            _outcome(element, after.get((element.path, element.tag))),
            "private" if element.tag >> 16 & 1 else name_of(element.tag, rules.profile),
        )
        for element in old
    )


def _outcome(before: Element, after: Element | None) -> str:
    if after is None:
        return "removed"
    return "kept" if before.items >= 0 or after.raw.strip(_PAD) == before.raw.strip(_PAD) else "changed"
