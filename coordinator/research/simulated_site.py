"""A simulated hospital: the site's own client app over a folder's library, with a key and policy of its own."""

from functools import cache
from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from coordinator.research.simulated_library import library_of
from shared.agreement import Mode
from shared.crypto.signing import SigningKey, VerifyKey
from shared.durable import write_whole
from shared.federation import records
from shared.federation.plan import Member
from shared.federation.secure_sum.messages import Peer
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId, Uid
from site_node.federate.client_app import app
from site_node.federate.policy import load_policy, write_default_policy
from site_node.federate.site import CONTEXT_KEY, FederateSettings, SiteContext
from site_node.home.library import list_library

PLACE = "place"  # which of the simulated hospitals a node is
ASK_PLACE = f"query.{PLACE}"
_PARTITION = "partition-id"  # Flower's number of a simulated node


class SimulatedSite(Frozen):
    """What the centre knows of a simulated hospital."""

    site_id: SiteId
    verify_key: str  # OpenSSH line

    @property
    def peer(self) -> Peer:
        """As the secure sum names it."""
        return Peer(site_id=self.site_id, verify_key=self.verify_key)

    @property
    def member(self) -> Member:
        """As a plan's roster names it."""
        return Member(site_id=self.site_id, fingerprint=self.peer.key.fingerprint)


def make_site(
    folder: Path, site_id: SiteId, source: Path, *, coordinator: VerifyKey, protocol_digest: Sha256, policy: Path | None
) -> SimulatedSite:
    """Make the files of a hospital whose studies are in `source`; raises as `library_of`."""
    key = SigningKey.generate()
    folder.mkdir(parents=True)
    write_whole(folder / "key.pem", key.to_pem(), mode=0o600)
    write_default_policy(folder / "policy.toml")
    settings = FederateSettings(
        site_id=site_id,
        folder=folder / "federation",
        library=library_of(source, folder / "library", site_id).resolve(),
        ledger=folder / "none",
        policy=(policy or folder / "policy.toml").resolve(),
        contradiction=folder / "contradiction",
        signing_key=folder / "key.pem",
        node_key=folder / "none",
        coordinator_key=str(coordinator),
        protocol_digest=protocol_digest,
        modes=tuple(Mode),
        agreement_expires_at=None,
        fleet_address="",
        root=folder / "none",
    )
    load_policy(settings.policy)
    write_whole(folder / "site.json", settings.model_dump_json().encode())
    return SimulatedSite(site_id=site_id, verify_key=str(key.public))


@cache  # nothing changes a library while it is simulated
def _studies(library: Path) -> dict[Uid, Sha256]:
    """The digest of each study's record."""
    return {study: listed.digest for study, listed in list_library(library).items()}


class SimulatedApp(ClientApp):  # type: ignore[misc] # Flower's packages are not followed by mypy
    """What every simulated node executes: it answers as the hospital in the folder of its place."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        super().__init__()
        self._folders = folders

    def __call__(self, message: Message, context: Context) -> Message:
        """The answer of the site's own app; to the question for its place, that."""
        place = int(context.node_config[_PARTITION])
        if message.metadata.message_type == ASK_PLACE:
            return Message(RecordDict({records.CONFIG: ConfigRecord({PLACE: place})}), reply_to=message)
        site = FederateSettings.model_validate_json((self._folders[place] / "site.json").read_bytes())
        known = {CONTEXT_KEY: SiteContext(site=site, policy=load_policy(site.policy), studies=_studies(site.library))}
        return app(message, Context(context.run_id, context.node_id, known, RecordDict(), {}))
