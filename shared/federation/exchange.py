"""How the centre sends requests to sites and receives their answers, whatever carries them.

A step of a federated computation is one exchange: bytes to each site, bytes from those that answered. The carrier
(Flower queries in production, function calls in tests) knows nothing of what the bytes mean.
"""

from collections.abc import Mapping
from typing import Protocol

from shared.ids import SiteId


class Exchange(Protocol):
    """Send one request to each named site and wait for the answers, at most as long as the carrier allows."""

    def __call__(self, stage: str, requests: Mapping[SiteId, bytes]) -> Mapping[SiteId, bytes]:
        """Carry `requests` of `stage`; a site missing from the answer dropped out or refused.

        The keys of the answer are those the carrier authenticated, never what a payload claims.
        """
        ...
