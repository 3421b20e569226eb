"""What a profile's actions do to one element's raw value. Both readers call this and nothing else.

One `StudyContext` serves a study, one `ElementActions` a file. `ElementActions` answers from a cache wherever an answer
depends on the raw bytes alone, since the slices of a series differ in few elements.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from pydicom.uid import UID_dictionary

from shared.ids import PatientPseudonym
from shared.protocol.profile import FREE_TEXT, Action, Profile, Rule
from site_node.deidentify.characters import decode, encodings_of
from site_node.deidentify.date_shift import shift_values, years_between
from site_node.deidentify.fast_reader import Reading
from site_node.deidentify.hidden_bytes import is_of_length, unused_tables
from site_node.deidentify.identifiers import TAGS as IDENTIFIER_TAGS
from site_node.deidentify.identifiers import Identifiers, StudyIdentifiers, cut, known_forms, normal
from site_node.deidentify.kinds import FACTS
from site_node.deidentify.reasons import unsupported
from site_node.deidentify.series_cache import FileMetaCache, ShapeCache
from site_node.deidentify.unknown_vr import is_of
from site_node.deidentify.value_forms import AGE, CONTACT, FORMS, PADDING, UID_IN_TEXT, digits_of, has_form
from site_node.dicom.elements import WORD_SIZES, Element, ElementRun, Elements, ParsedFile, bytes_of, encode
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
_TELLING = 4  # digits of a number that does not occur by chance
_OLDEST = 89  # years; all above are one group (45 CFR 164.514(b)(2)(i)(C))


class Outcome(NamedTuple):
    """The outcome of one run: encoded elements by first tag, and the codes of what was done to them."""

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
    known_terms: frozenset[str]  # in normal form
    deny: re.Pattern[str]
    reading: Reading
    rules: Mapping[int, Rule]  # by tag, of the table's attributes that stay
    names: StudyIdentifiers
    answers: dict[Condition, dict[tuple[int, str, str, bytes], bytes | None]]  # cache of `ElementActions.new_element`
    outcomes: dict[Condition, dict[bytes, Outcome]]  # of runs, by their bytes
    actions: "dict[Condition, ElementActions]"  # of files that may go on, by what they say of themselves
    marks: dict[tuple[bool, tuple[str, ...]], tuple[tuple[int, bytes], ...]]  # what the program writes, by its codes

    def collect_names(self, parsed: ParsedFile) -> bool:
        """Collect the names of one file; whether any is new, which voids all answers so far."""
        grown = self.names.collect(parsed)
        if grown:
            self.answers.clear()
            self.outcomes.clear()
            self.actions.clear()
        return grown


def make_study_context(
    profile: Profile, pseudonyms: Pseudonyms, identity: Identity, *, searched: bool = False
) -> StudyContext:
    """Everything that a study's files need, worked out once."""
    harmless = {tag for tag in IDENTIFIER_TAGS if profile.action(tag) is Action.KEEP}  # what may stay identifies nobody
    naming, dated = (IDENTIFIER_TAGS - harmless) | profile.name_tags, profile.date_tags
    return StudyContext(
        profile=profile,
        pseudonyms=pseudonyms,
        identity=identity,
        pseudonym=pseudonyms.patient(identity),
        shift_days=pseudonyms.shift_days(identity),
        searched=searched,
        known_terms=known_forms(profile),
        deny=profile.deny_pattern,
        reading=Reading(profile.sequence_tags, FACTS, naming | dated, (ShapeCache(), ShapeCache()), FileMetaCache()),
        rules=profile.kept_rules,
        names=StudyIdentifiers(naming, (identity.patient_id, identity.issuer), dated),
        answers={},
        outcomes={},
        actions={},
        marks={},
    )


