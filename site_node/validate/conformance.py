"""What a de-identified file must be by itself: no source and no secret is needed, so the curator can check it as well.

Closed by default: an element that the profile does not keep, a private element that is not ours, a UID of unknown
origin, bytes outside the elements: each is a finding.
"""

from collections.abc import Iterable, Iterator
from operator import lt
from typing import NamedTuple

from shared.errors.inputs import InvalidIdentifier
from shared.errors.studies import DicomUnreadable
from shared.ids import PatientPseudonym, SiteId
from shared.protocol.profile import COPY_ACTIONS, Action, Profile, Rule
from site_node.validate.characters import CHARSET, charset_of, is_charset, text_of
from site_node.validate.codes import MEANING, SCHEME, VALUE, check_codes
from site_node.validate.codestream import frames_of, hides_bytes, planes_of
from site_node.validate.elements import EXPLICIT, IMPLICIT, PIXEL_DATA, Document, Element, Part
from site_node.validate.entropy import CodestreamBroken
from site_node.validate.finding import Finding
from site_node.validate.hidden_bytes import bad_palettes, bad_tables, has_too_many, is_palette, unread_tables
from site_node.validate.native_pixels import hides_bits
from site_node.validate.numbers import is_beyond
from site_node.validate.private import CREATOR, PrivateRules, holds_any, safe_elements
from site_node.validate.reader import read_document
from site_node.validate.values import day_of, has_form
from site_node.validate.words import KEPT, WORD, TextLook

STANDARD_ROOT = "1.2.840.10008."
DUMMY = b"REMOVED"  # the value where Type 1 requires a text
_META = frozenset({0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013})
_CLASS, _INSTANCE, _NAME, _ID, _AGE = 0x00080016, 0x00080018, 0x00100010, 0x00100020, 0x00101010
_REMOVED, _METHOD, _CODES, _TEMPORAL = 0x00120062, 0x00120063, 0x00120064, 0x00280303
_OF_CODES = frozenset({VALUE, SCHEME, MEANING})
_PRIVATE_GROUP = 0x0013
_OLDEST = b"090Y"
_OLDEST_YEARS = 89
_STUDY_DATE, _BIRTH_DATE = 0x00080020, 0x00100030
_ENCAPSULATED = "1.2.840.10008.1.2."  # followed by a number from 4 on


class Rules(NamedTuple):
    """What a file is checked by."""

    profile: Profile
    site_id: SiteId
    look: TextLook
    sequences: frozenset[int]


def make_rules(profile: Profile, site_id: SiteId, accepted: Iterable[str] = ()) -> Rules:
    """Prepare a profile for many files; `accepted` are the words in their texts that only the site's list names."""
    return Rules(profile, site_id, TextLook(profile.vocabulary, frozenset(accepted)), profile.sequence_tags)


def check_output(data: bytes, *, profile: Profile, site_id: SiteId) -> tuple[Finding, ...]:
    """Everything that is wrong with a de-identified file by itself, where the site accepted no words."""
    return check_file(data, make_rules(profile, site_id))


def check_file(data: bytes, rules: Rules) -> tuple[Finding, ...]:
    """Everything that is wrong with a de-identified file by itself."""
    try:
        document = read_document(data, rules.sequences)
    except DicomUnreadable:
        return (Finding(code="structure"),)
    return tuple(dict.fromkeys(check_document(document, rules)))


def check_document(document: Document, rules: Rules) -> Iterator[Finding]:
    """Findings of a parsed file."""
    private = safe_elements(document, rules.profile)
    yield from check_whole(document, rules, private)
    charset = charset_of(document)
    for part in document.parts:
        yield from check_part(part, rules, private, charset)


def check_whole(document: Document, rules: Rules, private: PrivateRules) -> Iterator[Finding]:
    """Findings that concern the file as a whole, not one of its parts."""
    yield from _check_frame(document)
    tags = [part[0].tag for part in document.parts]
    if not all(map(lt, tags, tags[1:])):
        yield Finding(code="order")
    yield from _check_marks(document, rules, keeps_private=holds_any(private))
    yield from _check_patient(document, rules)
    yield from _check_pixels(document)
    tables = dict.fromkeys((*unread_tables(document), *bad_palettes(document)))
    yield from (Finding(code="unread", attribute=name_of(tag, rules.profile)) for tag in tables)


