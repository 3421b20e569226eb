"""The heartbeat says what `status` says, and neither an absent nor a frozen coordinator holds anything up."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from shared.crypto import pki
from shared.errors.transport import CoordinatorUnreachable
from shared.proto.ricord.v1.presence_pb2 import Presence
from shared.protocol.loader import load_protocol
from site_node.explain.protocol import what_leaves
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.home.status import status_of
from site_node.membership.record import Membership
from site_node.node import heartbeat
from site_node.node.heartbeat import presence_of, start_heartbeat
from site_node.node.open import Node, open_node
from site_node.node.service import serve
from tests.factories.federation import Federation, running_federation
from tests.factories.pipeline import key_of

WORDS = {
    "version": "version",
    "received": "were received",
    "waiting": "wait,",
    "quarantined": "quarantined",
    "excluded": "excluded",
    "refused": "refused",
    "submitted": "submitted",
    "queued": "sealed to be sent",
    "free_bytes": "free bytes",
    "certificate_ends_at": "end of its certificate",
}


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


@pytest.fixture(scope="module")
def home(federation: Federation) -> SiteHome:
    home = federation.site("Beating Hospital")[0]
    ledger = Ledger(home.ledger)
    for number, state in enumerate([*State, State.SEALED, State.REFUSED]):
        ledger.add_study(key_of(f"study-{number}"), [], state=state)
    ledger.close()
    return home


@pytest.fixture
def node(home: SiteHome) -> Iterator[Node]:
    with open_node(home) as opened:
        yield opened


def moved(node: Node, address: str) -> Membership:
    """The membership, with the coordinator at another address."""
    assert node.membership is not None
    addresses = node.membership.addresses.model_copy(update={"main": address})
    return node.membership.model_copy(update={"addresses": addresses})


def beat(node: Node, seconds: float) -> float:
    """Let it report for so long; how many seconds its end took."""
    stop = threading.Event()
    thread = start_heartbeat(node, stop, lambda: None)
    assert thread is not None
    time.sleep(seconds)
    stop.set()
    began = time.monotonic()
    thread.join(30)
    assert not thread.is_alive()
    return time.monotonic() - began


def test_it_says_what_status_says(node: Node) -> None:
    """The same counts of studies by place, at every mixture of states."""
    assert node.membership is not None
    presence, status = presence_of(node, node.membership), status_of(node.ledger, name="x", site_id=None)
    assert presence.received == status.received == len(State) + 2
    assert presence.submitted == status.submitted
    for place in ("waiting", "quarantined", "excluded", "refused"):
        assert getattr(presence, place) == getattr(status, place).total
    assert presence.queued == status.waiting.reasons["sealed"] == 2


def test_every_number_that_is_sent_is_named_in_what_leaves() -> None:
    """A field that is added to the report fails here until the page says it."""
    assert set(WORDS) == {field.name for field in Presence.DESCRIPTOR.fields}
    text = what_leaves(load_protocol())
    assert all(words in text for words in WORDS.values())


def test_a_coordinator_that_is_there_hears_it(federation: Federation, node: Node) -> None:
    beat(node, 2)
    with federation.reading() as reading:
        assert node.membership is not None
        presence = reading.presence(node.membership.site_id)
    assert presence is not None
    assert presence.received == len(State) + 2


def test_a_certificate_that_is_due_is_renewed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by every command that connects; one that is not due stays."""
    assert node.membership is not None
    certificate = node.membership.certificate
    before, due = certificate.read_bytes(), pki.renew_at(certificate.read_bytes())
    beat(node, 1)
    assert certificate.read_bytes() == before
    monkeypatch.setattr(heartbeat, "datetime", SimpleNamespace(now=lambda _: due))
    beat(node, 2)
    assert certificate.read_bytes() != before


def test_a_coordinator_that_is_away_is_no_news(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is logged, and it ends at once."""
    monkeypatch.setattr(heartbeat, "membership_of", lambda _: moved(node, "127.0.0.1:1"))
    with capture_logs() as logged:
        assert beat(node, 1) < 2
    assert logged == []


def test_a_coordinator_that_is_frozen_holds_no_end_up(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report under way is given up when the node stops."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(heartbeat, "membership_of", lambda _: moved(node, address))
        assert beat(node, 1) < 2


def test_it_can_be_switched_off(node: Node, tmp_path: Path) -> None:
    """By the setting alone."""
    off = Node(node.home, node.settings.model_copy(update={"heartbeat": False}), node.ledger, node.membership)
    assert start_heartbeat(off, threading.Event(), lambda: None) is None


def test_another_error_is_said_once(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not each minute."""
    monkeypatch.setattr(heartbeat, "_EVERY_SECONDS", 0.05)

    def fail(*_: object) -> Presence:
        raise PermissionError(13, "/secret")

    monkeypatch.setattr(heartbeat, "presence_of", fail)
    with capture_logs() as logged:
        beat(node, 0.5)
    assert [entry["code"] for entry in logged] == ["PermissionError"]


def test_a_node_that_runs_reports(federation: Federation) -> None:
    """From its start on, before anything was received, and no longer than it runs."""
    home = federation.site("Running Hospital")[0]
    stop = threading.Event()
    with open_node(home) as opened:
        settings = opened.settings.model_copy(update={"poll_seconds": 0.1})
        running = Node(home, settings, opened.ledger, opened.membership)
        assert opened.membership is not None
        threading.Timer(2, stop.set).start()
        serve(running, stop, federation=False, ready=lambda: None)
        site_id = opened.membership.site_id
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]
    with federation.reading() as reading:
        presence = reading.presence(site_id)
    assert presence is not None
    assert presence.received == 0


def test_a_node_reports_so_often_and_no_more(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits between two reports, whether the coordinator answers or not, and ends at once."""
    reports, stop = list[float](), threading.Event()

    def report(*_: object) -> None:
        reports.append(time.monotonic())
        if len(reports) == 2:
            raise CoordinatorUnreachable(address="nowhere:1")
        if len(reports) == 3:
            stop.set()

    monkeypatch.setattr(heartbeat, "report", report)
    monkeypatch.setattr(heartbeat, "_EVERY_SECONDS", 0.2)
    heartbeat._report_on(node, stop, lambda: None)
    assert len(reports) == 3
    assert reports[2] - reports[0] >= 0.4
