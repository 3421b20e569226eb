"""Federated training over real sockets: Flower's SuperLink here, a process per site."""

import contextlib
import ipaddress
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)
from cryptography.x509.oid import NameOID

from coordinator.federation.grid import RosterGrid
from coordinator.federation.interface import RegisteredNode
from coordinator.federation.notices import Notices
from coordinator.federation.results import TrainingResult
from coordinator.federation.server_app import FOLDER, app
from coordinator.federation.superlink import SuperLink, SuperLinkSettings
from shared.agreement import Mode
from shared.crypto.keys import load_flower_public, make_flower
from shared.crypto.signing import SigningKey
from shared.errors.settings import PortInUse
from shared.errors.transport import CoordinatorUnreachable
from shared.federation.bundle import build_bundle
from shared.federation.plan import PlanRequest, complete_plan, sign_plan
from shared.federation.task import TrainingTask
from shared.ids import SiteId
from site_node.federate import fleet
from site_node.federate.fleet import Fleet, FleetSettings
from site_node.federate.site import FederateSettings
from tests.factories.ports import free_port
from tests.factories.site_homes import PROTOCOL, make_site, member_of, signer_for

# Flower's own migrations, under a newer Alembic
pytestmark = pytest.mark.filterwarnings("ignore:No path_separator found:DeprecationWarning")

KEY = SigningKey.generate()
TASK = TrainingTask(image_size=32, rounds=2, local_epochs=1, learning_rate=0.003, minimum_cases=1, validation_share=0.3)
RUN_SITE = """
import sys, threading
from site_node.federate.executor import run_federate
from site_node.federate.site import FederateSettings
from tests.factories.always_work import AlwaysWork
stop = threading.Event()
run_federate(FederateSettings.model_validate_json(sys.argv[1]), AlwaysWork(stop), stop=stop)
"""


class Registry:
    """The admitted sites; tests remove some."""

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


