"""What a training may learn: a field of the clinical dictionary whose value says yes or no, and the class of each."""

from shared.errors.federation import PlanInvalid
from shared.ids import Sha256
from shared.protocol.loader import protocol_with

_CLASSES = {"yes": 1, "positive": 1, "1": 1, "true": 1, "no": 0, "negative": 0, "0": 0, "false": 0}


def class_of(value: object) -> int | None:
    """1 for a value that says yes, 0 for one that says no, `None` for any other."""
    return _CLASSES.get(str(value).lower())


def learnable(protocol_digest: Sha256) -> tuple[str, ...]:
    """The fields with values of both classes, in the dictionary's order; raises `ProtocolMismatch`."""
    fields = protocol_with(protocol_digest).clinical.released_fields
    return tuple(field.name for field in fields if {0, 1} <= {class_of(code.value) for code in field.codes})


def check_label(label: str, protocol_digest: Sha256) -> None:
    """Raise `PlanInvalid` for a label that no site could have, `ProtocolMismatch`."""
    names = learnable(protocol_digest)
    if label not in names:
        raise PlanInvalid(problem=f"the label `{label}` is not a yes/no field of the dictionary ({', '.join(names)})")
