"""What the client app knows while it answers a message. It stands in the task's context and stays in this process."""

from datetime import datetime
from pathlib import Path
from typing import TypeVar

from shared.agreement import Mode
from shared.crypto.signing import VerifyKey
from shared.errors.inputs import InvalidIdentifier
from shared.federation.plan import Plan
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId, Uid
from site_node.federate.policy import SitePolicy
from site_node.home.library import LibraryStudy, load_listed
from site_node.home.plans import Decisions

CONTEXT_KEY = "ricord-site"


class FederateSettings(Frozen):
    """Everything federated work at a site needs. The command line makes it from `site.toml` and the identity folder."""

    site_id: SiteId
    folder: Path  # <home>/federation: Flower's files, and the rounds already answered
    library: Path
    ledger: Path
    policy: Path  # <home>/federation-policy.toml
    contradiction: Path  # while this file exists, nothing is answered
    signing_key: Path
    node_key: Path  # P-384, OpenSSH form
    coordinator_key: str  # OpenSSH line; the agreement names its fingerprint
    protocol_digest: Sha256
    modes: tuple[Mode, ...]  # that the agreement this site signed allows
    agreement_expires_at: datetime | None  # `None`: it has no end
    fleet_address: str  # host:port
    root: Path  # PEM
    poll_seconds: float = 5.0  # the longest wait between two questions while work waits, should a notice be lost
    idle_seconds: float = 60.0  # without a message, after which `federate --once` ends

    @property
    def verify_key(self) -> VerifyKey:
        """The key that must have signed every plan."""
        return VerifyKey.parse(self.coordinator_key)


class SiteContext(Frozen):
    """What the executor gives the app for one message: the site's settings, its policy, and what was decided till then.

    `studies` is the snapshot of the library that is answered from: the digest of each study's record.
    """

    site: FederateSettings
    policy: SitePolicy
    studies: dict[Uid, Sha256]
    decisions: Decisions = Decisions()

    def load(self) -> tuple[LibraryStudy, ...]:
        """Those studies; raises `SnapshotOutdated` where the library does not hold them any more."""
        return load_listed(self.site.library, self.studies)


class Admitted(SiteContext):
    """What the policy gate gives on with a message that it let through: also the plan, verified."""

    plan: Plan


Known = TypeVar("Known", bound=SiteContext)


def from_context(node_config: dict[str, object], kind: type[Known]) -> Known:
    """What the step before put into a task's context; raises `InvalidIdentifier` when it was no `kind`."""
    known = node_config.get(CONTEXT_KEY)
    if not isinstance(known, kind):
        raise InvalidIdentifier(kind="federation context")
    return known
