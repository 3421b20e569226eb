"""Who may ask for which page of the reading: one table. A page without a row makes no console."""

from collections.abc import Mapping
from types import MappingProxyType

from coordinator.curation.reading.readers import ReaderRole

_ALL = frozenset(ReaderRole)
_READER = frozenset({ReaderRole.READER})
_ADJUDICATOR = frozenset({ReaderRole.ADJUDICATOR})

ROLES: Mapping[str, frozenset[ReaderRole]] = MappingProxyType(
    {
        "GET /": _ALL,
        "GET /studies/{study}": _READER,
        "POST /studies/{study}": _READER,
        "POST /studies/{study}/draft": _READER,
        "GET /studies/{study}/films/{film}/values": _READER,
        "GET /studies/{study}/films/{film}/picture": _READER,
        "GET /disputes/{study}": _ADJUDICATOR,
        "POST /disputes/{study}": _ADJUDICATOR,
        "GET /disputes/{study}/films/{film}/values": _ADJUDICATOR,
        "GET /disputes/{study}/films/{film}/picture": _ADJUDICATOR,
    }
)
