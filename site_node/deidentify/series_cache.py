"""What the files of a study have in common, so that what repeats is neither parsed nor judged again."""

from collections.abc import Hashable
from typing import NamedTuple

from shared.protocol.profile import Profile
from site_node.deidentify.actions import CHARACTER_SET, Condition, ElementActions
from site_node.deidentify.characters import encodings_of
from site_node.deidentify.context import StudyContext, naming_tags
from site_node.deidentify.fast_reader import Reading
from site_node.deidentify.hidden_bytes import unused_tables
from site_node.deidentify.kinds import BIRTH_DATE, FACTS, INSTANCE, PATIENT_AGE, check_subject, kind_of
from site_node.deidentify.native_pixels import NativePixels, native_pixels
from site_node.deidentify.patient_age import new_age
from site_node.deidentify.shapes import FileMetas, Shapes
from site_node.dicom.elements import ParsedFile, bytes_of

_STUDY_DATE = 0x00080020
_MOST_KINDS_OF_FILE = 20_000  # remembered at once


class KnownFile(NamedTuple):
    """What is done with a file's elements, and what its native pixels are; None of compressed ones."""

    actions: ElementActions
    native: NativePixels | None


class SeriesCache:
    """What was learned from the files so far.

    **Law: no file's new bytes depend on it.** Files of any patients, studies, series and profiles, in any order and
    any number of times through one cache, end as each would with a new one. It holds because nothing here is ever
    changed or made invalid: an answer is kept under everything that it was derived from, which is

    - for parsed elements, their bytes in the file, the VR encoding, and the profile's tags (`Reading`);
    - for a file that may go on, its study's context and all that it says of itself but its SOPInstanceUID;
    - for an element's new form, its `Condition`, the rule and the element's bytes;
    - for the program's own marks, the context, the VR encoding and the codes.

    What cannot be compared by value, a context or a sequence that was read, is compared by identity and kept alive.
    """

    def __init__(self) -> None:
        self.marks: dict[tuple[StudyContext, bool, tuple[str, ...]], tuple[tuple[int, bytes], ...]] = {}
        self._readings: dict[Hashable, Reading] = {}
        self._by_facts: dict[Hashable, KnownFile] = {}
        self._by_condition: dict[Condition, ElementActions] = {}

    def reading(self, profile: Profile) -> Reading:
        """What a reader has to know of a profile and of the files before."""
        tags = profile.sequence_tags, naming_tags(profile) | profile.date_tags
        if tags not in self._readings:
            sequences, naming = tags
            self._readings[tags] = Reading(sequences, FACTS, naming, (Shapes(), Shapes()), FileMetas())
        return self._readings[tags]

    def known(self, context: StudyContext, parsed: ParsedFile) -> KnownFile:
        """What a file's own facts say of it; raises `DicomUnsupported` if it may not go on."""
        facts = (fact for fact in parsed.facts.items() if fact[0] != INSTANCE)  # with their tags: values may be alike
        key = (context, parsed.explicit, parsed.syntax, parsed.encapsulated, parsed.pixels is None, *facts)
        known = self._by_facts.get(key)
        if known is None:
            kind = kind_of(parsed.facts, context.profile, searched=context.searched)
            check_subject(parsed.facts, context.identity, context.study_instance_uid)
            if len(self._by_facts) >= _MOST_KINDS_OF_FILE:
                self._by_facts.clear()
            native = None if parsed.encapsulated or parsed.pixels is None else native_pixels(parsed.facts)
            known = self._by_facts[key] = KnownFile(self._actions(_condition_of(context, parsed, kind)), native)
        return known

    def inside(self, actions: ElementActions, character_set: bytes) -> ElementActions:
        """The actions in an item that names a character set, of a data set that has `actions`."""
        if not character_set:
            return actions
        return self._actions(actions.condition._replace(encodings=encodings_of(character_set)))

    def _actions(self, condition: Condition) -> ElementActions:
        actions = self._by_condition.get(condition)
        if actions is None:
            actions = self._by_condition[condition] = ElementActions(condition)
        return actions


def _condition_of(context: StudyContext, parsed: ParsedFile, kind: str) -> Condition:
    facts = parsed.facts
    birth, day = (bytes_of(facts, tag).decode("latin-1") for tag in (BIRTH_DATE, _STUDY_DATE))
    return Condition(
        context=context,
        kind=kind,
        explicit=parsed.explicit,
        encodings=encodings_of(bytes_of(facts, CHARACTER_SET)),
        study_date=day,
        age=new_age(bytes_of(facts, PATIENT_AGE), birth, day),
        unused_tables=unused_tables(facts, encapsulated=parsed.encapsulated),
        creators=tuple((tag, bytes_of(facts, tag)) for tag in facts if tag >> 16 & 1),
    )
