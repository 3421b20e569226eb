"""Two coordinators over one PostgreSQL and one bucket, behind a balancer: a site does not notice when one is killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from coordinator.audit.service import every_event
from coordinator.federation.registry import StoredNodes
from coordinator.federation.results import TrainingResult
from coordinator.federation.service import FederationService
from coordinator.home.init import open_home_store
from coordinator.home.settings import Home, StoreSettings
from coordinator.store.audit_chain import verify
from coordinator.store.bucket import CiphertextBucket
from coordinator.store.locks import FileLocks
from coordinator.submission.lookup import blob_name
from shared.crypto.keys import load_flower_public
from shared.crypto.signing import SigningKey
from shared.ids import Sha256
from shared.manifest import canonical_json
from shared.protocol.loader import load_protocol
from shared.wire import UNACKNOWLEDGED
from site_node.study import Sealed
from site_node.submit import client as submit_client
from site_node.submit.client import submitting
from tests.factories.ciphertexts import BUCKET, bucket_client, partial_names, s3_server
from tests.factories.federation import Federation, make_federation, sealed_bytes, settings_text
from tests.factories.registered import add_site
from tests.factories.site_homes import make_site, set_policy
from tests.peers import empty_database, needs_peer, postgres_url

MIB = 1 << 20
BALANCER = Path(__file__).parents[2] / "compose" / "haproxy.cfg"
HOSTS = ("127.0.0.2", "127.0.0.3")
RUN_SITE = """
import sys, threading
from site_node.federate.executor import run_federate
from site_node.federate.site import FederateSettings
from shared.errors.base import RicordError
from tests.factories.always_work import AlwaysWork
stop = threading.Event()
while True:
    try:
        run_federate(FederateSettings.model_validate_json(sys.argv[1]), AlwaysWork(stop), stop=stop)
    except RicordError:  # as a node: it tries again
        threading.Event().wait(1)
"""


@dataclass
class Pair:
    """A federation with two homes that differ in their host, and the processes that serve from them."""

    federation: Federation
    homes: tuple[Home, Home]
    client: Any

    @contextmanager
    def serving(self, *options: str) -> Iterator[list[subprocess.Popen[str]]]:
        """Both, from their ready lines on where they print them; what is still running at the end is killed."""
        processes = [self.start(home, *options) for home in self.homes]
        try:
            if "--no-federation" in options:
                for process in processes:
                    wait_until_ready(process)
                settings = self.federation.settings
                assert comes_true(lambda: all(map(is_passed_on, (settings.enrolment_port, settings.main_port))))
            yield processes
        finally:
            for process in processes:
                with process:
                    process.kill()

    def start(self, home: Home, *options: str) -> subprocess.Popen[str]:
        """`serve` from one of the homes."""
        command = [sys.executable, "-m", "coordinator.cli", "--home", str(home.folder), "serve", *options]
        with (home.folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)

    @property
    def ciphertexts(self) -> CiphertextBucket:
        """What lies in the bucket."""
        return CiphertextBucket(self.client, BUCKET, "federation/", FileLocks(self.federation.folder / "unused"))

    def logs(self) -> str:
        """What both wrote."""
        return "".join((home.folder / "log").read_text() for home in self.homes if (home.folder / "log").exists())


def wait_until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ready: ")


def comes_true(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Whether `condition` holds before `seconds` have passed."""
    latest = time.monotonic() + seconds
    while not (answer := condition()) and time.monotonic() < latest:
        time.sleep(0.02)
    return answer


def answers(host: str, port: int) -> bool:
    """Whether a port is open."""
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


def is_passed_on(port: int) -> bool:
    """Whether the balancer has a server to pass a connection to: else it closes it at once."""
    with socket.create_connection(("127.0.0.1", port), 1) as connection:
        connection.settimeout(0.2)
        try:
            return connection.recv(1) != b""
        except TimeoutError:
            return True
        except ConnectionResetError:
            return False


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    haproxy, folder = needs_peer("haproxy"), tmp_path_factory.mktemp("pair")
    with postgres_url() as server, s3_server() as endpoint:
        client = bucket_client(endpoint, folder)
        store = StoreSettings(
            sealed=f"s3://{BUCKET}/federation", endpoint=endpoint, credentials_file=folder / "credentials"
        )
        federation = make_federation(
            folder,
            host=HOSTS[0],
            advertised_host="127.0.0.1",
            behind_balancer=True,
            database=empty_database(server),
            store=store,
        )
        settings, second = federation.settings, Home(folder / "second")
        shutil.copytree(federation.home.folder, second.folder)
        second.settings_file.write_text(settings_text(settings.model_copy(update={"host": HOSTS[1]})))
        ports = {"ENROLMENT": settings.enrolment_port, "MAIN": settings.main_port, "FLEET": settings.fleet_port}
        variables = {f"{name}_PORT": str(port) for name, port in ports.items()}
        variables |= {f"{name}_BIND": f"127.0.0.1:{port}" for name, port in ports.items()}
        variables |= {"COORDINATOR": HOSTS[0], "FLEET": HOSTS[0], "SECOND": HOSTS[1]}
        with subprocess.Popen([haproxy, "-db", "-f", BALANCER], env={**os.environ, **variables}) as balancer:
            try:
                yield Pair(federation, (federation.home, second), client)
            finally:
                balancer.kill()