class NoSignals:
    """Nobody listens."""

    def send(self, word: str) -> None:
        """Nothing."""

    def listening(self, heard: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
        """Nothing is heard."""
        return contextlib.nullcontext()


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
    with SuperLink(settings, registry, Notices(NoSignals())) as running:
        yield running


@pytest.fixture(scope="module")
def sites(
    tmp_path_factory: pytest.TempPathFactory, settings: SuperLinkSettings, registry: Registry
) -> dict[SiteId, FederateSettings]:
    folder = tmp_path_factory.mktemp("sites")
    homes = [
        make_site(folder / str(n), f"{300000 + n}", KEY, images=24, fleet_address=f"127.0.0.1:{settings.port}")
        for n in range(3)
    ]
    for site in homes:
        site.policy.write_text(site.policy.read_text().replace("minimum_cases = 11", "minimum_cases = 1"))
        site.root.write_bytes(settings.certificate.read_bytes())
        registry.admit(site)
    return {site.site_id: site for site in homes}


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
        app(
            RosterGrid(run.grid, plan, sign_plan(plan, KEY), superlink.nodes, signer_for(KEY, sites.values())),
            run.context,
        )
    result = TrainingResult.model_validate_json((tmp_path / "metrics.json").read_bytes())
    assert [len(finished.sites) for finished in result.rounds] == [3, 3]
    assert all(site.auc is not None for finished in result.rounds for site in finished.sites)
    assert not result.refusals


def test_the_sites_port_serves_fleet_paths_only(superlink: SuperLink, settings: SuperLinkSettings) -> None:
    """The port serves no Control, no Runtime, no documentation, and no unsigned Fleet call."""
    context = ssl.create_default_context(cafile=str(settings.certificate))
    with httpx.Client(verify=context, base_url=f"https://127.0.0.1:{settings.port}") as client:
        for path in ("/v1/control/list-nodes", "/v1/control/start-run", "/v1/runtime/acquire-task", "/docs", "/health"):
            assert client.post(path, content=b"").status_code == 404
        unsigned = client.post("/v1/fleet/pull-messages", content=b"", headers={"content-type": "application/protobuf"})
        assert unsigned.status_code == 401


def test_an_unregistered_node_is_not_admitted(
    superlink: SuperLink, settings: SuperLinkSettings, tmp_path: Path
) -> None:
    """TLS and a key of its own are not enough."""
    make_flower(tmp_path / "node.pem")
    stranger = FleetSettings(
        address=f"127.0.0.1:{settings.port}", root=settings.certificate, node_key=tmp_path / "node.pem"
    )
    with closing(Fleet(stranger, threading.Event())) as node, pytest.raises(CoordinatorUnreachable):
        node.be_on()


@pytest.mark.parametrize("hangs_up", [True, False])
def test_a_stop_ends_every_wait_for_a_port_that_does_not_answer(
    settings: SuperLinkSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, hangs_up: bool
) -> None:
    """As behind a balancer while no SuperLink answers: lines are cut in their handshake, or nothing is said at all.

    The second wait ends with the time that each step of a request has.
    """
    for seconds in ("_REQUEST_SECONDS", "_CONNECT_SECONDS"):
        monkeypatch.setattr(fleet, seconds, 2.0)
    make_flower(tmp_path / "node.pem")
    lines = list[socket.socket]()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    lines.append(listener.accept()[0])
                    if hangs_up:
                        lines[-1].close()

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        lost = FleetSettings(address=address, root=settings.certificate, node_key=tmp_path / "node.pem")
        stop = threading.Event()
        threading.Timer(1, stop.set).start()
        start = time.monotonic()
        with closing(Fleet(lost, stop)) as node, pytest.raises(CoordinatorUnreachable):
            node.be_on()
        assert time.monotonic() - start < 5
        listener.shutdown(socket.SHUT_RDWR)
    answering.join()
    assert lines
    for line in lines:
        line.close()


def test_a_port_in_use_is_reported(superlink: SuperLink, settings: SuperLinkSettings, registry: Registry) -> None:
    """A second SuperLink on the same port does not start."""
    with pytest.raises(PortInUse), SuperLink(settings, registry, Notices(NoSignals())):
        pass


def test_a_site_whose_agreement_ends_is_out_at_once(
    superlink: SuperLink, sites: dict[SiteId, FederateSettings], processes: object, registry: Registry
) -> None:
    """Nothing has to be removed first: the registry is asked at every message."""
    last = max(sites)
    with superlink.run(build_bundle()) as run:
        assert comes_true(lambda: len(list(run.grid.get_node_ids())) == 3)
        node = superlink.nodes()[last]
        entry = registry.admitted.pop(last)
        assert node not in run.grid.get_node_ids()
        registry.admitted[last] = entry
        assert node in run.grid.get_node_ids()


def test_runs_go_side_by_side_and_leave_nothing(superlink: SuperLink) -> None:
    """Two runs of one process have ids of their own; what ended, well or not, is forgotten."""
    before = len(superlink._state.run_ids)
    with superlink.run(build_bundle()) as first, superlink.run(build_bundle()) as second:
        assert first.grid.run.run_id != second.grid.run.run_id
    with pytest.raises(ValueError, match="body"), superlink.run(build_bundle()):
        raise ValueError("body")
    assert len(superlink._state.run_ids) == before
    assert not superlink._state.task_store
    assert not superlink._state.object_store.store


@pytest.mark.parametrize("part", ["lock", "_lock_object_push_sessions", "threads"])
def test_an_engine_that_hangs_does_not_say_that_it_answers(superlink: SuperLink, part: str) -> None:
    """A lock of the LinkState that is never given back, or threads of the port that all wait: then no sign of life."""
    assert comes_true(superlink.has_answered)
    held, over = threading.Semaphore(0), threading.Event()

    def hold() -> None:
        lock = getattr(superlink._state, part, contextlib.nullcontext())
        with lock:
            held.release()
            over.wait(30)

    holders = 8 if part == "threads" else 1  # as many as the port has
    for _ in range(holders):
        superlink._port._pool.submit(hold)
    assert all(held.acquire(timeout=60) for _ in range(holders))
    comes_true(superlink.has_answered, 1)  # what was asked before
    assert not comes_true(superlink.has_answered, 0.5)
    over.set()
    assert comes_true(superlink.has_answered)


def test_a_killed_site_leaves_nothing_behind(processes: dict[SiteId, subprocess.Popen[bytes]]) -> None:
    """`kill -9` of the site's process ends its worker too."""
    killed = processes[min(processes)]
    assert comes_true(lambda: bool(children_of(killed.pid)))
    workers = children_of(killed.pid)
    killed.kill()
    killed.wait()
    assert comes_true(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def children_of(process: int) -> list[str]:
    """The ids of a process's children, whichever thread made them."""
    return [pid for task in Path(f"/proc/{process}/task").iterdir() for pid in (task / "children").read_text().split()]


def comes_true(condition: Callable[[], bool], seconds: float = 30) -> bool:
    """Whether `condition` holds before `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
