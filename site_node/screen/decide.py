"""From the reasons that the rules give to the decision on the study.

A rejected instance is left out, and a rejected series with all its instances. A study that is rejected, or that keeps
nothing, is excluded. A reason to review anything that is kept holds the study for a person.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from pydantic import Field

from shared.errors.studies import DicomUnreadable
from shared.frozen import Frozen
from shared.protocol.criteria import Criteria
from site_node.screen.facts import Facts, read_facts
from site_node.screen.instance import check_instance
from site_node.screen.patient import check_study
from site_node.screen.reasons import gravest, reason, unique, worst
from site_node.screen.series import check_series
from site_node.study import (
    ClinicalRow,
    Ending,
    Excluded,
    Included,
    Instance,
    LeftOut,
    NoRowReason,
    Reason,
    Received,
    Review,
    Severity,
)


class SeriesAssessment(Frozen):
    """What the rules say of one series: what stays, what is left out, and why."""

    series_instance_uid: str = Field(repr=False)
    kept: tuple[Instance, ...]
    left_out: tuple[LeftOut, ...]
    reasons: tuple[Reason, ...]  # of what is kept; of everything where nothing is

    @property
    def outcome(self) -> Severity:
        """The gravest severity of what is kept; where nothing is, `REVIEW` if a person may save it, else `REJECT`."""
        if self.kept:
            return worst(self.reasons)
        is_savable = any(entry.ending is Ending.QUARANTINED for entry in self.left_out)
        return Severity.REVIEW if is_savable else Severity.REJECT


class Assessment(Frozen):
    """What the rules say of a study and of each of its series."""

    study: Received
    series: tuple[SeriesAssessment, ...]
    unreadable: tuple[LeftOut, ...]
    reasons: tuple[Reason, ...]  # of the study as a whole

    @property
    def outcome(self) -> Severity:
        """`REJECT` where the whole study is rejected or nothing remains, else the gravest severity of what does."""
        remaining = [series.outcome for series in self.series if series.outcome is not Severity.REJECT]
        if not (remaining or self.unreadable):
            return Severity.REJECT
        return gravest([worst(self.reasons), *remaining])

    @property
    def all_reasons(self) -> tuple[Reason, ...]:
        """Every reason once: of the study, then of its series."""
        return unique([*self.reasons, *(why for series in self.series for why in _reasons_of(series))])


def screen(
    study: Received,
    *,
    criteria: Criteria,
    clinical: ClinicalRow | NoRowReason | None,
    clinical_checked: bool,
    released: frozenset[str] = frozenset(),
) -> Included | Review | Excluded:
    """Decide on one study by the criteria.

    Args:
        study: the originals, as received.
        criteria: the protocol's inclusion criteria.
        clinical: the row of the clinical sheet that matches the study, or why none does; `None` counts as `NO_ROW`.
        clinical_checked: whether there is a sheet at all; without one, the clinical rules do not apply.
        released: codes of reasons that a person accepted; they warn instead of holding the study.
    """
    return decide(
        assess(study, criteria=criteria, clinical=clinical, clinical_checked=clinical_checked, released=released)
    )


def decide(assessment: Assessment) -> Included | Review | Excluded:
    """The study's next type, from an assessment."""
    study, all_series = assessment.study, assessment.series
    if assessment.outcome is Severity.REJECT:
        return Excluded(study=study, reasons=assessment.all_reasons)
    if assessment.outcome is Severity.REVIEW or not any(series.kept for series in all_series):
        return Review(study=study, reasons=assessment.all_reasons)
    return Included(
        study=study,
        kept=tuple(instance for series in all_series for instance in series.kept),
        left_out=(*assessment.unreadable, *(entry for series in all_series for entry in series.left_out)),
        warnings=unique(
            [*assessment.reasons, *(why for series in all_series if series.kept for why in series.reasons)]
        ),
    )


