"""What the screen says, one object for each series and one for its study: `ricord-site screen FOLDER --json`.

`{"study", "series", "outcome", "reasons": [{"code", "severity", "attribute", "message", "instance"?}]}`; of the study's
own object the series is null. UIDs are the hospital's own: PHI.
"""

from collections.abc import Iterable, Sequence
from typing import IO, Any

from pydantic import Field

from shared.frozen import Frozen
from shared.protocol.criteria import Criteria
from site_node.dicom.attributes import read_attributes
from site_node.screen.decide import Assessment, SeriesAssessment
from site_node.screen.reasons import worst
from site_node.study import Reason, Severity

Line = dict[str, Any]
NOT_CHECKED = "not_checked"
_NAMES = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


class UnassignedFile(Frozen):
    """A file that was refused on the way in although it says what study it is of; a person must know. PHI."""

    study: str = Field(repr=False, min_length=1)
    series: str = Field(repr=False)  # empty where it does not say
    instance: str = Field(repr=False)
    reason: Reason


def unassigned_file(stream: IO[bytes], reason: Reason) -> UnassignedFile | None:
    """Of which study and series a refused file is, as far as it can be read; `None` where it does not say."""
    read = read_attributes(stream, *_NAMES)
    study, series, instance = (read.get(name, "") for name in _NAMES)
    held = reason.model_copy(update={"severity": Severity.REVIEW})
    return UnassignedFile(study=study, series=series, instance=instance, reason=held) if study else None


def study_lines(
    found: Assessment,
    criteria: Criteria,
    *,
    checked: bool,
    held: Reason | None = None,
    strays: Sequence[UnassignedFile] = (),
) -> list[Line]:
    """The objects of one study.

    Args:
        found: what the rules say of it.
        criteria: the rules.
        checked: whether there was a clinical sheet; without one its rules say `not_checked`, which decides nothing.
        held: why a person must see the study before anything else, if so.
        strays: refused files of this study.
    """
    study = found.study.study_instance_uid
    lines = [_series_line(study, one, [stray for stray in strays if _is_of(stray, one)]) for one in found.series]
    known = {one.series_instance_uid for one in found.series}
    lines += stray_series(study, [stray for stray in strays if stray.series not in known])
    own = [*([held] if held else []), *found.all_reasons, *(stray.reason for stray in strays)]
    outcome = found.outcome
    if outcome is not Severity.REJECT and (held or strays):
        outcome = Severity.REVIEW
    unasked = [] if checked else _not_checked(criteria)
    return [*lines, _line(study, None, outcome, [*map(_plain, dict.fromkeys(own)), *unasked])]


def unassigned_lines(study: str, criteria: Criteria, strays: Sequence[UnassignedFile], *, checked: bool) -> list[Line]:
    """The objects of a study of which every file was refused."""
    reasons = [_plain(reason) for reason in dict.fromkeys(stray.reason for stray in strays)]
    unasked = [] if checked else _not_checked(criteria)
    return [*stray_series(study, strays), _line(study, None, Severity.REVIEW, [*reasons, *unasked])]


def stray_series(study: str, strays: Iterable[UnassignedFile]) -> list[Line]:
    """An object for each series of which every file was refused."""
    by_series: dict[str, list[Line]] = {}
    for stray in strays:
        if stray.series:
            by_series.setdefault(stray.series, []).append(_plain(stray.reason, stray.instance))
    return [_line(study, series, Severity.REVIEW, reasons) for series, reasons in sorted(by_series.items())]


def _is_of(stray: UnassignedFile, series: SeriesAssessment) -> bool:
    return stray.series == series.series_instance_uid


def _series_line(study: str, series: SeriesAssessment, strays: Sequence[UnassignedFile]) -> Line:
    """Reasons of the series, and of each image left out or refused with that image's UID."""
    reasons = [_plain(reason) for reason in series.reasons]
    for left in series.left_out:
        reasons += [_plain(reason, left.instance.sop_instance_uid) for reason in left.reasons]
    reasons += [_plain(stray.reason, stray.instance) for stray in strays]
    outcome = series.outcome
    if outcome is not Severity.REJECT:
        outcome = worst([*series.reasons, *(stray.reason for stray in strays)])
    return _line(study, series.series_instance_uid, outcome, reasons)


def _not_checked(criteria: Criteria) -> list[Line]:
    """What only a sheet could answer, of what the criteria ask."""
    asked = []
    if criteria.covid:
        asked.append(("covid-status", "No clinical sheet was given, so the COVID-19 status was not checked."))
    if criteria.linkage:
        asked.append(("linkage", "No clinical sheet was given, so the link to a clinical row was not checked."))
    return [{"code": code, "severity": NOT_CHECKED, "attribute": None, "message": text} for code, text in asked]


def _line(study: str, series: str | None, outcome: Severity, reasons: list[Line]) -> Line:
    return {"study": study, "series": series, "outcome": outcome.value, "reasons": reasons}


def _plain(reason: Reason, instance: str = "") -> Line:
    return reason.model_dump(mode="json") | ({"instance": instance} if instance else {})
