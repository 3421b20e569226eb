"""What a profile's actions do to one element's raw value. Both readers call this and nothing else.

`ElementActions` answers from a cache wherever an answer depends on the raw bytes alone, since the slices of a series
differ in few elements.
"""

from typing import NamedTuple

from pydicom.uid import UID_dictionary

from shared.protocol.profile import FREE_TEXT, Action, Rule
from shared.protocol.vr import FORMS, LONGEST, WORD_SIZES
from site_node.deidentify.characters import decode, defined_terms, encode_text
from site_node.deidentify.context import StudyContext
from site_node.deidentify.date_shift import shift_values, years_between
from site_node.deidentify.hidden_bytes import is_of_length
from site_node.deidentify.identifiers import Encodings
from site_node.deidentify.numbers import TELLING, is_beyond, numbers_in, unpacked, words_of
from site_node.deidentify.patient_age import OLDEST, new_age
from site_node.deidentify.reasons import unsupported
from site_node.deidentify.value_forms import PADDING, is_standard, mended
from site_node.dicom.elements import ElementRun, encode

CHARACTER_SET = 0x00080005
_SHORT = 256  # bytes of a value worth remembering
_LONGEST_TEXT = 65_536  # bytes
_PROSE = frozenset({"LT", "ST", "UT"})  # one value, which may have lines
_MAKER = "Manufacturer"  # in the keywords of the names of makers and their models
_MOST_ANSWERS = 20_000  # remembered under one condition at once
_DUMMY = b"REMOVED "  # where Type 1 asks for some text (PS3.15 Table E.1-1a, D)
_TEXT = frozenset({"CS", "LO", "SH"})
_DUMMY_FOR = _TEXT | {"LT", "PN", "ST", "UC", "UT"}
_WORD = 4  # bytes that may spell a name
_MENDED = frozenset({"CS", "DS", "IS"})
Notes = frozenset[tuple[str, str]]
NO_NOTES: Notes = frozenset()


class NewElement(NamedTuple):
    """One new element, encoded, `None` if it is removed, and the codes and attributes of what was mended."""

    encoded: bytes | None
    notes: Notes = NO_NOTES


class Outcome(NamedTuple):
    """The outcome of one run: encoded elements by first tag, and the codes of what was done to them."""

    parts: tuple[tuple[int, bytes], ...]
    claims: frozenset[str]
    notes: Notes = NO_NOTES


class Condition(NamedTuple):
    """All that an element's new form depends on besides its own bytes and its rule."""

    context: StudyContext
    kind: str  # of image
    explicit: bool  # how elements are written
    encodings: Encodings
    study_date: str  # with it a date of birth tells an age
    age: bytes  # the new PatientAge
    unused_tables: frozenset[int]
    creators: tuple[tuple[int, bytes], ...]  # private elements mean what these say


