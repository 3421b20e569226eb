"""FederationService on the wire: names come from the certificate, and a site's two calls fit the servicer's answers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from coordinator.federation.service import FederationInfo
from coordinator.federation.servicer import FederationServicer
from coordinator.home.identity import utc_now
from coordinator.store.records import Node
from shared.crypto.keys import make_flower
from shared.errors.protocol import ProtocolMismatch
from shared.federation.bundle import bundle_digest
from shared.ids import Sha256, SiteId
from shared.proto.ricord.v1.federation_pb2_grpc import add_FederationServiceServicer_to_server
from site_node.federate.connect import register_node

DIGEST = Sha256("a" * 64)


class FakeService:
    """Records what was registered."""

    def __init__(self) -> None:
        self.rows: list[Node] = []
        self.digest = DIGEST

    def register_node(self, site_id: SiteId, public_key: bytes, *, protocol_digest: str) -> Node:
        """Record the node."""
        assert protocol_digest == DIGEST
        self.rows.append(Node(site_id=site_id, public_key=public_key.decode(), registered_at=utc_now()))
        return self.rows[-1]

    def info(self) -> FederationInfo:
        """The fleet's address."""
        return FederationInfo(
            fleet_address="127.0.0.1:9", root=b"PEM", bundles=(bundle_digest(),), protocol_digest=self.digest
        )


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def channel(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> Iterator[grpc.Channel]:
    peer: Any = SimpleNamespace(role="site", name="123456")
    monkeypatch.setattr("coordinator.federation.servicer.peer_of", lambda context: peer)
    fake: Any = service
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        add_FederationServiceServicer_to_server(FederationServicer(fake, fake, fake, fake), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as opened:
            yield opened
        server.stop(None).wait()


def test_a_site_registers_its_key_and_learns_where_the_fleet_is(
    channel: grpc.Channel, service: FakeService, tmp_path: Path
) -> None:
    """The key arrives as PEM under the name in the certificate, whatever the request says."""
    make_flower(tmp_path / "node.pem")
    assert register_node(channel, node_key=tmp_path / "node.pem", protocol_digest=DIGEST) == "127.0.0.1:9"
    assert service.rows[0].site_id == "123456"
    assert service.rows[0].public_key.startswith("-----BEGIN PUBLIC KEY-----")


def test_another_protocol_at_the_centre_is_named(channel: grpc.Channel, service: FakeService, tmp_path: Path) -> None:
    """The site refuses before it starts anything."""
    make_flower(tmp_path / "node.pem")
    service.digest = Sha256("b" * 64)
    with pytest.raises(ProtocolMismatch):
        register_node(channel, node_key=tmp_path / "node.pem", protocol_digest=DIGEST)
