"""The screen's output, one object for each series and one for its study: `ricord-site screen FOLDER --json`.

`{"study", "series", "outcome", "reasons": [{"code", "severity", "attribute", "message", "instance"?}]}`; in
the study's own object the series is null. UIDs are the hospital's own: PHI.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import Field

from shared.frozen import Frozen
from shared.protocol.criteria import Criteria
from site_node.screen.decide import Assessment, SeriesAssessment
from site_node.screen.reasons import gravest
from site_node.study import Reason, Severity

Line = dict[str, Any]
NOT_CHECKED = "not_checked"


class UnassignedFile(Frozen):
    """A file that was refused on receipt although it names its study; a person must know. PHI."""

    study: str = Field(repr=False, min_length=1)
    series: str = Field(repr=False)  # empty where the file does not name it
    instance: str = Field(repr=False)
    reason: Reason


def study_lines(
    assessment: Assessment,
    criteria: Criteria,
    *,
    checked: bool,
    held_reason: Reason | None = None,
    unassigned: Sequence[UnassignedFile] = (),
) -> list[Line]:
    """The objects of one study.

    Args:
        assessment: what the rules say of it.
        criteria: the rules.
        checked: whether there was a clinical sheet; without one its rules say `not_checked`, which decides nothing.
        held_reason: why a person must see the study before anything else, if so.
        unassigned: refused files of this study.
    """
    study = assessment.study.study_instance_uid
    by_series = {series.series_instance_uid: series for series in assessment.series}
    lines = [
        _series_line(study, series, [file for file in unassigned if file.series == uid])
        for uid, series in by_series.items()
    ]
    lines += unassigned_series(study, [file for file in unassigned if file.series not in by_series])
    own = [*([held_reason] if held_reason else []), *assessment.all_reasons, *(file.reason for file in unassigned)]
    outcome = assessment.outcome
    if outcome is not Severity.REJECT and (held_reason or unassigned):
        outcome = Severity.REVIEW
    not_checked = [] if checked else _not_checked(criteria)
    return [*lines, _line(study, None, outcome, [*map(_plain, dict.fromkeys(own)), *not_checked])]


def unassigned_lines(
    study: str, criteria: Criteria, unassigned: Sequence[UnassignedFile], *, checked: bool
) -> list[Line]:
    """The objects of a study whose files were all refused."""
    reasons = [_plain(reason) for reason in dict.fromkeys(file.reason for file in unassigned)]
    not_checked = [] if checked else _not_checked(criteria)
    return [*unassigned_series(study, unassigned), _line(study, None, Severity.REVIEW, [*reasons, *not_checked])]


def unassigned_series(study: str, unassigned: Iterable[UnassignedFile]) -> list[Line]:
    """An object for each series whose files were all refused."""
    by_series: dict[str, list[Line]] = {}
    for file in unassigned:
        if file.series:
            by_series.setdefault(file.series, []).append(_plain(file.reason, file.instance))
    return [_line(study, series, Severity.REVIEW, reasons) for series, reasons in sorted(by_series.items())]


def _series_line(study: str, series: SeriesAssessment, unassigned: Sequence[UnassignedFile]) -> Line:
    """The reasons of the series, and those of each image left out or refused, with its UID."""
    reasons = [_plain(reason) for reason in series.reasons]
    for entry in series.left_out:
        reasons += [_plain(reason, entry.instance.sop_instance_uid) for reason in entry.reasons]
    reasons += [_plain(file.reason, file.instance) for file in unassigned]
    outcome = series.outcome
    if outcome is not Severity.REJECT:
        outcome = gravest([outcome, *(file.reason.severity for file in unassigned)])
    return _line(study, series.series_instance_uid, outcome, reasons)


def _not_checked(criteria: Criteria) -> list[Line]:
    """The criteria's rules that need a clinical sheet."""
    rules = []
    if criteria.covid:
        rules.append(("covid-status", "No clinical sheet was given, so the COVID-19 status was not checked."))
    if criteria.linkage:
        rules.append(("linkage", "No clinical sheet was given, so the link to a clinical row was not checked."))
    return [{"code": code, "severity": NOT_CHECKED, "attribute": None, "message": text} for code, text in rules]


def _line(study: str, series: str | None, outcome: Severity, reasons: list[Line]) -> Line:
    return {"study": study, "series": series, "outcome": outcome.value, "reasons": reasons}


def _plain(reason: Reason, instance: str = "") -> Line:
    return reason.model_dump(mode="json") | ({"instance": instance} if instance else {})