class ElementActions:
    """The actions on elements under one condition, and their outcomes so far."""

    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self._context = condition.context
        self._kind = condition.kind
        self._explicit = condition.explicit
        self._encodings = condition.encodings
        self._identifiers = condition.context.identifiers
        self._telling = self._identifiers.telling()
        dates = self._identifiers.dates
        self._numbers = self._identifiers.numbers | dates | {digits.lstrip("0") for digits in dates}
        self._answers: dict[tuple[int, str, bytes], NewElement] = {}
        self._outcomes: dict[bytes, Outcome] = {}

    def new_element(self, rule: Rule, vr: str, raw: bytes) -> NewElement:
        """One new element, without bytes if it is removed. Raises `DicomUnsupported` if a required one is lost.

        Most elements of a series' files are alike, so that most answers come from the cache.
        """
        key = (id(rule), vr, raw)  # the rule lives as long as the context's profile; a private tag may have several
        if key in self._answers:
            return self._answers[key]
        new_vr = vr if vr in rule.vrs else _vr(rule, vr, explicit=self._explicit)
        value = self.new_value(rule, new_vr, raw) if new_vr else None
        if value is None or (vr == "UN" and not is_standard(new_vr, value)):
            known_vr = vr not in {"", "UN"} or len(rule.vrs) == 1
            if known_vr and raw.strip(PADDING) and self._kind in rule.required:
                raise unsupported("malformed-value", rule.keyword)
            new = NewElement(None)
        else:
            notes = _notes(rule, new_vr, raw, value)
            new = NewElement(encode(rule.tag, new_vr, value, explicit=self._explicit), notes)
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
            case Action.CLEAN | Action.DEVICE:
                new = self._text(rule, vr, raw)
            case Action.PATIENT:
                new = self._context.pseudonym.encode()
            case Action.ACCESSION:
                new = self._context.pseudonyms.accession(decode(raw, self._encodings)).encode()
            case Action.AGE:
                new = new_age(raw)
            case Action.EMPTY:
                new = self._emptied(rule)
            case _:
                new = None
        return new

    def _keep(self, rule: Rule, vr: str, raw: bytes) -> bytes | None:
        """What `keep` means for each value representation: the form is checked, so that nothing hides in it."""
        if rule.tag == CHARACTER_SET:
            new: bytes | None = "\\".join(defined_terms(raw)).encode()
        elif vr in WORD_SIZES:
            new = (
                raw if is_of_length(rule, vr, raw) and not self._spells(raw) and self._measures(rule, vr, raw) else None
            )
        elif vr == "CS":
            code = mended(rule, vr, raw)
            is_lost = raw.strip(PADDING) and not code.strip(PADDING)
            new = self._emptied(rule) if is_lost else self._text(rule, vr, code)
        elif vr in _TEXT:
            new = self._text(rule, vr, raw)
        elif vr in {"DA", "DT"}:
            new = self._shift(rule, raw)
        elif vr == "UI":
            new = self._uid(raw)
        elif vr in FORMS:
            new = self._number(rule, vr, raw)
        else:
            new = raw if vr == "OB" else None
        return new

    def _spells(self, raw: bytes) -> bool:
        """Whether the bytes of a few numbers spell a name or number of the patient; tables are too long to judge."""
        if not _WORD <= len(raw) <= _SHORT:
            return False
        text = raw.decode("latin-1").casefold()
        return any(form in text for form in self._telling)

    def _measures(self, rule: Rule, vr: str, raw: bytes) -> bool:
        """Whether binary numbers may be measured ones, and none is one of the patient's or a date."""
        numbers = tuple(unpacked(vr, raw))
        if not numbers:
            return True
        size, own = WORD_SIZES[vr], words_of(vr, self._numbers)
        is_own = any(raw[at : at + size] in own for at in range(0, len(raw), size))
        return not is_own and not is_beyond(rule, numbers)

    def _number(self, rule: Rule, vr: str, raw: bytes) -> bytes:
        """What is no number or time of the right form goes, and what may be somebody's; refused where required."""
        new = mended(rule, vr, raw, lambda value: self._is_own_number(rule, vr, value))
        whole = [value.strip() for value in new.split(b"\\")]
        ends = range(2, len(whole) + 1) if len(raw) <= _SHORT else ()
        runs = (
            b"".join(whole[at:end]) for end in ends for at in range(end - 1) if all(map(bytes.isdigit, whole[at:end]))
        )
        if any(len(run) >= TELLING and run.decode() in self._identifiers.numbers for run in runs):  # split over values
            new = b""
        if not new.strip(PADDING) and self._kind in rule.required and raw.strip(PADDING):
            raise unsupported("malformed-value", rule.keyword)
        return new

    def _is_own_number(self, rule: Rule, vr: str, value: bytes) -> bool:
        """Whether a number is one of the patient's, a date or beyond all measure: some SeriesNumbers are PatientIDs."""
        if len(value) < TELLING:
            return False
        text = value.decode("latin-1")
        # A time of day may be six digits of a date by chance.
        own = self._identifiers.numbers if vr == "TM" else self._numbers
        is_own = any(len(shown) >= TELLING and shown in own for shown in numbers_in(text))
        return is_own or (vr in {"DS", "IS"} and is_beyond(rule, (float(text),)))

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
        dates = [(text, shift_values(text, days, complete=False) or "") for text in (birth, self.condition.study_date)]
        ages = [years_between(*pair) for pair in zip(*dates, strict=True)]  # leap days may make a day's difference
        return self._shift(rule, raw) if all(age is not None and age <= OLDEST for age in ages) else b""

    def _text(self, rule: Rule, vr: str, raw: bytes) -> bytes:
        """What is left of a text, value by value, in the file's character set."""
        if len(raw) > _LONGEST_TEXT:
            return self._emptied(rule)
        text, judge = decode(raw.rstrip(PADDING), self._encodings), self._context.text_rule
        values = [text] if vr in _PROSE else text.split("\\")
        longest = LONGEST.get(vr, _LONGEST_TEXT)
        if vr == "CS":
            left = [judge.code(value) for value in values]
        elif _MAKER in rule.keyword:
            left = [judge.maker(value, longest=longest) for value in values]
        elif rule.action is Action.DEVICE:
            left = [judge.declared(value) for value in values]
        else:
            termed = rule.keyword in self._context.profile.vocabulary.rules.terms.attributes
            left = [judge.remains(value, longest=longest, prose=vr in _PROSE, termed=termed) for value in values]
        new = "\\".join(left)
        if new == text:
            return raw
        encoded = encode_text(new.rstrip("\\"), self._encodings) if any(left) else None
        return encoded or self._emptied(rule)

    def _emptied(self, rule: Rule) -> bytes:
        """Nothing, or the dummy where Type 1 asks for a text."""
        return _DUMMY if self._kind in rule.required and rule.vrs & _DUMMY_FOR else b""


def _notes(rule: Rule, vr: str, raw: bytes, new: bytes) -> Notes:
    """Whether a kept code or number was written as it was meant, or has fewer values now."""
    if rule.action is not Action.KEEP or vr not in _MENDED or new.rstrip(PADDING) == raw.rstrip(PADDING):
        return NO_NOTES
    before, after = (sum(bool(value.strip(PADDING)) for value in text.split(b"\\")) for text in (raw, new))
    is_less = after < before or new == _DUMMY
    return frozenset({("value-left-out" if is_less else "value-mended", rule.keyword)})


def _vr(rule: Rule, vr: str, *, explicit: bool) -> str:
    """The representation to write where the table lacks the file's `vr`; empty if they clash or the choice is open."""
    if rule.action is Action.EMPTY and rule.vrs & FREE_TEXT:
        return min(rule.vrs)
    if vr in {"", "UN"} and (len(rule.vrs) == 1 or not explicit):
        return min(rule.vrs)
    return ""
