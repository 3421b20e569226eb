"""What a profile's actions do to one element's raw value. Both readers call this and nothing else.

One `Subject` serves a study, one `Values` a file; `Values` answers from a cache wherever an answer depends on the raw
bytes alone, since the slices of a series differ in few elements.
"""

import re
from collections.abc import Mapping
from copy import copy
from typing import NamedTuple, Self

from pydicom.uid import UID_dictionary

from shared.ids import PatientPseudonym
from shared.protocol.profile import FREE_TEXT, Action, Profile, Rule
from site_node.deidentify.characters import decode, encodings_of
from site_node.deidentify.dates import shift_values
from site_node.deidentify.elements import WORD_SIZES, encode
from site_node.deidentify.identifiers import TAGS as IDENTIFIER_TAGS
from site_node.deidentify.identifiers import Identifiers, cut, find_identifiers, known_forms, normal
from site_node.deidentify.reasons import stop
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Identity

CHARACTER_SET = 0x00080005
_HEAD = (*sorted(IDENTIFIER_TAGS), CHARACTER_SET)
_SHORT = 256  # bytes of a value worth remembering
_DUMMY = b"REMOVED "  # where Type 1 asks for some text (PS3.15 Table E.1-1a, D)
_TEXT = frozenset({"CS", "LO", "SH"})
_DUMMY_FOR = _TEXT | {"LT", "PN", "ST", "UC", "UT"}
_FORMS = {
    "AS": re.compile(rb"(?:\d{3}[DWMY])?[ \0]*"),
    "DS": re.compile(rb"[0-9+\-.eE \\]*\0?"),
    "IS": re.compile(rb"[0-9+\- \\]*\0?"),
    "TM": re.compile(rb"[0-9:.\- \\]*\0?"),
}
_UID_IN_TEXT = re.compile(r"(?<![\d.])\d+(?:\.\d+){5,}")
_AGE = re.compile(rb"(\d{3})([DWMY])")
_TELLING = 4  # digits of a number that is not there by chance
_OLDEST = 89  # years; all above are one group (45 CFR 164.514(b)(2)(i)(C))
_PADDING = b" \0"


class Subject(NamedTuple):
    """What is the same for every file of a study."""

    profile: Profile
    pseudonyms: Pseudonyms
    identity: Identity
    pseudonym: PatientPseudonym
    shift_days: int
    known: frozenset[str]
    deny: re.Pattern[str]
    wanted: Mapping[int, bool]  # the tags that readers look at, and whether each is a sequence
    answers: dict[tuple[object, ...], dict[tuple[int, str, bytes], bytes | None]]  # cache of `Values.new_element`


def make_subject(
    profile: Profile, pseudonyms: Pseudonyms, identity: Identity, *, wanted: Mapping[int, bool]
) -> Subject:
    """Everything a study's files need, asked once."""
    return Subject(
        profile=profile,
        pseudonyms=pseudonyms,
        identity=identity,
        pseudonym=pseudonyms.patient(identity),
        shift_days=pseudonyms.shift_days(identity),
        known=known_forms(profile),
        deny=re.compile("|".join(f"(?:{pattern})" for pattern in profile.text.deny), re.IGNORECASE),
        wanted=wanted,
        answers={},
    )


