"""Reasons that processing without a home adds to those of the stages."""

from types import MappingProxyType

from site_node.receive.refusals import refused
from site_node.standalone.tasks import FileOutcome
from site_node.study import Ending, Reason, Severity

_SENTENCES = MappingProxyType(
    {
        "under-age": "The patient is under 18 at the study date.",
        "whole-study": "Another file of the study is not taken, and --whole-studies asks for all or none.",
        "changed-while-reading": "The file changed while it was read.",
        "disk-full": "There is no room left for the study; free some and start again.",
        "too-large": "The study does not fit into memory.",
        "worker-died": "The process that worked on the study was killed, and the one after it too.",
        "internal-error": "A defect of this program stopped the study; nothing of it was written.",
    }
)
# Independent of the file: another run may accept it. (To that run a changed file is another file anyway.)
TRANSIENT = frozenset({"disk-full", "too-large", "worker-died", "internal-error"})


def outcome_for(code: str, ending: Ending = Ending.REFUSED, attribute: str | None = None) -> FileOutcome:
    """The outcome of a file that is left out for a reason of this table."""
    severity = Severity.REVIEW if ending is Ending.QUARANTINED else Severity.REJECT
    return FileOutcome(ending, (Reason(code=code, message=_SENTENCES[code], severity=severity, attribute=attribute),))


def unreadable_outcome(code: str) -> FileOutcome:
    """The outcome of a file that is left out for a reason of `dicom.unreadable.MESSAGES`."""
    file = refused("", code)
    return FileOutcome(file.ending, (file.reason,))


def is_transient(outcome: FileOutcome) -> bool:
    """Whether another run may end otherwise without any change of the file."""
    return any(reason.code in TRANSIENT for reason in outcome.reasons)
