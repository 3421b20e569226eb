"""What a profile's actions do to one element's raw value. Both readers call this and nothing else.

One `StudyContext` serves a study, one `ElementActions` a file. `ElementActions` answers from a cache wherever an answer
depends on the raw bytes alone, since the slices of a series differ in few elements.
"""

import re
from collections.abc import Mapping
from copy import copy
from typing import NamedTuple, Self

from pydicom.uid import UID_dictionary

from shared.ids import PatientPseudonym
from shared.protocol.profile import FREE_TEXT, Action, Profile, Rule
from site_node.deidentify.characters import decode, encodings_of
from site_node.deidentify.date_shift import shift_values, years_between
from site_node.deidentify.elements import WORD_SIZES, ElementRun, Elements, ParsedFile, bytes_of, encode
from site_node.deidentify.fast_reader import Reading
from site_node.deidentify.hidden_bytes import is_of_length, without_use
from site_node.deidentify.identifiers import TAGS as IDENTIFIER_TAGS
from site_node.deidentify.identifiers import Identifiers, StudyIdentifiers, cut, known_forms, normal
from site_node.deidentify.kinds import FACTS
from site_node.deidentify.reasons import unsupported
from site_node.deidentify.series_cache import Metas, Runs
from site_node.deidentify.unknown_vr import is_of
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Identity

CHARACTER_SET = 0x00080005
_STUDY_DATE = 0x00080020
_SHORT = 256  # bytes of a value worth remembering
_LONGEST_DESCRIPTION = 1_024  # bytes; no representation that is cleaned allows more than 64 letters
_MOST_ANSWERS = 20_000  # remembered of a study at once
_DUMMY = b"REMOVED "  # where Type 1 asks for some text (PS3.15 Table E.1-1a, D)
_TEXT = frozenset({"CS", "LO", "SH"})
_DUMMY_FOR = _TEXT | {"LT", "PN", "ST", "UC", "UT"}
# One value each, strict but for what real devices do: longer decimals, colons in times, small letters in codes.
_FORMS = {
    "AS": re.compile(rb"(?:\d{3}[DWMY])?"),
    "CS": re.compile(rb" *(?:[A-Z0-9_ ]{0,16}|[A-Za-z0-9_]{1,16})"),
    "DS": re.compile(rb" *(?:[+-]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,3})?)?"),
    "IS": re.compile(rb" *(?:[+-]?\d{1,12})?"),
    "TM": re.compile(rb"(?:(?:[01]\d|2[0-3])(?::?[0-5]\d(?::?(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?)?"),
}
_CONTACT = re.compile(r"[^\s@]{1,64}@\S|https?:|\d{3,}[\s-]\d{3,}[\s-]\d{3,}")  # addresses and telephone numbers
_UID_IN_TEXT = re.compile(r"(?<![\d.])\d+(?:\.\d+){5,}")
_WHOLE_NUMBER = re.compile(r" *[+-]?0*(\d+)(?:\.0*)?[ \0]*")
_AGE = re.compile(rb"(\d{3})([DWMY])")
_TELLING = 4  # digits of a number that is not there by chance
_OLDEST = 89  # years; all above are one group (45 CFR 164.514(b)(2)(i)(C))
_PADDING = b" \0"


class Outcome(NamedTuple):
    """What became of one piece: encoded elements by first tag, and the codes of what was done to them."""

    parts: tuple[tuple[int, bytes], ...]
    claims: frozenset[str]


Condition = tuple[object, ...]  # all that an answer depends on besides the bytes


class StudyContext(NamedTuple):
    """What is the same for every file of a study."""

    profile: Profile
    pseudonyms: Pseudonyms
    identity: Identity
    pseudonym: PatientPseudonym
    shift_days: int
    searched: bool  # whether the pixels are searched for text later
    known: frozenset[str]
    deny: re.Pattern[str]
    reading: Reading
    staying: Mapping[int, Rule]  # by tag, of the table's attributes that do not go
    names: StudyIdentifiers
    answers: dict[Condition, dict[tuple[int, str, str, bytes], bytes | None]]  # cache of `ElementActions.new_element`
    outcomes: dict[Condition, dict[bytes, Outcome]]  # of pieces, by their bytes
    judged: "dict[Condition, ElementActions]"  # of files that may go on, by what they say of themselves
    marks: dict[tuple[bool, tuple[str, ...]], tuple[tuple[int, bytes], ...]]  # what the program writes, by its codes

    def take(self, source: ParsedFile) -> bool:
        """Take the names of one file; whether any is new, which makes earlier answers void."""
        grown = self.names.take(source)
        if grown:
            self.answers.clear()
            self.outcomes.clear()
            self.judged.clear()
        return grown


