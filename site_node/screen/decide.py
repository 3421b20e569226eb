"""From what each rule found to what becomes of the study.

An instance that a rule rejects is left out; a series that a rule rejects is left out whole; a study that a rule
rejects, or of which nothing is left, is excluded. Anything under review in what would stay holds the study for a
person.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from pydantic import Field

from shared.errors import DicomUnreadable
from shared.frozen import Frozen
from shared.protocol.criteria import Criteria
from site_node.screen.facts import Facts, read_facts
from site_node.screen.instance import check_instance
from site_node.screen.patient import check_study
from site_node.screen.reasons import reason, unique, worst
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
    reasons: tuple[Reason, ...]  # of what is kept; of everything, where nothing is kept

    @property
    def outcome(self) -> Severity:
        """`REJECT` where nothing is kept, else the gravest reason of what is."""
        return worst(self.reasons) if self.kept else Severity.REJECT


class Assessment(Frozen):
    """What the rules say of a study and of each of its series."""

    study: Received
    series: tuple[SeriesAssessment, ...]
    unreadable: tuple[LeftOut, ...]
    reasons: tuple[Reason, ...]  # of the study as a whole

    @property
    def outcome(self) -> Severity:
        """`REJECT` where the study as a whole is or nothing remains, else the gravest reason of what is kept."""
        remaining = [one for one in self.series if one.kept]
        if worst(self.reasons) is Severity.REJECT or not (remaining or self.unreadable):
            return Severity.REJECT
        return worst([*self.reasons, *(why for one in remaining for why in one.reasons)])

    @property
    def all_reasons(self) -> tuple[Reason, ...]:
        """Everything said, once: of the study, then of its series."""
        return unique([*self.reasons, *(why for one in self.series for why in _said(one))])


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
        clinical: the row of the clinical sheet that joins the study, or why there is none; `None` says no more.
        clinical_checked: whether there is a sheet at all; without one, clinical rules are not asked.
        released: codes of reasons that a person looked at and accepted; they warn instead of holding the study.
    """
    found = assess(study, criteria=criteria, clinical=clinical, clinical_checked=clinical_checked, released=released)
    return decide(found)


def decide(found: Assessment) -> Included | Review | Excluded:
    """The study's next type, from what the rules found."""
    if found.outcome is Severity.REJECT:
        return Excluded(study=found.study, reasons=found.all_reasons)
    if found.outcome is Severity.REVIEW or not any(one.kept for one in found.series):
        return Review(study=found.study, reasons=found.all_reasons)
    return Included(
        study=found.study,
        kept=tuple(instance for one in found.series for instance in one.kept),
        left_out=(*found.unreadable, *(left for one in found.series for left in one.left_out)),
        warnings=unique([*found.reasons, *(why for one in found.series if one.kept for why in one.reasons)]),
    )


def assess(
    study: Received,
    *,
    criteria: Criteria,
    clinical: ClinicalRow | NoRowReason | None,
    clinical_checked: bool,
    released: frozenset[str] = frozenset(),
) -> Assessment:
    """Ask every rule; what `screen` decides by and what `ricord-site screen --json` shows."""
    facts, unreadable = _read(study.instances)
    by_series = sorted(facts, key=lambda one: one.instance.series_instance_uid)
    series = tuple(
        _assess_series(uid, tuple(members), criteria, released)
        for uid, members in groupby(by_series, key=lambda one: one.instance.series_instance_uid)
    )
    whole = unique(why for left in unreadable for why in left.reasons)
    if facts:
        whole += check_study(facts, criteria=criteria, clinical=clinical, clinical_checked=clinical_checked)
    return Assessment(study=study, series=series, unreadable=unreadable, reasons=_release(whole, released))


def _read(instances: Sequence[Instance]) -> tuple[list[Facts], tuple[LeftOut, ...]]:
    """Facts of what can be read; the rest is left out as refused, and a person must know."""
    facts: list[Facts] = []
    unreadable: list[LeftOut] = []
    for instance in instances:
        try:
            facts.append(read_facts(instance))
        except DicomUnreadable:
            why = reason("review", "unreadable", None, "a file of the study cannot be read")
            unreadable.append(LeftOut(instance=instance, ending=Ending.REFUSED, reasons=why))
    return facts, tuple(unreadable)


def _assess_series(
    uid: str, members: tuple[Facts, ...], criteria: Criteria, released: frozenset[str]
) -> SeriesAssessment:
    """Instance rules first; the series rules see only what those left."""
    alone = [(facts, _release(check_instance(facts, criteria), released)) for facts in members]
    staying = tuple(facts for facts, reasons in alone if worst(reasons) is not Severity.REJECT)
    together = _release(check_series(staying, criteria), released) if staying else ()
    if worst(together) is Severity.REJECT:
        staying = ()
    kept = {facts.instance.path for facts in staying}
    left_out = tuple(
        LeftOut(instance=facts.instance, ending=Ending.EXCLUDED, reasons=_rejecting((*reasons, *together)))
        for facts, reasons in alone
        if facts.instance.path not in kept
    )
    said = [why for facts, reasons in alone if not kept or facts.instance.path in kept for why in reasons]
    return SeriesAssessment(
        series_instance_uid=uid,
        kept=tuple(facts.instance for facts in staying),
        left_out=left_out,
        reasons=unique([*said, *together]),
    )


def _rejecting(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return unique(why for why in reasons if why.severity is Severity.REJECT)


def _said(one: SeriesAssessment) -> tuple[Reason, ...]:
    return (*one.reasons, *(why for left in one.left_out for why in left.reasons))


def _release(reasons: Iterable[Reason], released: frozenset[str]) -> tuple[Reason, ...]:
    """Reasons a person accepted only warn from then on; a rejection is not the person's to lift."""
    return tuple(
        why.model_copy(update={"severity": Severity.WARN})
        if why.severity is Severity.REVIEW and why.code in released
        else why
        for why in reasons
    )