class ElementActions:
    """The actions on the elements of one file, or of an item with a character set of its own.

    Args:
        context: what the file shares with the others of its study.
        facts: what the file says of itself.
        kind: its kind of image.
        explicit: how its elements are written.
        encapsulated: whether its pixel data are compressed frames.
    """

    def __init__(
        self, context: StudyContext, facts: Elements, kind: str, *, explicit: bool, encapsulated: bool = False
    ) -> None:
        self._context = context
        self._facts = facts
        self._kind = kind
        self._explicit = explicit
        self._encapsulated = encapsulated
        self._encodings = encodings_of(bytes_of(facts, CHARACTER_SET))
        # Private elements mean what their creators say, and what an age tells depends on the study's date.
        creators = [(tag, bytes_of(facts, tag)) for tag in facts if tag >> 16 & 1]
        self._study_date = bytes_of(facts, _STUDY_DATE).decode("latin-1")
        self.unused_tables = unused_tables(facts, encapsulated=encapsulated)
        condition = (self._encodings, kind, explicit, self._study_date, self.unused_tables, *creators)
        self._answers = context.answers.setdefault(condition, {})
        self._outcomes = context.outcomes.setdefault(condition, {})

    def of_item(self, character_set: bytes) -> "ElementActions":
        """The same for an item: itself, unless the item names another character set."""
        encodings = encodings_of(character_set) if character_set else self._encodings
        if encodings == self._encodings:
            return self
        facts = self._facts | {CHARACTER_SET: Element("CS", character_set)}
        return ElementActions(
            self._context, facts, self._kind, explicit=self._explicit, encapsulated=self._encapsulated
        )

    def new_element(self, rule: Rule, vr: str, raw: bytes) -> bytes | None:
        """One new element, encoded; None if it is removed. Raises `DicomUnsupported` where a required one is lost.

        Most elements of a series' files are alike, so that most answers come from the cache.
        """
        key = (rule.tag, rule.keyword, vr, raw)  # a private tag means what its creator says
        if key in self._answers:
            return self._answers[key]
        new_vr = vr if vr in rule.vrs else _vr(rule, vr, explicit=self._explicit)
        value = self.new_value(rule, new_vr, raw) if new_vr else None
        if value is None or (vr == "UN" and not is_of(new_vr, value)):
            known_vr = vr not in {"", "UN"} or len(rule.vrs) == 1
            if known_vr and raw.strip(PADDING) and self._kind in rule.required:
                raise unsupported("malformed-value", rule.keyword)
            new = None
        else:
            new = encode(rule.tag, new_vr, value, explicit=self._explicit)
        if len(raw) <= _SHORT:
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            self._answers[key] = new
        return new

    def remember(self, run: ElementRun, outcome: Outcome) -> None:
        """Keep the outcome of a run for the next file that has it."""
        if run.raw:
            if len(self._outcomes) >= _MOST_ANSWERS:
                self._outcomes.clear()
            self._outcomes[run.raw] = outcome

    def recall(self, run: ElementRun) -> Outcome | None:
        """The outcome of a run in an earlier file."""
        return self._outcomes.get(run.raw)

    def new_value(self, rule: Rule, vr: str, raw: bytes) -> bytes | None:
        """The new raw value of one element; None if it is removed. Raises `DicomUnsupported` as `new_element` does."""
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
                new = self._context.pseudonym.encode()
            case Action.ACCESSION:
                new = self._context.pseudonyms.accession(decode(raw, self._encodings)).encode()
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
        elif vr in FORMS:
            new = self._number(rule, vr, raw)
        elif vr in {"DA", "DT"}:
            new = self._shift(rule, raw)
        elif vr == "UI":
            new = self._uid(raw)
        else:
            new = raw if vr == "OB" else None
        return new

    def _spells(self, raw: bytes) -> bool:
        """Whether the bytes of a few numbers spell a name or number of the patient; tables are too long to judge."""
        if not _TELLING <= len(raw) <= _SHORT:
            return False
        text = raw.decode("latin-1").casefold()
        return any(form in text for form in self._context.names.identifiers.inside)

    def _number(self, rule: Rule, vr: str, raw: bytes) -> bytes:
        """A number or time of the right form stays; any other is emptied, or refused where one is required."""
        values = raw.rstrip(PADDING).split(b"\\")
        form = FORMS[vr].fullmatch
        for value in values:
            if not form(value.rstrip(PADDING)) or (len(value) >= _TELLING and self._is_own_number(vr, value)):
                break
        else:
            return raw
        if self._kind in rule.required and raw.strip(PADDING):
            raise unsupported("malformed-value", rule.keyword)
        return b""

    def _is_own_number(self, vr: str, value: bytes) -> bool:
        """Whether a number is one of the patient's or a date: some series bear the PatientID as SeriesNumber."""
        identifiers = self._context.names.identifiers
        text = value.decode()
        for form in (text.strip(" \0"), digits_of(text)):
            # A time of day may be six digits of a date by chance.
            dated = vr != "TM" and form in identifiers.dates
            if len(form) >= _TELLING and (dated or form in identifiers.numbers):
                return True
        return False

    def _uid(self, raw: bytes) -> bytes:
        """Each UID mapped; what the Standard registers stays (PS3.6 Annex A)."""
        text = raw.decode("latin-1")
        if "\\" not in text:
            return self._new_uid(text.strip(" \0")).encode()
        return "\\".join(self._new_uid(value.strip(" \0")) for value in text.split("\\")).encode()

    def _new_uid(self, value: str) -> str:
        return value if not value or value in UID_dictionary else self._context.pseudonyms.uid(value)

    def _shift(self, rule: Rule, raw: bytes) -> bytes:
        if not raw.strip(PADDING):
            return b""
        needed = self._kind in rule.required
        new = shift_values(raw.decode("latin-1"), self._context.shift_days, complete=needed)
        if new is None:
            raise unsupported("invalid-date", rule.keyword)
        return new.encode()

    def _birth(self, rule: Rule, raw: bytes) -> bytes:
        """Shifted, unless with the study's date it gives no age, or one over 89 before or after the shift."""
        birth, days = raw.decode("latin-1"), self._context.shift_days
        dates = [(text, shift_values(text, days, complete=False) or "") for text in (birth, self._study_date)]
        ages = [years_between(*pair) for pair in zip(*dates, strict=True)]  # leap days may make a day's difference
        return self._shift(rule, raw) if all(age is not None and age <= _OLDEST for age in ages) else b""

    def _age(self, raw: bytes) -> bytes:
        value = raw.strip(PADDING)
        age = AGE.fullmatch(value)
        if age is None:
            if value:
                raise unsupported("malformed-age", "PatientAge")
            return b""
        return b"090Y" if age.group(2) == b"Y" and int(age.group(1)) > _OLDEST else value

    def _text(self, rule: Rule, raw: bytes, *, describe: bool) -> bytes:
        """Descriptions lose what identifies; any other text that holds an identifier is emptied whole."""
        if describe and len(raw) > _LONGEST_DESCRIPTION:
            return self._emptied(rule)
        identifiers = self._context.names.identifiers
        text = decode(raw, self._encodings)
        if describe:
            new = "\\".join(self._clean(value, identifiers) for value in text.split("\\"))
        else:
            hidden = UID_IN_TEXT.search(text) or CONTACT.search(text)
            new = "" if hidden else cut(text, identifiers, self._context.known_terms, description=False)
        if new == text:
            return raw
        stays = describe and new.isascii() and bool(normal(new))
        return new.encode() if stays else self._emptied(rule)

    def _clean(self, value: str, identifiers: Identifiers) -> str:
        """Cut until nothing more is found: the remains of a cut may form another identifier."""
        while True:
            without = cut(value, identifiers, self._context.known_terms, description=True)
            without = self._context.deny.sub(" ", without)
            if without == value:
                return value
            value = " ".join(without.split())

    def _emptied(self, rule: Rule) -> bytes:
        """Nothing, or the dummy where Type 1 asks for a text."""
        return _DUMMY if self._kind in rule.required and rule.vrs & _DUMMY_FOR else b""


def _vr(rule: Rule, vr: str, *, explicit: bool) -> str:
    """The representation to write where the table lacks the file's `vr`; empty if they clash or the choice is open."""
    if rule.action is Action.EMPTY and rule.vrs & FREE_TEXT:
        return min(rule.vrs)
    if vr in {"", "UN"} and (len(rule.vrs) == 1 or not explicit):
        return min(rule.vrs)
    return ""
