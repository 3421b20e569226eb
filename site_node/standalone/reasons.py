"""Reasons that processing without a home adds to those of the stages."""

from site_node.reasons import reason_for
from site_node.receive.reading import refused
from site_node.standalone.tasks import FileOutcome
from site_node.study import Ending, Severity

# Independent of the file: another run may accept it. (To that run a changed file is another file anyway.)
TRANSIENT = frozenset({"disk-full", "too-large", "worker-died", "internal-error"})


def outcome_for(code: str, ending: Ending = Ending.REFUSED, attribute: str | None = None) -> FileOutcome:
    """The outcome of a file that is left out for a reason of the catalogue."""
    severity = Severity.REVIEW if ending is Ending.QUARANTINED else Severity.REJECT
    return FileOutcome(ending, (reason_for(code, attribute=attribute, severity=severity),))


def unreadable_outcome(code: str) -> FileOutcome:
    """The outcome of a file that is left out that is refused where it is read."""
    file = refused("", code)
    return FileOutcome(file.ending, (file.reason,))


def is_transient(outcome: FileOutcome) -> bool:
    """Whether another run may end otherwise without any change of the file."""
    return any(reason.code in TRANSIENT for reason in outcome.reasons)