def check_part(part: Part, rules: Rules, private: PrivateRules, charset: tuple[str, ...]) -> Iterator[Finding]:
    """Findings of a top-level element and everything in its items, whose texts are in these character sets."""
    yield from _check_order(part)
    unused = (
        element
        for element in part
        if has_too_many(element, private.get((element.path, element.tag))) or (element.path and is_palette(element.tag))
    )
    for element in (*unused, *bad_tables(part)):
        yield Finding(code="unread", attribute=name_of(element.tag, rules.profile))
    for element in part:
        safe = private.get((element.path, element.tag))
        yield from _check_element(element, rules, safe)
        yield from _check_text(element, safe or rules.profile.by_tag.get(element.tag), rules, charset)
    if part and part[0].tag != _CODES:
        schemes, look = rules.profile.vocabulary.rules.scheme_forms, rules.look
        for code, tag in check_codes(part, schemes, look, charset, DUMMY.decode()):
            yield Finding(code=code, attribute=name_of(tag, rules.profile))


def name_of(tag: int, profile: Profile) -> str:
    """The keyword of a tag the profile names, else `gggg,eeee`."""
    rule = profile.by_tag.get(tag)
    return rule.keyword if rule else f"{tag >> 16:04x},{tag & 0xFFFF:04x}"


def is_ours(element: Element, rules: Rules) -> bool:
    """Whether a private element is of the block that this program writes: creator, SITEID, project."""
    group, number = element.tag >> 16, element.tag & 0xFFFF
    if element.path or group != _PRIVATE_GROUP or not rules.profile.private_creator:
        return False
    value = element.raw.rstrip(b" \0").decode("latin-1")
    if number == 0x0010:
        return value == rules.profile.private_creator
    return number >> 8 == 0x10 and value in {rules.site_id, rules.profile.project}


def in_marks(element: Element) -> bool:
    """Whether an element is in an item of DeidentificationMethodCodeSequence."""
    return element.path[:1] == (_CODES,)


def _check_frame(document: Document) -> Iterator[Finding]:
    """Preamble, file meta information, transfer syntax."""
    if document.preamble.strip(b"\0") or not document.preamble:
        yield Finding(code="preamble")
    if document.padding:
        yield Finding(code="structure")
    known = {IMPLICIT, EXPLICIT}
    number = document.syntax.removeprefix(_ENCAPSULATED).split(".")[0]
    if document.syntax not in known and not (number.isdigit() and int(number) > 3):
        yield Finding(code="transfer-syntax", attribute="TransferSyntaxUID")
    if document.fragments is not None and document.encapsulated == (document.syntax in known):
        yield Finding(code="pixel-structure", attribute="PixelData")
    meta = {element.tag: element.raw.rstrip(b" \0") for element in document.meta}
    fits = meta.get(0x00020002) == document.first(_CLASS) and meta.get(0x00020003) == document.first(_INSTANCE)
    if not set(meta) <= _META or not fits:
        yield Finding(code="file-meta")


def _check_order(part: Part) -> Iterator[Finding]:
    """Ascending tags in every item, none twice, no group lengths."""
    last: dict[tuple[int, ...], int] = {}
    for element in part:
        if element.tag <= last.get(element.path, -1):
            yield Finding(code="order")
        last[element.path] = element.tag
        if element.tag & 0xFFFF == 0 or element.tag >> 16 < 8:
            yield Finding(code="group-length")


def _check_marks(document: Document, rules: Rules, *, keeps_private: bool) -> Iterator[Finding]:
    """PS3.15 E.1.1: identity removed, by which method; E.3.6: dates were shifted; E.3.10: private elements kept."""
    required = {_REMOVED: b"YES", _METHOD: rules.profile.method.encode(), _TEMPORAL: b"MODIFIED"}
    for tag, value in required.items():
        if document.first(tag) != value:
            yield Finding(code="not-marked", attribute=name_of(tag, rules.profile))
    items: dict[tuple[int, ...], dict[int, str]] = {}
    for element in document.top.get(_CODES, ()):
        if in_marks(element):
            items.setdefault(element.path, {})[element.tag] = element.raw.rstrip(b" \0").decode("latin-1")
    meanings = rules.profile.claims.meanings
    codes = {item.get(VALUE, "") for item in items.values()}
    fit = all(
        set(item) == {VALUE, SCHEME, MEANING} and item[SCHEME] == "DCM" and item[MEANING] == meanings.get(item[VALUE])
        for item in items.values()
    )
    claims = rules.profile.claims
    private_fits = not claims.private or (claims.private in codes) == keeps_private
    if not fit or not private_fits or not codes >= set(claims.always):
        yield Finding(code="not-marked", attribute=name_of(_CODES, rules.profile))


def _check_patient(document: Document, rules: Rules) -> Iterator[Finding]:
    name, number = document.first(_NAME), document.first(_ID)
    try:
        ours = PatientPseudonym(number.decode("latin-1")).startswith(f"{rules.site_id}-")
    except InvalidIdentifier:
        ours = False
    if name != number or not ours:
        yield Finding(code="pseudonym", attribute="PatientID")
    if _shows_high_age(document):
        yield Finding(code="age", attribute="PatientBirthDate")


