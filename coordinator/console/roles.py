"""Who may ask for which page of the centre's console: one table. A page without a row makes no console.

What the coordinator does is decided there, by the certificate of the console's home: an observer's can change nothing.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Role(StrEnum):
    """What a person does here."""

    VIEWER = "viewer"  # sees everything
    OPERATOR = "operator"  # besides: agreements and runs


_ALL = frozenset(Role)
_OPERATOR = frozenset({Role.OPERATOR})

ROLES: Mapping[str, frozenset[Role]] = MappingProxyType(
    {
        "GET /": _ALL,
        "GET /sites/{agreement}": _ALL,
        "GET /agreements": _ALL,
        "GET /agreements/{agreement}": _ALL,
        "POST /agreements/{agreement}/draft": _OPERATOR,
        "POST /agreements/{agreement}/execute": _OPERATOR,
        "POST /agreements/{agreement}/suspend": _OPERATOR,
        "GET /submissions": _ALL,
        "GET /cohorts": _ALL,
        "GET /cohorts/{table}": _ALL,
        "GET /cohorts/{table}/csv": _ALL,
        "GET /runs": _ALL,
        "GET /runs/{run}": _ALL,
        "GET /runs/{run}/figures": _ALL,
        "POST /runs/{run}/approve": _OPERATOR,
        "POST /runs/{run}/decline": _OPERATOR,
        "POST /runs/{run}/stop": _OPERATOR,
        "GET /audit": _ALL,
    }
)