class Values:
    """The values of one file, or of an item with a character set of its own.

    Args:
        subject: what the file shares with its study.
        head: the raw values of the file's top level by tag: its identifiers and its character set.
        kind: its kind of image.
        explicit: how its elements are written.
    """

    def __init__(self, subject: Subject, head: Mapping[int, bytes], kind: str, *, explicit: bool) -> None:
        self._subject = subject
        self._kind = kind
        self._explicit = explicit
        self._head = {tag: head[tag] for tag in _HEAD if tag in head}
        self._encodings = self._head_encodings = encodings_of(head.get(CHARACTER_SET, b""))
        self._identifiers: Identifiers | None = None
        self._answers = self._recall()

    def _recall(self) -> dict[tuple[int, str, bytes], bytes | None]:
        """What was answered before under the same conditions."""
        condition = (self._kind, self._explicit, self._encodings, *self._head.items())
        return self._subject.answers.setdefault(condition, {})

    def of_item(self, character_set: bytes) -> Self:
        """The same for an item: itself, unless the item names another character set."""
        encodings = encodings_of(character_set) if character_set else self._encodings
        if encodings == self._encodings:
            return self
        other = copy(self)
        other._encodings = encodings  # noqa: SLF001  # a copy of this very class
        other._answers = other._recall()  # noqa: SLF001  # likewise
        return other

    def new_element(self, rule: Rule, vr: str, raw: bytes) -> bytes | None:
        """One new element, encoded; None if it goes. Raises `DicomUnsupported` where it cannot be told.

        Most elements of a series' files are alike, so that the answer is one that was given before.
        """
        key = (rule.tag, vr, raw)
        if key in self._answers:
            return self._answers[key]
        new_vr = _vr(rule, vr, explicit=self._explicit)
        value = self.new_value(rule, new_vr, raw) if new_vr else None
        new = None if value is None else encode(rule.tag, new_vr, value, explicit=self._explicit)
        if len(raw) <= _SHORT:
            self._answers[key] = new
        return new

    def new_value(self, rule: Rule, vr: str, raw: bytes) -> bytes | None:
        """The new raw value of one element, None if it goes. Raises `DicomUnsupported` where it cannot be told."""
        match rule.action:
            case Action.KEEP:
                new = self._keep(rule, vr, raw)
            case Action.UID:
                new = self._uid(raw)
            case Action.SHIFT:
                new = self._shift(rule, raw)
            case Action.CLEAN:
                new = self._text(rule, raw, describe=True)
            case Action.PATIENT:
                new = self._subject.pseudonym.encode()
            case Action.ACCESSION:
                new = self._subject.pseudonyms.accession(decode(raw, self._encodings)).encode()
            case Action.AGE:
                new = self._age(raw)
            case Action.EMPTY:
                new = self._emptied(rule)
            case _:
                new = None
        return new

    def _keep(self, rule: Rule, vr: str, raw: bytes) -> bytes | None:
        """What `keep` means for each value representation: the form is checked, so that nothing hides in it."""
        if rule.tag == CHARACTER_SET:
            encodings_of(raw)
            new: bytes | None = raw
        elif vr in WORD_SIZES:
            new = raw if len(raw) % WORD_SIZES[vr] == 0 else None
        elif vr in _TEXT:
            new = self._text(rule, raw, describe=False)
        elif vr in _FORMS:
            new = self._number(rule, vr, raw)
        elif vr in {"DA", "DT"}:
            new = self._shift(rule, raw)
        elif vr == "UI":
            new = self._uid(raw)
        else:
            new = raw if vr == "OB" else None
        return new

    def _number(self, rule: Rule, vr: str, raw: bytes) -> bytes:
        """A number or time of the right form stays; stops where another one cannot be left empty."""
        if _FORMS[vr].fullmatch(raw) and not self._is_own_number(raw):
            return raw
        if self._kind in rule.required and raw.strip(_PADDING):
            raise stop("malformed-value", rule.keyword)
        return b""

    def _is_own_number(self, raw: bytes) -> bool:
        """Whether a number is one of the patient's: some series bear the PatientID as SeriesNumber."""
        return len(raw) >= _TELLING and any(
            len(value) >= _TELLING and value.decode() in self._find().numbers
            for value in raw.strip(_PADDING).split(b"\\")
        )

    def _find(self) -> Identifiers:
        """The file's identifiers, searched for once."""
        if self._identifiers is None:
            identity = self._subject.identity
            extra = (identity.patient_id, identity.issuer)
            self._identifiers = find_identifiers(self._head, self._head_encodings, extra)
        return self._identifiers

    def _uid(self, raw: bytes) -> bytes:
        """Each UID mapped; what the Standard registers stays (PS3.6 Annex A)."""
        values = raw.decode("latin-1").split("\\")
        return "\\".join(self._one_uid(value.strip(" \0")) for value in values).encode()

    def _one_uid(self, value: str) -> str:
        return value if not value or value in UID_dictionary else self._subject.pseudonyms.uid(value)

    def _shift(self, rule: Rule, raw: bytes) -> bytes:
        if not raw.strip(_PADDING):
            return b""
        needed = self._kind in rule.required
        new = shift_values(raw.decode("latin-1"), self._subject.shift_days, complete=needed)
        if new is None:
            raise stop("invalid-date", rule.keyword)
        return new.encode()

    def _age(self, raw: bytes) -> bytes:
        value = raw.strip(_PADDING)
        found = _AGE.fullmatch(value)
        if found is None:
            if value:
                raise stop("malformed-age", "PatientAge")
            return b""
        return b"090Y" if found.group(2) == b"Y" and int(found.group(1)) > _OLDEST else value

    def _text(self, rule: Rule, raw: bytes, *, describe: bool) -> bytes:
        """Descriptions lose what identifies; any other text that holds an identifier is emptied whole."""
        identifiers = self._find()
        text = decode(raw, self._encodings)
        if describe:
            new = "\\".join(self._clean(value, identifiers) for value in text.split("\\"))
        else:
            new = "" if _UID_IN_TEXT.search(text) else cut(text, identifiers, self._subject.known, description=False)
        if new == text:
            return raw
        keep = describe and new.isascii() and bool(normal(new))
        return new.encode() if keep else self._emptied(rule)

    def _clean(self, value: str, identifiers: Identifiers) -> str:
        """Cut until nothing more is found: what is left of two cuts may make a third."""
        while True:
            without = cut(value, identifiers, self._subject.known, description=True)
            without = self._subject.deny.sub(" ", without)
            if without == value:
                return value
            value = " ".join(without.split())

    def _emptied(self, rule: Rule) -> bytes:
        """Nothing, or the dummy where Type 1 asks for a text."""
        return _DUMMY if self._kind in rule.required and rule.vrs & _DUMMY_FOR else b""


def _vr(rule: Rule, found: str, *, explicit: bool) -> str:
    """The value representation to write; empty if the file's contradicts the table or it cannot be told."""
    if found in rule.vrs:
        return found
    if rule.action is Action.EMPTY and rule.vrs & FREE_TEXT:
        return min(rule.vrs)
    if found in {"", "UN"}:
        one = len(rule.vrs) == 1
        return min(rule.vrs) if one or not explicit else ""
    return ""
