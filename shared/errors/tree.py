"""The whole tree of errors, and an error from its code."""

from shared.errors import (
    agreements,
    federation,
    inputs,
    protocol,
    settings,
    storage,
    studies,
    transport,
    trust,
)
from shared.errors.base import InternalError, RicordError, code_of

THEMES = (
    agreements,
    federation,
    inputs,
    protocol,
    settings,
    storage,
    studies,
    transport,
    trust,
)  # loaded, so that every class is in the tree


def all_errors(kind: type[RicordError] = RicordError) -> tuple[type[RicordError], ...]:
    """The leaf classes below `kind`: those that are raised."""
    children = kind.__subclasses__()
    return tuple(leaf for child in children for leaf in all_errors(child)) if children else (kind,)


def error_for(code: str, fields: dict[str, str]) -> RicordError:
    """The error another process named on the wire; an unknown code becomes `InternalError`."""
    kinds = {code_of(kind): kind for kind in all_errors()}
    if code in kinds:
        return kinds[code](**fields)
    return InternalError(f"unknown error code {code!r} from the other side")
