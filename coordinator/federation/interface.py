"""What the federation asks of the rest of the coordinator: who may take part. The store implements it."""

from collections.abc import Mapping
from typing import Protocol

from shared.agreement import Mode
from shared.frozen import Frozen
from shared.ids import SiteId

FEDERATED = (Mode.COHORT, Mode.STATISTICS, Mode.TRAINING)


class RegisteredNode(Frozen):
    """A site's registered keys: the Flower node key, and the fingerprint of its Ed25519 signing key."""

    public_key: bytes  # PEM, SubjectPublicKeyInfo, NIST P-384
    fingerprint: str  # "SHA256:…"


class NodeRegistry(Protocol):
    """Nodes of sites whose agreement is in force now; read at every message, so suspension is immediate."""

    def nodes(self, modes: tuple[Mode, ...]) -> Mapping[SiteId, RegisteredNode]:
        """The nodes of sites whose executed agreement covers at least one of `modes`."""
        ...


class Members(Protocol):
    """Enrolled sites whose agreement is in force now, whether or not they have registered a node."""

    def members(self, modes: tuple[Mode, ...]) -> Mapping[SiteId, str]:
        """The fingerprints of the sites whose executed agreement covers at least one of `modes`."""
        ...
