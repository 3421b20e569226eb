"""The whole tree of errors, and an error from its code."""

from shared.errors import (
    agreements,
    console,
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
    console,
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
    """The classes from `kind` down that have a sentence: those that are raised."""
    below = tuple(each for child in kind.__subclasses__() for each in all_errors(child))
    return (kind, *below) if "text" in vars(kind) else below


def error_for(code: str, fields: dict[str, str]) -> RicordError:
    """The error another process named on the wire; an unknown code becomes `InternalError`."""
    kinds = {code_of(kind): kind for kind in all_errors()}
    if code in kinds:
        return kinds[code](**fields)
    return InternalError(f"unknown error code {code!r} from the other side")
