"""HAProxy with the file that we ship, before a coordinator: members pass, an address that floods stops."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from coordinator.home.init import create_federation
from coordinator.home.settings import Home
from shared.wire import Credentials
from site_node.submit.client import submitting
from tests.factories.federation import Federation, Time, make_settings, sealed_bytes, settings_text
from tests.factories.ports import free_ports
from tests.factories.raw_calls import half_sent
from tests.peers import needs_peer

FILE = Path(__file__).resolve().parents[2] / "compose" / "haproxy.cfg"
ENROL = "/ricord.v1.EnrolmentService/Enrol"


@contextmanager
def haproxy(**environment: str) -> Iterator[None]:
    """HAProxy with the shipped file while the block runs, from when its first port answers."""
    command = [needs_peer("haproxy"), "-db", "-f", str(FILE)]
    with subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL) as process:
        try:
            until, port = time.monotonic() + 10, int(environment["MAIN_BIND"].rpartition(":")[2])
            while not answers(port) and time.monotonic() < until:
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


def answers(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    """Members reach the balancer's ports, and the balancer the coordinator's."""
    before, behind = free_ports(3), free_ports(3)
    names = ("enrolment_port", "main_port", "fleet_port")
    settings = make_settings(behind_balancer=True, **dict(zip(names, before, strict=True)))
    own = settings.model_copy(update=dict(zip(names, behind, strict=True)))
    home = Home(tmp_path / "coordinator")
    create_federation(home, settings, settings_text(settings))
    ports = {
        f"{name.partition('_')[0].upper()}_{kind}": f"{prefix}{port}"
        for kind, prefix, numbers in (("BIND", "127.0.0.1:", before), ("PORT", "", behind))
        for name, port in zip(names, numbers, strict=True)
    }
    with Federation(home, own, Time(), tmp_path).serving(), haproxy(**ports):
        yield Federation(home, settings, Time(), tmp_path)


def test_the_file_is_valid_as_it_is_shipped() -> None:
    """`haproxy -c` has nothing to say, not even a warning."""
    done = subprocess.run([needs_peer("haproxy"), "-c", "-f", str(FILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_a_hospital_joins_and_submits_through_it(federation: Federation) -> None:
    """TLS passes through: the certificate says who calls; more calls than an address has alone are served."""
    federation.curator()
    home, member = federation.site("Balanced Hospital")
    with submitting(home, member) as submit:
        assert submit(sealed_bytes(home, member, 4 << 20)).receipt.exists()


def test_an_address_has_so_many_connections(federation: Federation) -> None:
    """Beyond them it is not connected, while another address and the main port are."""
    address, stranger = federation.identity.addresses.enrolment, Credentials(federation.identity.root)
    with half_sent(address, stranger, ENROL, connections=16), ExitStack() as more:
        with pytest.raises(ConnectionError):
            more.enter_context(half_sent(address, stranger, ENROL, connections=1))
        more.enter_context(half_sent(address, stranger, ENROL, connections=1, first=2))
        assert federation.invite("Another Hospital")
