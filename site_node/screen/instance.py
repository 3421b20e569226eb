"""Rules for each instance by itself: modality, localizer, axial orientation, body region, projection."""

import re
from fnmatch import fnmatchcase
from functools import lru_cache
from math import cos, hypot, radians
from typing import Literal

from shared.protocol.criteria import Criteria, LocalizerRule, ModalityRule, OrientationRule, RegionRule, ViewRule, Words
from site_node.screen.facts import Facts
from site_node.screen.reasons import reason
from site_node.study import Reason

_LOCALIZER_VALUE = 2  # ImageType value 3, counted from 0
Vote = Literal["yes", "no", "both", "silent"]


def check_instance(facts: Facts, criteria: Criteria) -> tuple[Reason, ...]:
    """The reasons of every instance-level rule; with a wrong modality no other rule applies."""
    wrong = check_modality(facts, criteria.modality)
    if wrong:
        return wrong
    reasons: tuple[Reason, ...] = ()
    if criteria.localizer and facts.modality in criteria.localizer.modalities:
        reasons += check_localizer(facts, criteria.localizer)
    if criteria.orientation and facts.modality in criteria.orientation.modalities and not reasons:
        reasons += check_orientation(facts, criteria.orientation)
    if criteria.view and facts.modality in criteria.view.modalities:
        reasons += check_view(facts, criteria.view)
    return reasons + (check_region(facts, criteria.region) if criteria.region else ())


def check_modality(facts: Facts, rule: ModalityRule) -> tuple[Reason, ...]:
    """Modality and SOP class are accepted ones."""
    if facts.modality not in rule.allowed:
        return reason(rule.other, "modality", "Modality")
    if facts.sop_class not in rule.sop_classes:
        return reason(rule.other, "sop-class", "SOPClassUID")
    return ()


def check_localizer(facts: Facts, rule: LocalizerRule) -> tuple[Reason, ...]:
    """Value 3 of ImageType says localizer."""
    if len(facts.image_type) > _LOCALIZER_VALUE and facts.image_type[_LOCALIZER_VALUE] in rule.image_type:
        return reason(rule.outcome, "localizer", "ImageType")
    return ()


def check_orientation(facts: Facts, rule: OrientationRule) -> tuple[Reason, ...]:
    """Every frame's normal lies within the tolerance of the patient's z axis."""
    attribute = "ImageOrientationPatient"
    reasons: tuple[Reason, ...] = ()
    orientations = {frame.orientation for frame in facts.slices}
    usable = [orientation for orientation in orientations if orientation is not None and _spans_plane(orientation)]
    if len(usable) < len(orientations):
        reasons += reason(rule.missing, "orientation-missing", attribute)
    limit = cos(radians(rule.tolerance_degrees))
    if any(abs(normal_of(orientation)[2]) < limit for orientation in usable):
        reasons += reason(rule.oblique, "not-axial", attribute)
    return reasons


def normal_of(orientation: tuple[float, ...]) -> tuple[float, float, float]:
    """The unit normal of a plane given by its row and column direction cosines (PS3.3 C.7.6.2.1.1)."""
    a, b, c, d, e, f = orientation
    x, y, z = b * f - c * e, c * d - a * f, a * e - b * d
    size = hypot(x, y, z) or 1.0
    return x / size, y / size, z / size


def _spans_plane(orientation: tuple[float, ...]) -> bool:
    """Whether the two directions span a plane."""
    a, b, c, d, e, f = orientation
    return hypot(b * f - c * e, c * d - a * f, a * e - b * d) > 0.5


def words_of(text: str) -> frozenset[str]:
    """Upper-case words of a description; digits, signs and underscores separate them."""
    return frozenset(re.findall(r"[^\W\d_]+", text.upper()))


@lru_cache(maxsize=256)  # the files of a series have the same words
def _match(words: frozenset[str], patterns: Words) -> bool:
    return any(fnmatchcase(word, pattern) for word in words for pattern in patterns)


def _vote(words: frozenset[str], yes: Words, no: Words) -> Vote:
    says_yes, says_no = _match(words, yes), _match(words, no)
    return "both" if says_yes and says_no else "yes" if says_yes else "no" if says_no else "silent"


def check_region(facts: Facts, rule: RegionRule) -> tuple[Reason, ...]:
    """BodyPartExamined, coded regions and the descriptions agree on the required region; each is often wrong."""
    part = words_of(facts.body_part)
    squeezed = "".join(re.findall(r"\w+", facts.body_part.replace("_", "")))
    description = words_of(f"{facts.study_text} {facts.series_text}")
    part_yes = squeezed in rule.body_parts or _match(part, rule.words)
    vote = _vote(description, rule.words, rule.other_words + tuple(part))
    shows_region = part_yes or bool(facts.codes & set(rule.codes)) or vote in {"yes", "both"}
    if not shows_region and not part and vote == "silent":
        return reason(rule.missing, "region-unknown", "BodyPartExamined")
    if shows_region and ((part and not part_yes) or vote == "no"):
        return reason(rule.conflict, "region-conflict", "BodyPartExamined")
    if shows_region:
        return ()
    if vote == "silent":  # a body part alone is wrong too often to exclude by
        return reason(rule.conflict, "region-unlikely", "BodyPartExamined")
    return reason(rule.elsewhere, "region", "BodyPartExamined")


def check_view(facts: Facts, rule: ViewRule) -> tuple[Reason, ...]:
    """The projection is an accepted one; where no attribute says it, the descriptions may."""
    described = _vote(words_of(facts.series_text), rule.accepted_words, rule.rejected_words)
    stated = _stated_view(facts, rule)
    if stated == "yes" and described == "no":
        return reason(rule.conflict, "view-conflict", "ViewPosition")
    if stated == "silent":
        stated = described
    if stated == "silent":
        stated = _vote(words_of(facts.study_text), rule.accepted_words, rule.rejected_words)
    if stated == "yes":
        return ()
    if stated == "no":
        return reason(rule.other_view, "view", "ViewPosition")
    return reason(rule.missing, "view-unknown", "ViewPosition")


def _stated_view(facts: Facts, rule: ViewRule) -> Vote:
    position = "yes" if facts.view in rule.accepted else "no" if facts.view in rule.rejected else "silent"
    if position != "silent":
        return "yes" if position == "yes" else "no"
    if facts.view_codes & set(rule.rejected_codes):
        return "no"
    return "yes" if facts.view_codes & set(rule.accepted_codes) else "silent"
