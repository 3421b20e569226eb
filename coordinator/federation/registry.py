"""Which sites take part in federated work: their registered nodes and their agreements, from the store."""

import threading
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from coordinator.agreements.lifecycle import in_force
from coordinator.agreements.lookup import terms_in_force
from coordinator.federation.interface import FEDERATED, RegisteredNode
from coordinator.home.identity import Clock, utc_now
from coordinator.store.interface import Reading, Store, Work
from coordinator.store.records import Agreement, Node, Run
from shared.agreement import Mode
from shared.crypto.pki import Role
from shared.crypto.signing import VerifyKey
from shared.errors.agreements import AgreementModeNotAllowed
from shared.errors.base import RicordError
from shared.errors.federation import PlanInvalid
from shared.errors.inputs import InvalidArgument, NotFound
from shared.federation.secure_sum.messages import Peer
from shared.ids import SiteId

_LONGEST = timedelta(minutes=1)  # an agreement may begin
_NEVER = datetime.max.replace(tzinfo=UTC)


class _TakesPart(NamedTuple):
    """A site that takes part: its modes, its fingerprint, its node's key (`None` before it has registered one)."""

    modes: frozenset[Mode]
    fingerprint: str
    public_key: bytes | None


class StoredNodes:
    """`NodeRegistry` and `Members` over the store: who takes part is worked out when it changes, not when it is asked.

    The store counts changes of sites, agreements, certificates and nodes; the count is read at every call, or for calls
    in quick succession every `fresh_seconds`, so that much later at most a change holds.
    """

    def __init__(self, store: Store, clock: Clock = utc_now, *, fresh_seconds: float = 0.0) -> None:
        self._store = store
        self._now = clock
        self._fresh_seconds = fresh_seconds
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._membership = -1
        self._worked_out_at = self._until = _NEVER  # from and until when it holds, if nothing changes
        self._sites: Mapping[SiteId, _TakesPart] = {}
        self._nodes: dict[tuple[Mode, ...], Mapping[SiteId, RegisteredNode]] = {}

    def nodes(self, modes: tuple[Mode, ...]) -> Mapping[SiteId, RegisteredNode]:
        """The nodes of sites with a valid certificate whose executed agreement covers at least one of `modes`.

        The same object until something changes.
        """
        with self._lock:
            self._refresh()
            if modes not in self._nodes:
                self._nodes[modes] = {
                    site: RegisteredNode(public_key=part.public_key, fingerprint=part.fingerprint)
                    for site, part in self._sites.items()
                    if part.public_key is not None and part.modes & {*modes}
                }
            return self._nodes[modes]

    def members(self, modes: tuple[Mode, ...]) -> Mapping[SiteId, str]:
        """The fingerprints of enrolled sites under the conditions of `nodes`, whether or not they registered a node."""
        with self._lock:
            self._refresh()
            return {site: part.fingerprint for site, part in self._sites.items() if part.modes & {*modes}}

    def _refresh(self) -> None:
        if time.monotonic() - self._read_at < self._fresh_seconds:
            return
        now = self._now()
        with self._store.read() as reading:
            membership = reading.membership()
            if membership != self._membership or not self._worked_out_at <= now < self._until:
                self._work_out(reading, now)
                self._membership = membership
        self._read_at = time.monotonic()

    def _work_out(self, reading: Reading, now: datetime) -> None:
        """Checks certificates too, since the fleet port knows node keys only: revoking also ends federated work."""
        agreements = {agreement.id: agreement for agreement in reading.agreements()}
        keys = {node.site_id: node.public_key.encode() for node in reading.nodes()}
        ends = reading.certificates_end(Role.SITE)
        sites, changes = dict[SiteId, _TakesPart](), [now + _LONGEST]
        for site in reading.sites():
            agreement, certified_until = agreements.get(site.agreement), ends.get(site.site_id or "", now)
            if not (site.site_id and site.verify_key and site.enrolled_at and agreement and certified_until > now):
                continue
            modes = frozenset(mode for mode in FEDERATED if _allows(agreement, now, mode))
            changes += [moment for moment in (certified_until, agreement.expires_at) if moment and moment > now]
            sites[site.site_id] = _TakesPart(modes, _fingerprint(site.verify_key), keys.get(site.site_id))
        self._sites, self._nodes = sites, {}
        self._worked_out_at, self._until = now, min(changes)


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


def _allows(agreement: Agreement, now: datetime, mode: Mode) -> bool:
    try:
        in_force(agreement, now, mode)
    except RicordError:
        return False
    return True


@lru_cache(maxsize=10_000)
def _fingerprint(verify_key: str) -> str:
    return VerifyKey.parse(verify_key).fingerprint


def _node_key(pem: bytes) -> str:
    """The key as canonical PEM, so that keys compare as text; raises `InvalidArgument` unless it is on P-384."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidArgument(name="public_key", problem="it is not a public key in PEM") from error
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
