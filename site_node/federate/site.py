"""What the client app knows of its own site. It travels in the context of each task and never leaves this machine."""

from datetime import datetime
from pathlib import Path

from shared.agreement import Mode
from shared.crypto.signing import VerifyKey
from shared.errors import InvalidIdentifier
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId

CONTEXT_KEY = "ricord-site"


class FederateSettings(Frozen):
    """Everything federated work at a site needs. The command line makes it from `site.toml` and the identity folder."""

    site_id: SiteId
    folder: Path  # <home>/federation: Flower's files, and the rounds already answered
    library: Path
    policy: Path  # <home>/federation-policy.toml
    signing_key: Path
    node_key: Path  # P-384, OpenSSH form
    coordinator_key: str  # OpenSSH line; the agreement names its fingerprint
    protocol_digest: Sha256
    modes: tuple[Mode, ...]  # that the agreement this site signed allows
    agreement_expires_at: datetime | None  # `None`: it has no end
    fleet_address: str  # host:port
    root: Path  # PEM
    poll_seconds: float = 0.5
    idle_seconds: float = 60.0  # without a message, after which `federate --once` ends

    @property
    def verify_key(self) -> VerifyKey:
        """The key that must have signed every plan."""
        return VerifyKey.parse(self.coordinator_key)


def from_context(node_config: dict[str, object]) -> FederateSettings:
    """The settings that the executor put into a task's context; raises `InvalidIdentifier` when it put none."""
    text = node_config.get(CONTEXT_KEY)
    if not isinstance(text, str):
        raise InvalidIdentifier(kind="federation context")
    return FederateSettings.model_validate_json(text)
