"""The site's two calls before federated work: register its node key, and ask for the fleet port's address."""

from datetime import datetime
from pathlib import Path

import grpc
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from shared.agreement import Mode
from shared.crypto.keys import load_flower_public
from shared.errors.protocol import ProtocolMismatch
from shared.ids import Sha256, SiteId
from shared.proto.ricord.v1.federation_pb2 import GetFederationInfoRequest, RegisterNodeRequest
from shared.proto.ricord.v1.federation_pb2_grpc import FederationServiceStub
from shared.wire import UNARY_SECONDS
from site_node.federate.policy import POLICY_FILE
from site_node.federate.site import FederateSettings
from site_node.home.folder import SiteHome


def register_node(channel: grpc.Channel, *, node_key: Path, protocol_digest: Sha256) -> str:
    """Register over the main port, and return the fleet port's address (host:port).

    Raises what the coordinator refuses with, or `ProtocolMismatch`; call it inside `shared.wire.connected`.
    """
    stub = FederationServiceStub(channel)
    line = load_flower_public(node_key)
    pem = load_ssh_public_key(line.encode()).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    request = RegisterNodeRequest(public_key=pem, protocol_digest=protocol_digest)
    stub.RegisterNode(request, timeout=UNARY_SECONDS)
    info = stub.GetFederationInfo(GetFederationInfoRequest(), timeout=UNARY_SECONDS)
    if info.protocol_digest != protocol_digest:
        raise ProtocolMismatch(held=protocol_digest, wanted=info.protocol_digest)
    return info.fleet_address


def settings_for(
    home: SiteHome,
    *,
    site_id: SiteId,
    coordinator_key: str,
    protocol_digest: Sha256,
    modes: tuple[Mode, ...],
    agreement_expires_at: datetime | None,
    fleet_address: str,
) -> FederateSettings:
    """The settings of federated work in this home, under the agreement that this site signed.

    `coordinator_key` is the OpenSSH line of the key that the agreement names.
    """
    return FederateSettings(
        site_id=site_id,
        folder=home.federation,
        library=home.library,
        ledger=home.ledger,
        policy=home.folder / POLICY_FILE,
        contradiction=home.contradiction,
        signing_key=home.signing_key,
        node_key=home.flower_key,
        coordinator_key=coordinator_key,
        protocol_digest=protocol_digest,
        modes=modes,
        agreement_expires_at=agreement_expires_at,
        fleet_address=fleet_address,
        root=home.identity / "root.pem",
    )
