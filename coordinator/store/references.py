"""Which row a person means: a name or id typed whole, or so much of its beginning that it fits one row only.

What a certificate, a token or another row names is looked up whole, never so.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Column, ColumnElement, and_, func

from coordinator.store import tables
from shared.errors.inputs import NotFound
from shared.references import ambiguous

if TYPE_CHECKING:
    from coordinator.store.interface import Reading


Kind = Literal["site", "agreement", "submission", "run", "cohort", "token"]

_SITES, _AGREEMENTS = tables.sites.c, tables.agreements.c

# For each kind, the columns of key and name, for every name that its rows have.
NAMES: Mapping[Kind, tuple[tuple[Column[Any], Column[Any]], ...]] = MappingProxyType(
    {
        "site": ((_SITES.name, _SITES.name), (_SITES.name, _SITES.site_id)),
        "agreement": (
            (_AGREEMENTS.id, _AGREEMENTS.id),
            (_AGREEMENTS.id, _AGREEMENTS.site_name),
            (_SITES.agreement, _SITES.site_id),
        ),
        "submission": ((tables.submissions.c.id, tables.submissions.c.id),),
        "run": ((tables.runs.c.id, tables.runs.c.id),),
        "cohort": ((tables.cohorts.c.id, tables.cohorts.c.id),),
        "token": ((tables.tokens.c.digest, tables.tokens.c.digest),),
    }
)
_FREE_TEXT = (_SITES.name, _AGREEMENTS.site_name)


def begins(name: Column[Any], reference: str) -> ColumnElement[bool]:
    """Whether a name begins so, letter by letter in both databases.

    Ids hold digits and the letters a to f, so the index of a column of ids serves in any collation.
    """
    same = func.substr(name, 1, len(reference)) == reference
    return same if any(name is text for text in _FREE_TEXT) else and_(name >= reference, name < f"{reference}g", same)


def resolve(
    reading: "Reading", kind: Kind, reference: str, *, curator: str | None = None, asker: str | None = None
) -> str:
    """The key of the row that a person means: of the submissions sealed to a `curator`, the runs of an `asker`.

    Raises `NotFound` and `AmbiguousReference`.
    """
    key, count = reading.named(kind, reference, curator=curator, asker=asker) if reference.isprintable() else (None, 0)
    if key is None:
        raise NotFound(kind=kind, name=reference)
    if count > 1:
        raise ambiguous(kind, count)
    return key
