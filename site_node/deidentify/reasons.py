"""Why an instance does not go on: an error on the way, a reason where it stops."""

from shared.errors.studies import DicomUnsupported
from site_node.reasons import ending_of, reason_for, sentence_of
from site_node.study import Ending, Reason


def unsupported(code: str, attribute: str | None = None) -> DicomUnsupported:
    """The error to raise for a code of the catalogue; its fields carry the code and the attribute's keyword."""
    return DicomUnsupported(code=code, problem=sentence_of(code).rstrip("."), attribute=attribute or "")


def reason_of(error: DicomUnsupported) -> tuple[Ending, Reason]:
    """What a stop means for the instance it came from."""
    reason = reason_for(error.fields["code"], attribute=error.fields["attribute"] or None)
    return ending_of(reason), reason
