"""Federated training over real sockets: Flower's SuperLink here, a SuperNode and an executor in a process per site."""

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from cryptography.x509.oid import NameOID
from flwr.app import Context

from coordinator.federation.grid import RosterGrid
from coordinator.federation.interface import RegisteredNode
from coordinator.federation.server_app import FOLDER, app
from coordinator.federation.results import TrainingResult
from coordinator.federation.superlink import SuperLink, SuperLinkSettings
from shared.agreement import Mode
from shared.crypto.keys import load_flower_public
from shared.crypto.signing import SigningKey
from shared.errors import PortInUse
from shared.federation.bundle import build_bundle
from shared.federation.plan import PlanRequest, TrainingTask, complete_plan, sign_plan
from shared.ids import SiteId
from site_node.federate.site import FederateSettings
from tests.unit.federation.site_homes import PROTOCOL, make_site, member_of

# Flower's own migrations, under a newer Alembic
pytestmark = pytest.mark.filterwarnings("ignore:No path_separator found:DeprecationWarning")

KEY = SigningKey.generate()
TASK = TrainingTask(image_size=32, rounds=2, local_epochs=1, learning_rate=0.003, minimum_cases=1, validation_share=0.3)
RUN_SITE = """
import sys, threading
from site_node.federate.executor import run_federate
from site_node.federate.site import FederateSettings
run_federate(FederateSettings.model_validate_json(sys.argv[1]), stop=threading.Event())
"""


class Registry:
    """Who is admitted; tests take sites out."""

    def __init__(self) -> None:
        self.admitted: dict[SiteId, RegisteredNode] = {}

    def nodes(self, modes: tuple[Mode, ...]) -> dict[SiteId, RegisteredNode]:
        """All that are admitted."""
        return dict(self.admitted)

    def admit(self, site: FederateSettings) -> None:
        """Register a site's keys."""
        line = load_flower_public(site.node_key)
        pem = load_ssh_public_key(line.encode()).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.admitted[site.site_id] = RegisteredNode(public_key=pem, fingerprint=member_of(site).fingerprint)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_certificate(folder: Path) -> None:
    """A self-signed certificate for 127.0.0.1 as `root.pem`, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "coordinator")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    (folder / "root.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> SuperLinkSettings:
    folder = tmp_path_factory.mktemp("coordinator")
    write_certificate(folder)
    return SuperLinkSettings(
        folder=folder, host="127.0.0.1", port=free_port(), certificate=folder / "root.pem", key=folder / "key.pem"
    )


@pytest.fixture(scope="module")
def superlink(settings: SuperLinkSettings, registry: Registry) -> Iterator[SuperLink]:
    with SuperLink(settings, registry) as running:
        yield running


@pytest.fixture(scope="module")
def sites(
    tmp_path_factory: pytest.TempPathFactory, settings: SuperLinkSettings, registry: Registry
) -> dict[SiteId, FederateSettings]:
    folder = tmp_path_factory.mktemp("sites")
    made = [
        make_site(folder / str(n), f"{300000 + n}", KEY, images=24, fleet_address=f"127.0.0.1:{settings.port}")
        for n in range(3)
    ]
    for site in made:
        site.policy.write_text(site.policy.read_text().replace("minimum_cases = 11", "minimum_cases = 1"))
        site.root.write_bytes(settings.certificate.read_bytes())
        registry.admit(site)
    return {site.site_id: site for site in made}


@pytest.fixture(scope="module")
def processes(
    superlink: SuperLink, sites: dict[SiteId, FederateSettings]
) -> Iterator[dict[SiteId, subprocess.Popen[bytes]]]:
    superlink.sync()
    running = {
        name: subprocess.Popen([sys.executable, "-c", RUN_SITE, site.model_dump_json()]) for name, site in sites.items()
    }
    yield running
    for process in running.values():
        process.kill()
        process.wait()


def test_three_sites_train_over_real_sockets(
    superlink: SuperLink, sites: dict[SiteId, FederateSettings], processes: object, tmp_path: Path
) -> None:
    """TLS, node keys, a bundle without code, two rounds: figures of every site and a model per round."""
    members = tuple(member_of(site) for site in sites.values())
    request = PlanRequest(purpose="training", training=TASK, timeout_seconds=120)
    plan = complete_plan(request, members=members, protocol_digest=PROTOCOL)
    with superlink.run(build_bundle()) as run:
        run.context.run_config = {FOLDER: str(tmp_path)}
        app(RosterGrid(run.grid, plan, sign_plan(plan, KEY), run.nodes), run.context)
    result = TrainingResult.model_validate_json((tmp_path / "metrics.json").read_bytes())
    assert [len(turn.sites) for turn in result.rounds] == [3, 3]
    assert all(site.auc is not None for turn in result.rounds for site in turn.sites)
    assert not result.refusals