def _shows_high_age(document: Document) -> bool:
    """Whether birth date and study date, shifted alike, show an age over 89, or no age can be computed."""
    birth = document.first(_BIRTH_DATE)
    if not birth:
        return False
    first, last = day_of(birth), day_of(document.first(_STUDY_DATE))
    if first is None or last is None:
        return True
    return (last.year - first.year, last.month, last.day) >= (_OLDEST_YEARS + 1, first.month, first.day)


def _check_pixels(document: Document) -> Iterator[Finding]:
    if document.fragments is None:
        return
    if not document.encapsulated:
        if hides_bits(document, document.fragments[0]):
            yield Finding(code="unread", attribute="PixelData")
        return
    try:
        if any(hides_bytes(frame, planes_of(document)) for frame in frames_of(document.fragments)):
            yield Finding(code="pixel-comment", attribute="PixelData")
    except CodestreamBroken:
        yield Finding(code="pixel-structure", attribute="PixelData")


def _check_element(element: Element, rules: Rules, safe: Rule | None) -> Iterator[Finding]:
    keyword = name_of(element.tag, rules.profile)
    if element.tag >> 16 & 1:
        if safe is not None:
            yield from _check_value(element, safe, rules)
        elif not is_ours(element, rules):
            yield Finding(code="private", attribute=keyword)
        return
    rule = rules.profile.by_tag.get(element.tag)
    if element.tag == PIXEL_DATA and element.path:
        yield Finding(code="not-listed", attribute=keyword)
    if rule is None or rule.action is Action.REMOVE or (rule.action is Action.WRITE and element.path):
        yield Finding(code="not-listed", attribute=keyword)
        return
    if rule.action is Action.EMPTY and (element.items > 0 or element.raw.strip(b" \0") not in {b"", DUMMY}):
        yield Finding(code="not-emptied", attribute=keyword)
    yield from _check_value(element, rule, rules)


def _check_value(element: Element, rule: Rule, rules: Rules) -> Iterator[Finding]:
    """VR, form, UIDs and ages of one kept element."""
    vr = _vr_of(element, rule)
    if (element.vr and element.vr not in rule.vrs) or (element.items >= 0) != ("SQ" in rule.vrs):
        yield Finding(code="vr", attribute=rule.keyword)
        return
    if vr and vr != "SQ" and not has_form(element.raw, vr):
        yield Finding(code="value-form", attribute=rule.keyword)
    if is_beyond(element.raw, vr, rule.keyword):
        yield Finding(code="number", attribute=rule.keyword)
    if vr == "UI" and not all(_is_known_uid(value, rule, rules) for value in element.raw.split(b"\\")):
        yield Finding(code="foreign-uid", attribute=rule.keyword)
    if rule.tag == _AGE and element.raw.rstrip(b" \0") > _OLDEST and element.raw[3:4] == b"Y":
        yield Finding(code="age", attribute=rule.keyword)


def _check_text(element: Element, rule: Rule | None, rules: Rules, charset: tuple[str, ...]) -> Iterator[Finding]:
    """The words and numbers of a kept text; items of codes are judged as a whole, what the program writes elsewhere."""
    if not element.raw or rule is None or rule.action not in COPY_ACTIONS or rule.keyword == CREATOR:
        return
    vr, of_device = _vr_of(element, rule), "Manufacturer" in rule.keyword
    is_declared = rule.action is Action.DEVICE and not of_device and vr != "CS"
    is_of_code = element.path and element.tag in _OF_CODES
    if vr not in KEPT or is_declared or is_of_code or in_marks(element) or element.raw.strip(b" \0") == DUMMY:
        return
    if element.tag == CHARSET:
        code = "" if is_charset(element.raw) else WORD
    else:
        termed = rule.keyword in rules.profile.vocabulary.rules.terms.attributes
        text = text_of(element.raw.rstrip(b" \0"), charset)
        code = rules.look.code_of(text, "CS" if termed else vr, of_device=of_device)
    if code:
        yield Finding(code=code, attribute=rule.keyword)


def _vr_of(element: Element, rule: Rule) -> str:
    """The representation that the file says, or the only one that the profile allows; empty where there are several."""
    return element.vr or (next(iter(rule.vrs)) if len(rule.vrs) == 1 else "")


def _is_known_uid(value: bytes, rule: Rule, rules: Rules) -> bool:
    """Whether a UID is empty, the Standard's own, or under this site's root where the profile maps it."""
    uid = value.strip(b" \0").decode("latin-1")
    ours = f"{rules.profile.uid_root}.{rules.site_id}."
    return not uid or uid.startswith(STANDARD_ROOT) or (uid.startswith(ours) and rule.action is not Action.REMOVE)
