"""Who may ask for which page of the site's console: one table. A page without a row makes no console."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Role(StrEnum):
    """What a person of the hospital does here. Who looks at images signs nothing, and who signs sees no image."""

    VIEWER = "viewer"  # counts, codes and what left
    REVIEWER = "reviewer"  # besides: images, sheets and requests, which are patients' data
    SIGNATORY = "signatory"  # besides counts: the agreement, and what federated work may do


_ALL = frozenset(Role)
_REVIEWER = frozenset({Role.REVIEWER})
_SIGNATORY = frozenset({Role.SIGNATORY})

ROLES: Mapping[str, frozenset[Role]] = MappingProxyType(
    {
        "GET /": _ALL,
        "GET /figures": _ALL,
        "GET /intake": _REVIEWER,
        "POST /intake/folder": _REVIEWER,
        "POST /intake/list": _REVIEWER,
        "POST /intake/retry": _REVIEWER,
        "POST /intake/test": _REVIEWER,
        "GET /clinical": _REVIEWER,
        "POST /clinical": _REVIEWER,
        "GET /clinical/unmatched": _REVIEWER,
        "GET /clinical/{sheet}": _REVIEWER,
        "POST /clinical/{sheet}/import": _REVIEWER,
        "POST /clinical/{sheet}/discard": _REVIEWER,
        "GET /agreement": _ALL,
        "POST /agreement/read": _SIGNATORY,
        "POST /agreement/sign": _SIGNATORY,
        "GET /review": _REVIEWER,
        "GET /review/{study}": _REVIEWER,
        "GET /review/{study}/picture/{number}": _REVIEWER,
        "POST /review/{study}/blank": _REVIEWER,
        "POST /review/{study}/release": _REVIEWER,
        "POST /review/{study}/reject": _REVIEWER,
        "GET /federated": _ALL,
        "GET /federated/{run}": _ALL,
        "POST /federated/{run}/approve": _SIGNATORY,
        "POST /federated/{run}/decline": _SIGNATORY,
        "POST /federated/stop": _SIGNATORY,
        "POST /federated/allow": _SIGNATORY,
        "GET /left": _ALL,
        "GET /left/{study}": _ALL,
        "GET /audit": _ALL,
    }
)