def make_study_context(
    profile: Profile, pseudonyms: Pseudonyms, identity: Identity, *, searched: bool = False
) -> StudyContext:
    """Everything a study's files need, asked once."""
    kept = {tag for tag in IDENTIFIER_TAGS if profile.action(tag) is Action.KEEP}  # what may stay identifies nobody
    naming, dated = (IDENTIFIER_TAGS - kept) | profile.naming, profile.dated
    return StudyContext(
        profile=profile,
        pseudonyms=pseudonyms,
        identity=identity,
        pseudonym=pseudonyms.patient(identity),
        shift_days=pseudonyms.shift_days(identity),
        searched=searched,
        known=known_forms(profile),
        deny=profile.denied,
        reading=Reading(profile.sequences, FACTS, naming | dated, (Runs(), Runs()), Metas()),
        staying=profile.staying,
        names=StudyIdentifiers(naming, (identity.patient_id, identity.issuer), dated),
        answers={},
        outcomes={},
        judged={},
        marks={},
    )


class ElementActions:
    """The values of one file, or of an item with a character set of its own.

    Args:
        subject: what the file shares with its study.
        facts: what the file says of itself.
        kind: its kind of image.
        explicit: how its elements are written.
        encapsulated: whether its pixel data are compressed frames.
    """

    def __init__(
        self, subject: StudyContext, facts: Elements, kind: str, *, explicit: bool, encapsulated: bool = False
    ) -> None:
        self._subject = subject
        self._kind = kind
        self._explicit = explicit
        self._encodings = encodings_of(bytes_of(facts, CHARACTER_SET))
        # Private elements mean what their creators say, and what an age tells depends on the study's date.
        creators = [(tag, bytes_of(facts, tag)) for tag in facts if tag >> 16 & 1]
        self._study_date = bytes_of(facts, _STUDY_DATE).decode("latin-1")
        self.without_use = without_use(facts, encapsulated=encapsulated)
        self._context = (kind, explicit, self._study_date, self.without_use, *creators)
        self._answers = self._recall()
        self._outcomes = subject.outcomes.setdefault((self._encodings, *self._context), {})

    def _recall(self) -> dict[tuple[int, str, str, bytes], bytes | None]:
        """What was answered before under the same conditions."""
        return self._subject.answers.setdefault((self._encodings, *self._context), {})

    def of_item(self, character_set: bytes) -> Self:
        """The same for an item: itself, unless the item names another character set."""
        encodings = encodings_of(character_set) if character_set else self._encodings
        if encodings == self._encodings:
            return self
        other = copy(self)
        other._encodings = encodings  # noqa: SLF001 -- a copy of this very class
        other._answers = other._recall()  # noqa: SLF001 -- likewise
        return other

    def new_element(self, rule: Rule, vr: str, raw: bytes) -> bytes | None:
        """One new element, encoded; None if it goes. Raises `DicomUnsupported` where it cannot be told.

        Most elements of a series' files are alike, so that the answer is one that was given before.
        """
        key = (rule.tag, rule.keyword, vr, raw)  # a private tag means what its creator says
        if key in self._answers:
            return self._answers[key]
        new_vr = vr if vr in rule.vrs else _vr(rule, vr, explicit=self._explicit)
        value = self.new_value(rule, new_vr, raw) if new_vr else None
        if value is None or (vr == "UN" and not is_of(new_vr, value)):
            told = vr not in {"", "UN"} or len(rule.vrs) == 1
            if told and raw.strip(_PADDING) and self._kind in rule.required:
                raise unsupported("malformed-value", rule.keyword)
            new = None
        else:
            new = encode(rule.tag, new_vr, value, explicit=self._explicit)
        if len(raw) <= _SHORT:
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            self._answers[key] = new
        return new

    def remember(self, piece: ElementRun, outcome: Outcome) -> None:
        """Keep what became of a piece for the next file that has it."""
        if piece.raw:
            if len(self._outcomes) >= _MOST_ANSWERS:
                self._outcomes.clear()
            self._outcomes[piece.raw] = outcome

    def recall(self, piece: ElementRun) -> Outcome | None:
        """What became of a piece in an earlier file."""
        return self._outcomes.get(piece.raw)

    def new_value(self, rule: Rule, vr: str, raw: bytes) -> bytes | None:
        """The new raw value of one element, None if it goes. Raises `DicomUnsupported` where it cannot be told."""
        match rule.action:
            case Action.KEEP:
                new = self._keep(rule, vr, raw)
            case Action.UID:
                new = self._uid(raw)
            case Action.SHIFT:
                new = self._shift(rule, raw)
            case Action.BIRTH:
                new = self._birth(rule, raw)
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
            new = raw if is_of_length(rule.tag, vr, raw) and not self._spells(raw) else None
        elif vr == "CS" and not has_form(vr, raw):
            new = self._emptied(rule)
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

    def _spells(self, raw: bytes) -> bool:
        """Whether the bytes of a few numbers spell a name or number of the patient; tables are too long to tell."""
        if not _TELLING <= len(raw) <= _SHORT:
            return False
        text = raw.decode("latin-1").casefold()
        return any(form in text for form in self._subject.names.identifiers.inside)

    def _number(self, rule: Rule, vr: str, raw: bytes) -> bytes:
        """A number or time of the right form stays; stops where another one cannot be left empty."""
        values = raw.rstrip(_PADDING).split(b"\\")
        form = _FORMS[vr].fullmatch
        for value in values:
            if not form(value.rstrip(_PADDING)) or (len(value) >= _TELLING and self._is_own_number(vr, value)):
                break
        else:
            return raw
        if self._kind in rule.required and raw.strip(_PADDING):
            raise unsupported("malformed-value", rule.keyword)
        return b""

    def _is_own_number(self, vr: str, value: bytes) -> bool:
        """Whether a number is one of the patient's or a date: some series bear the PatientID as SeriesNumber."""
        identifiers = self._subject.names.identifiers
        text = value.decode()
        for form in (text.strip(" \0"), _digits(text)):
            # A time of day may be six digits of a date by chance.
            dated = vr != "TM" and form in identifiers.dates
            if len(form) >= _TELLING and (dated or form in identifiers.numbers):
                return True
        return False

    def _uid(self, raw: bytes) -> bytes:
        """Each UID mapped; what the Standard registers stays (PS3.6 Annex A)."""
        text = raw.decode("latin-1")
        if "\\" not in text:
            return self._one_uid(text.strip(" \0")).encode()
        return "\\".join(self._one_uid(value.strip(" \0")) for value in text.split("\\")).encode()

    def _one_uid(self, value: str) -> str:
        return value if not value or value in UID_dictionary else self._subject.pseudonyms.uid(value)

    def _shift(self, rule: Rule, raw: bytes) -> bytes:
        if not raw.strip(_PADDING):
            return b""
        needed = self._kind in rule.required
        new = shift_values(raw.decode("latin-1"), self._subject.shift_days, complete=needed)
        if new is None:
            raise unsupported("invalid-date", rule.keyword)
        return new.encode()

    def _birth(self, rule: Rule, raw: bytes) -> bytes:
        """Shifted, unless with the study's date it tells an age over 89, before or after the shift, or none at all."""
        birth, days = raw.decode("latin-1"), self._subject.shift_days
        dates = [(one, shift_values(one, days, complete=False) or "") for one in (birth, self._study_date)]
        ages = [years_between(*pair) for pair in zip(*dates, strict=True)]  # leap days may make a day's difference
        return self._shift(rule, raw) if all(age is not None and age <= _OLDEST for age in ages) else b""

    def _age(self, raw: bytes) -> bytes:
        value = raw.strip(_PADDING)
        found = _AGE.fullmatch(value)
        if found is None:
            if value:
                raise unsupported("malformed-age", "PatientAge")
            return b""
        return b"090Y" if found.group(2) == b"Y" and int(found.group(1)) > _OLDEST else value

    def _text(self, rule: Rule, raw: bytes, *, describe: bool) -> bytes:
        """Descriptions lose what identifies; any other text that holds an identifier is emptied whole."""
        if describe and len(raw) > _LONGEST_DESCRIPTION:
            return self._emptied(rule)
        identifiers = self._subject.names.identifiers
        text = decode(raw, self._encodings)
        if describe:
            new = "\\".join(self._clean(value, identifiers) for value in text.split("\\"))
        else:
            hidden = _UID_IN_TEXT.search(text) or _CONTACT.search(text)
            new = "" if hidden else cut(text, identifiers, self._subject.known, description=False)
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


def has_form(vr: str, raw: bytes) -> bool:
    """Whether each of the values has the form of its representation, so that no text travels as a number or code."""
    return all(_FORMS[vr].fullmatch(value.rstrip(_PADDING)) for value in raw.rstrip(_PADDING).split(b"\\"))


def _digits(value: str) -> str:
    """A number without sign, leading zeros and a fraction of zeros; empty for one that is not whole."""
    found = _WHOLE_NUMBER.fullmatch(value)
    return found.group(1) if found else ""


def _vr(rule: Rule, found: str, *, explicit: bool) -> str:
    """The one to write where the table has not the file's; empty if that contradicts it or it cannot be told."""
    if rule.action is Action.EMPTY and rule.vrs & FREE_TEXT:
        return min(rule.vrs)
    if found in {"", "UN"}:
        one = len(rule.vrs) == 1
        return min(rule.vrs) if one or not explicit else ""
    return ""
