"""Which sites take part in federated work: their registered nodes and their agreements, from the store."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from coordinator.agreements.lookup import terms_in_force
from coordinator.federation.interface import FEDERATED, RegisteredNode
from coordinator.home.identity import Clock, utc_now
from coordinator.store.interface import Reading, Store, Work
from coordinator.store.records import Node, Run
from coordinator.trust.certificates import is_member_now
from shared.agreement import Mode
from shared.crypto.pki import Role
from shared.crypto.signing import VerifyKey
from shared.errors.agreements import AgreementModeNotAllowed
from shared.errors.base import RicordError
from shared.errors.federation import PlanInvalid
from shared.errors.inputs import InvalidArgument, NotFound
from shared.federation.secure_sum.messages import Peer
from shared.ids import SiteId


class StoredNodes:
    """`NodeRegistry` and `Members` over the store; agreements are read at every call."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._now = clock

    def nodes(self, modes: tuple[Mode, ...]) -> Mapping[SiteId, RegisteredNode]:
        """The nodes of sites with a valid certificate whose executed agreement covers at least one of `modes`."""
        with self._store.read() as reading:
            return {
                node.site_id: RegisteredNode(
                    public_key=node.public_key.encode(), fingerprint=_fingerprint(reading, node.site_id)
                )
                for node in reading.nodes()
                if self._takes_part(reading, node.site_id, modes)
            }

    def members(self, modes: tuple[Mode, ...]) -> Mapping[SiteId, str]:
        """The fingerprints of enrolled sites under the conditions of `nodes`, whether or not they registered a node."""
        with self._store.read() as reading:
            enrolled = [site.site_id for site in reading.sites() if site.site_id and site.enrolled_at]
            return {site: _fingerprint(reading, site) for site in enrolled if self._takes_part(reading, site, modes)}

    def _takes_part(self, reading: Reading, site_id: SiteId, modes: tuple[Mode, ...]) -> bool:
        """Checks certificates too, since the fleet port knows node keys only: revoking also ends federated work."""
        now = self._now()
        covered = any(_covers(reading, site_id, mode, now) for mode in modes)
        return covered and is_member_now(reading, Role.SITE, site_id, now)


def register_node(work: Work, site_id: SiteId, public_key: bytes, *, now: datetime) -> Node:
    """Store a site's node key. Raises `InvalidArgument`, `AgreementNotExecuted` or `AgreementModeNotAllowed`."""
    check_takes_part(work, site_id, now)
    node = Node(site_id=site_id, public_key=_node_key(public_key), registered_at=now)
    registered = work.node_with(node.public_key)
    if registered is not None and registered.site_id != site_id:
        raise InvalidArgument(name="public_key", problem="another site has registered it")
    work.put_node(node)
    return node


def check_takes_part(reading: Reading, site_id: SiteId, now: datetime) -> None:
    """Raise `AgreementNotExecuted` or `AgreementModeNotAllowed` unless the site may take part in federated work."""
    if not any(_covers(reading, site_id, mode, now) for mode in FEDERATED):
        terms_in_force(reading, site_id, Mode.TRAINING, now)
        raise AgreementModeNotAllowed(mode=Mode.TRAINING)


def run_of(reading: Reading, name: str) -> Run:
    """A run by its id; raises `NotFound`."""
    run = reading.run(name)
    if run is None:
        raise NotFound(kind="run", name=name)
    return run


def _covers(reading: Reading, site_id: SiteId, mode: Mode, now: datetime) -> bool:
    try:
        terms_in_force(reading, site_id, mode, now)
    except RicordError:
        return False
    return True


def _fingerprint(reading: Reading, site_id: SiteId) -> str:
    site = reading.site(site_id)
    if site is None or site.verify_key is None:
        raise NotFound(kind="site", name=site_id)
    return VerifyKey.parse(site.verify_key).fingerprint


def _node_key(pem: bytes) -> str:
    """The key as canonical PEM, so that keys compare as text; raises `InvalidArgument` unless it is on P-384."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidArgument(name="public_key", problem="it is no public key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise InvalidArgument(name="public_key", problem="it is not on the curve P-384")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def peers_of(reading: Reading, roster: Iterable[SiteId]) -> tuple[Peer, ...]:
    """The sites of a roster with their registered keys, by SITEID, ascending; raises `PlanInvalid` without a key."""
    peers = []
    for site_id in sorted(roster):
        site = reading.site(site_id)
        if site is None or site.verify_key is None:
            raise PlanInvalid(problem=f"site {site_id} has no registered key")
        peers.append(Peer(site_id=site_id, verify_key=site.verify_key))
    return tuple(peers)
