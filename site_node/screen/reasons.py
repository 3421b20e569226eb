"""Reasons from a rule's result and the criteria's outcome for it, made in one place so that codes stay stable."""

from collections.abc import Iterable

from shared.protocol.criteria import Outcome
from site_node.study import Reason, Severity

_ORDER = (Severity.ACCEPT, Severity.WARN, Severity.REVIEW, Severity.REJECT)


def reason(outcome: Outcome, code: str, attribute: str | None, message: str) -> tuple[Reason, ...]:
    """One reason, or none where the criteria accept the result."""
    if outcome == "accept":
        return ()
    sentence = f"{message[:1].upper()}{message[1:]}."
    return (Reason(code=code, message=sentence, severity=Severity(outcome), attribute=attribute),)


def worst(reasons: Iterable[Reason]) -> Severity:
    """The gravest severity among reasons; `ACCEPT` without any."""
    return max((why.severity for why in reasons), key=_ORDER.index, default=Severity.ACCEPT)


def unique(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """The reasons without repeats, in their first order."""
    return tuple(dict.fromkeys(reasons))