def test_uploads_go_on_at_the_other_when_one_is_killed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every study reaches its receipt at the first `submit`; none is lost, none doubled, and the chain is one."""
    federation, sent, lock = pair.federation, list[int](), threading.Lock()
    parts = submit_client._parts

    def counted(*arguments: Any) -> Iterator[Any]:
        for part in parts(*arguments):
            with lock:
                sent.append(len(part.chunk))
            yield part

    def reached(total: int) -> bool:
        return sum(sent) > total

    monkeypatch.setattr(submit_client, "_parts", counted)
    with pair.serving("--no-federation") as processes:
        federation.curator()
        members = [federation.site(f"Hospital {number}") for number in range(4)]
        whole = dict[Sha256, bytes]()
        for number in range(len(processes)):
            sealed = [
                sealed_bytes(*member, 40 * MIB + place, sequence=number + 1) for place, member in enumerate(members)
            ]
            whole |= {blob_name(study.manifest.manifest): study.ciphertext.read_bytes() for study in sealed}

            def submit(place: int, studies: list[Sealed]) -> None:
                with submitting(*members[place]) as send:
                    send(studies[place])

            with ThreadPoolExecutor(len(members)) as pool:
                before = sum(sent)
                submitted = [pool.submit(submit, place, sealed) for place in range(len(members))]
                assert comes_true(partial(reached, before + 60 * MIB))
                with processes[number] as killed:
                    killed.send_signal(signal.SIGKILL)
                for done in submitted:
                    done.result(timeout=120)
            processes[number] = pair.start(pair.homes[number], "--no-federation")
            wait_until_ready(processes[number])
        for process in processes:
            process.terminate()
            assert process.wait(30) == 0
    with federation.reading() as reading:
        rows = reading.submissions()
        assert verify(every_event(reading)).intact
    assert sorted(blob_name(row) for row in rows) == sorted(whole)
    assert {name: b"".join(pair.ciphertexts.read(name)) for name in whole} == whole
    assert partial_names(pair.ciphertexts) == []
    sent_again = sum(sent) - sum(map(len, whole.values()))
    sys.stdout.write(f"{sent_again} bytes were sent again over {2 * len(members)} cut uploads\n")
    assert 0 < sent_again <= len(whole) * UNACKNOWLEDGED, sent_again
    assert "Traceback" not in pair.logs()
    assert "internal-error" not in pair.logs()


@pytest.mark.slow
def test_the_other_goes_on_with_a_run(pair: Pair) -> None:
    """One executes the runs and has the fleet port open; when it is killed the other trains the remaining rounds."""
    federation, port = pair.federation, pair.federation.settings.fleet_port
    key = SigningKey.from_pem(federation.home.signing_key.read_bytes())
    digest, rounds = load_protocol("ricord").digest, 3
    task = {"image_size": 32, "rounds": rounds, "minimum_cases": 1, "validation_share": 0.3}
    store = open_home_store(federation.home, federation.settings)
    service = FederationService(store, federation.identity, fleet_address=f"127.0.0.1:{port}", nodes=StoredNodes(store))
    sites = []
    for number in range(3):
        site = make_site(
            federation.folder / f"site-{number}", f"{410000 + number}", key, fleet_address=f"127.0.0.1:{port}"
        )
        set_policy(site, minimum_cases=1)
        site.root.write_bytes(federation.home.root.read_bytes())
        sites.append(site.model_copy(update={"protocol_digest": digest}))
        add_site(store, key, site.site_id, SigningKey.from_pem(site.signing_key.read_bytes()))
        service.register_node(site.site_id, _pem(site.node_key), protocol_digest=digest)
    request = canonical_json(
        {"purpose": "training", "sites": [site.site_id for site in sites], "timeout_seconds": 120, "training": task}
    )

    def state() -> str:
        return service.run(run.id).state

    with ExitStack() as stack, pair.serving("--federation-only") as processes:
        stack.callback(store.close)
        run = service.start_run(request, actor="coordinator/operator")
        for site in sites:
            process = subprocess.Popen([sys.executable, "-c", RUN_SITE, site.model_dump_json()])
            stack.callback(process.wait)
            stack.callback(process.kill)
        prefix = f"federation/runs/{run.id}/"
        kept = partial(pair.client.list_objects_v2, Bucket=BUCKET, Prefix=prefix)
        assert comes_true(lambda: kept().get("KeyCount", 0) >= 2, 120), pair.logs()
        leaders = [host for host in HOSTS if answers(host, port)]
        assert len(leaders) == 1
        leader = HOSTS.index(leaders[0])
        processes[leader].send_signal(signal.SIGKILL)
        assert comes_true(lambda: answers(HOSTS[1 - leader], port))
        assert comes_true(lambda: state() in {"done", "failed"}, 180), pair.logs()
        ended = service.run(run.id)
        with store.read() as reading:
            actions = [event.action for event in every_event(reading) if event.object == run.id]
    assert ended.state == "done", ended.problem
    result = TrainingResult.model_validate_json(ended.result)
    assert [finished.round for finished in result.rounds] == list(range(1, rounds + 1))
    assert actions == ["run training asked for", "run started", "run taken up again", "run started", "run done"]


def _pem(node_key: Path) -> bytes:
    key = load_ssh_public_key(load_flower_public(node_key).encode())
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
