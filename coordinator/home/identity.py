"""Who this coordinator is: its name, addresses, keys and protocol."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.crypto.pki import Authority, Peer, Role
from shared.crypto.signing import SigningKey
from shared.editions import ProtocolEdition
from shared.ids import Sha256
from shared.token import Addresses

Clock = Callable[[], datetime]

OPERATOR = "operator"  # the name in the certificate made by `init`


def utc_now() -> datetime:
    """The time of day in UTC; services take it as a parameter so that tests can move it."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Identity:
    """The coordinator's own keys and names. `authority` and `signing_key` never leave this process."""

    federation: str
    addresses: Addresses
    authority: Authority
    signing_key: SigningKey
    protocol: ProtocolEdition  # that is installed
    certificate_days: int = 30
    invitation_days: int = 14
    join_days: int = 7

    @property
    def protocol_digest(self) -> Sha256:
        """Of the protocol that is installed."""
        return self.protocol.digest

    @property
    def root(self) -> bytes:
        """PEM of the root certificate."""
        return self.authority.root_pem

    def uri(self, role: Role, name: str) -> str:
        """The SPIFFE URI of a member."""
        return Peer(federation=self.federation, role=role, name=name).uri
