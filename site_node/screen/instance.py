"""Rules that one instance answers alone: modality, localizer, axial orientation, body region, projection."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from math import cos, hypot, radians
from typing import Literal

from shared.protocol.criteria import Criteria, LocalizerRule, ModalityRule, OrientationRule, RegionRule, ViewRule, Words
from site_node.screen.facts import Facts
from site_node.screen.reasons import reason
from site_node.study import Reason

_LOCALIZER_VALUE = 2  # ImageType value 3, counted from 0
Vote = Literal["yes", "no", "both", "silent"]


def check_instance(facts: Facts, criteria: Criteria) -> tuple[Reason, ...]:
    """Everything the instance-level rules say of one instance; a wrong modality ends the questions."""
    wrong = check_modality(facts, criteria.modality)
    if wrong:
        return wrong
    found: tuple[Reason, ...] = ()
    if criteria.localizer and facts.modality in criteria.localizer.modalities:
        found += check_localizer(facts, criteria.localizer)
    if criteria.orientation and facts.modality in criteria.orientation.modalities and not found:
        found += check_orientation(facts, criteria.orientation)
    if criteria.view and facts.modality in criteria.view.modalities:
        found += check_view(facts, criteria.view)
    return found + (check_region(facts, criteria.region) if criteria.region else ())


def check_modality(facts: Facts, rule: ModalityRule) -> tuple[Reason, ...]:
    """Modality and SOP class are among those taken."""
    if facts.modality not in rule.allowed:
        return reason(rule.other, "modality", "Modality", "the modality is none of those the study takes")
    if facts.sop_class not in rule.sop_classes:
        return reason(rule.other, "sop-class", "SOPClassUID", "the object is of no kind the study takes")
    return ()


def check_localizer(facts: Facts, rule: LocalizerRule) -> tuple[Reason, ...]:
    """Value 3 of ImageType says localizer."""
    if len(facts.image_type) > _LOCALIZER_VALUE and facts.image_type[_LOCALIZER_VALUE] in rule.image_type:
        return reason(rule.found, "localizer", "ImageType", "this is a localizer (scout)")
    return ()


def check_orientation(facts: Facts, rule: OrientationRule) -> tuple[Reason, ...]:
    """Every frame's normal lies within the tolerance of the patient's z axis."""
    attribute = "ImageOrientationPatient"
    found: tuple[Reason, ...] = ()
    orientations = {one.orientation for one in facts.slices}
    if any(one is None or not _is_orientation(one) for one in orientations):
        found += reason(
            rule.missing, "orientation-missing", attribute, "there is no usable orientation to see the plane by"
        )
    limit = cos(radians(rule.tolerance_degrees))
    if any(one is not None and _is_orientation(one) and abs(normal_of(one)[2]) < limit for one in orientations):
        found += reason(rule.oblique, "not-axial", attribute, "the slice is not axial")
    return found


def normal_of(orientation: tuple[float, ...]) -> tuple[float, float, float]:
    """The unit normal of a plane given by its row and column direction cosines (PS3.3 C.7.6.2.1.1)."""
    a, b, c, d, e, f = orientation
    x, y, z = b * f - c * e, c * d - a * f, a * e - b * d
    size = hypot(x, y, z) or 1.0
    return x / size, y / size, z / size


def _is_orientation(orientation: tuple[float, ...]) -> bool:
    """Two directions that span a plane."""
    a, b, c, d, e, f = orientation
    return hypot(b * f - c * e, c * d - a * f, a * e - b * d) > 0.5


def words_of(text: str) -> frozenset[str]:
    """Upper-case words of a description; digits, signs and underscores part them."""
    return frozenset(re.findall(r"[^\W\d_]+", text.upper()))


def _match(words: Iterable[str], patterns: Words) -> bool:
    return any(fnmatchcase(word, pattern) for word in words for pattern in patterns)


def _vote(words: Iterable[str], yes: Words, no: Words) -> Vote:
    for_it, against = _match(words, yes), _match(words, no)
    return "both" if for_it and against else "yes" if for_it else "no" if against else "silent"


def check_region(facts: Facts, rule: RegionRule) -> tuple[Reason, ...]:
    """BodyPartExamined, coded regions and the descriptions agree on the region wanted; each of them is often wrong."""
    part = words_of(facts.body_part)
    squeezed = "".join(re.findall(r"\w+", facts.body_part.replace("_", "")))
    said = words_of(f"{facts.study_text} {facts.series_text}")
    part_yes = squeezed in rule.body_parts or _match(part, rule.words)
    spoken = _vote(said, rule.words, rule.other_words + tuple(part))
    wanted = part_yes or bool(facts.codes & set(rule.codes)) or spoken in {"yes", "both"}
    if not wanted and not part and spoken == "silent":
        return reason(
            rule.missing, "region-unknown", "BodyPartExamined", f"nothing says that this shows the {rule.name}"
        )
    if wanted and ((part and not part_yes) or spoken == "no"):
        return reason(rule.conflict, "region-conflict", "BodyPartExamined", "body part and descriptions disagree")
    if wanted:
        return ()
    if spoken == "silent":  # a lone body part is wrong too often to exclude by
        return reason(
            rule.conflict, "region-unlikely", "BodyPartExamined", f"only the body part says: not the {rule.name}"
        )
    return reason(rule.elsewhere, "region", "BodyPartExamined", f"this does not show the {rule.name}")


def check_view(facts: Facts, rule: ViewRule) -> tuple[Reason, ...]:
    """The projection is one of those taken; where no attribute says it, the descriptions may."""
    spoken = _vote(words_of(facts.series_text), rule.accepted_words, rule.rejected_words)
    stated = _stated_view(facts, rule)
    if stated == "yes" and spoken == "no":
        return reason(rule.conflict, "view-conflict", "ViewPosition", "view position and description disagree")
    if stated == "silent":
        stated = spoken
    if stated == "silent":
        stated = _vote(words_of(facts.study_text), rule.accepted_words, rule.rejected_words)
    if stated == "yes":
        return ()
    if stated == "no":
        return reason(rule.other_view, "view", "ViewPosition", "the projection is none of those the study takes")
    return reason(rule.missing, "view-unknown", "ViewPosition", "nothing says clearly which projection this is")


def _stated_view(facts: Facts, rule: ViewRule) -> Vote:
    position = "yes" if facts.view in rule.accepted else "no" if facts.view in rule.rejected else "silent"
    if position != "silent":
        return "yes" if position == "yes" else "no"
    if facts.view_codes & set(rule.rejected_codes):
        return "no"
    return "yes" if facts.view_codes & set(rule.accepted_codes) else "silent"
