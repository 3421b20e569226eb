"""Reasons from a rule's result and the criteria's outcome for it, made in one place so that codes stay stable."""

from collections.abc import Iterable

from shared.protocol.criteria import Outcome
from site_node.reasons import reason_for
from site_node.study import Reason, Severity

_ORDER = (Severity.ACCEPT, Severity.WARN, Severity.REVIEW, Severity.REJECT)


def reason(outcome: Outcome, code: str, attribute: str | None) -> tuple[Reason, ...]:
    """One reason, or none where the criteria accept the result."""
    return () if outcome == "accept" else (reason_for(code, attribute=attribute, severity=Severity(outcome)),)


def worst(reasons: Iterable[Reason]) -> Severity:
    """The gravest severity among reasons; `ACCEPT` without any."""
    return gravest(why.severity for why in reasons)


def gravest(severities: Iterable[Severity]) -> Severity:
    """The gravest severity; `ACCEPT` without any."""
    return max(severities, key=_ORDER.index, default=Severity.ACCEPT)


def unique(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """The reasons without repeats, in their first order."""
    return tuple(dict.fromkeys(reasons))
