"""What is the same for every file of a study, known once the names in all its files are known."""

from dataclasses import dataclass
from functools import cached_property

from shared.ids import PatientPseudonym
from shared.protocol.profile import Action, Profile
from shared.protocol.search_terms import search_terms
from site_node.deidentify.identifiers import Identifiers, StudyIdentifiers
from site_node.deidentify.text import TextRule
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Identity, StudyTexts


@dataclass(frozen=True, eq=False)
class StudyContext:
    """The rules, whose study it is, and all that its files name. It never changes, so no answer grows old. PHI.

    Two contexts are never equal: what is remembered under one means nothing under another.
    """

    profile: Profile
    pseudonyms: Pseudonyms
    identity: Identity
    study_instance_uid: str
    identifiers: Identifiers
    searched: bool = False  # whether the pixels are searched for text later
    accepted: frozenset[str] = frozenset()  # words that the site lets pass besides the public ones

    @cached_property
    def pseudonym(self) -> PatientPseudonym:
        """The patient's pseudonym."""
        return self.pseudonyms.patient(self.identity)

    @cached_property
    def text_rule(self) -> TextRule:
        """What of a text may leave."""
        return TextRule(self.profile.vocabulary, self.identifiers, self.accepted)

    def texts(self) -> StudyTexts:
        """What the home keeps of the study's texts, once all its files are judged."""
        return StudyTexts(self.identity, self.identifiers.names, self.text_rule.unlisted())

    @cached_property
    def shift_days(self) -> int:
        """How far back the patient's dates go."""
        return self.pseudonyms.shift_days(self.identity)


_DECLARED = frozenset({Action.KEEP, Action.DEVICE})  # what stays as it is names nobody


def naming_tags(profile: Profile) -> frozenset[int]:
    """The tags that may name or number somebody; what the profile keeps as it is identifies nobody."""
    listed = search_terms().tags.identifying
    return frozenset(tag for tag in listed if profile.action(tag) not in _DECLARED) | profile.name_tags


def study_identifiers(profile: Profile, identity: Identity) -> StudyIdentifiers:
    """The collection of what a study's files name, in which the patient's own number and its issuer stand already."""
    return StudyIdentifiers(naming_tags(profile), (identity.patient_id, identity.issuer), profile.date_tags)