def kept_of(assessment: Assessment) -> Included | None:
    """The study as the next stage would receive it if a person let through what waits; `None` if nothing remains."""
    kept = tuple(instance for series in assessment.series for instance in series.kept)
    if assessment.outcome is Severity.REJECT or not kept:
        return None
    return Included(study=assessment.study, kept=kept, left_out=(), warnings=())


def without(assessment: Assessment, left_out: Iterable[LeftOut]) -> Assessment:
    """The assessment with the instances that a later stage would leave out left out already."""
    entries = {entry.instance.path: entry for entry in left_out}
    series = tuple(
        member.model_copy(
            update={
                "kept": tuple(instance for instance in member.kept if instance.path not in entries),
                "left_out": (*member.left_out, *(entries[kept.path] for kept in member.kept if kept.path in entries)),
            }
        )
        for member in assessment.series
    )
    return assessment.model_copy(update={"series": series})


def assess(
    study: Received,
    *,
    criteria: Criteria,
    clinical: ClinicalRow | NoRowReason | None,
    clinical_checked: bool,
    released: frozenset[str] = frozenset(),
) -> Assessment:
    """Apply every rule; `screen` decides by the result, and `ricord-site screen --json` shows it."""
    facts, unreadable = _read(study.instances)
    by_series = sorted(facts, key=lambda member: member.instance.series_instance_uid)
    series = tuple(
        _assess_series(uid, tuple(members), criteria, released)
        for uid, members in groupby(by_series, key=lambda member: member.instance.series_instance_uid)
    )
    reasons = unique(why for entry in unreadable for why in entry.reasons)
    if facts:
        reasons += check_study(facts, criteria=criteria, clinical=clinical, clinical_checked=clinical_checked)
    return Assessment(study=study, series=series, unreadable=unreadable, reasons=_release(reasons, released))


def _read(instances: Sequence[Instance]) -> tuple[list[Facts], tuple[LeftOut, ...]]:
    """Facts of the readable files; the others are left out as refused, for a person to review."""
    facts: list[Facts] = []
    unreadable: list[LeftOut] = []
    for instance in instances:
        try:
            facts.append(read_facts(instance))
        except DicomUnreadable:
            why = reason("review", "unreadable", None)
            unreadable.append(LeftOut(instance=instance, ending=Ending.REFUSED, reasons=why))
    return facts, tuple(unreadable)


def _assess_series(
    uid: str, members: tuple[Facts, ...], criteria: Criteria, released: frozenset[str]
) -> SeriesAssessment:
    """Instance rules first; the series rules see only the instances that those keep."""
    assessed = [(facts, _release(check_instance(facts, criteria), released)) for facts in members]
    remaining = tuple(facts for facts, reasons in assessed if worst(reasons) is not Severity.REJECT)
    series_reasons = _release(check_series(remaining, criteria), released) if remaining else ()
    if worst(series_reasons) is Severity.REJECT:
        remaining = ()
    kept_paths = {facts.instance.path for facts in remaining}
    left_out = tuple(
        LeftOut(instance=facts.instance, ending=Ending.EXCLUDED, reasons=_rejecting((*reasons, *series_reasons)))
        for facts, reasons in assessed
        if facts.instance.path not in kept_paths
    )
    instance_reasons = [
        why for facts, reasons in assessed if not remaining or facts.instance.path in kept_paths for why in reasons
    ]
    return SeriesAssessment(
        series_instance_uid=uid,
        kept=tuple(facts.instance for facts in remaining),
        left_out=left_out,
        reasons=unique([*instance_reasons, *series_reasons]),
    )


def _rejecting(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return unique(why for why in reasons if why.severity is Severity.REJECT)


def _reasons_of(series: SeriesAssessment) -> tuple[Reason, ...]:
    return (*series.reasons, *(why for entry in series.left_out for why in entry.reasons))


def _release(reasons: Iterable[Reason], released: frozenset[str]) -> tuple[Reason, ...]:
    """Reasons to review that a person accepted become warnings; a person cannot lift a rejection."""
    return tuple(
        why.model_copy(update={"severity": Severity.WARN})
        if why.severity is Severity.REVIEW and why.code in released
        else why
        for why in reasons
    )
