"""A fault walk: each thing that the service depends on fails with a study at every stage, then heals by itself."""

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from coordinator.service import admission
from coordinator.service.slots import Slots
from coordinator.store import sql
from shared.durable import write_whole
from shared.receipt import Receipt
from shared.signed import Signed
from site_node.home.database import open_database
from site_node.home.folder import SiteHome
from site_node.home.ledger import ENDED, STATE_ORDER, State
from site_node.membership.record import Membership
from site_node.node.intake import receive_source
from site_node.node.open import Node, open_node
from site_node.node.passes import run_pass
from site_node.node.service import serve
from tests.factories.federation import Federation, make_federation
from tests.factories.films import deliver, film, prepare

STAGES = STATE_ORDER[:-1]
PASSES = 3  # under a fault: an entry of the inbox is received in the second
BUSY_MILLISECONDS = 50  # instead of 30 s, so that every lock below lasts longer


@dataclass
class Hospital:
    """A site whose coordinator runs in this process as long as `coordinator` is open."""

    federation: Federation
    home: SiteHome
    member: Membership
    coordinator: ExitStack
    sent: int = 0

    @property
    def coordinator_home(self) -> Path:
        """The coordinator's folder."""
        return self.federation.home.folder


@contextmanager
def stopped(hospital: Hospital) -> Iterator[None]:
    """The coordinator is stopped."""
    hospital.coordinator.close()
    yield
    hospital.coordinator.enter_context(hospital.federation.serving())


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another program keeps a database locked for longer than anybody waits."""
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("begin immediate")
    try:
        yield
    finally:
        other.close()


@contextmanager
def locked_in_a_stage(hospital: Hospital) -> Iterator[None]:
    """The site's ledger is locked from the moment on when a stage wrote its first record."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as lock:

        def write_then_lock(path: Path, data: bytes, *, mode: int = 0o644) -> None:
            patch.undo()
            write_whole(path, data, mode=mode)
            lock.enter_context(locked(hospital.home.ledger))

        patch.setattr("site_node.home.records.write_whole", write_then_lock)
        yield


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """No file below `folder` can be made or made durable."""

    def failing(name: str, path_of: Callable[..., Path], *, when: Callable[..., bool]) -> None:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if when(*args) and folder in path_of(*args).absolute().parents:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **kwargs)

        disk.setattr(os, name, call)

    with pytest.MonkeyPatch.context() as disk:
        failing("open", lambda path, *_: Path(path), when=lambda _path, flags, *_: bool(flags & os.O_CREAT))
        for name in ("fsync", "fdatasync"):
            failing(name, lambda handle: Path(f"/proc/self/fd/{handle}").readlink(), when=lambda _handle: True)
        yield


@contextmanager
def suspended(hospital: Hospital) -> Iterator[None]:
    """The agreement is out of force until it is executed again."""
    hospital.federation.suspend("Walk Hospital")
    yield
    hospital.federation.execute("Walk Hospital")


@contextmanager
def busy(hospital: Hospital) -> Iterator[None]:
    """The coordinator has no room for another call of a site."""
    del hospital
    claim = Slots.claim
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admission, "BUSY_SECONDS", 0)
        patch.setattr(Slots, "claim", lambda slots, caller: "/site/" not in caller and claim(slots, caller))
        yield


@contextmanager
def expired(hospital: Hospital) -> Iterator[None]:
    """The coordinator's clock is ahead, so that the site's certificate is over for it."""
    hospital.federation.time.ahead = timedelta(days=200)
    yield
    hospital.federation.time.ahead = timedelta()


FAULTS: dict[str, Callable[[Hospital], AbstractContextManager[None]]] = {
    "coordinator-stopped": stopped,
    "coordinator-busy": busy,
    "coordinator-locked": lambda hospital: locked(hospital.coordinator_home / "coordinator.sqlite"),
    "coordinator-full": lambda hospital: full(hospital.coordinator_home),
    "ledger-locked": lambda hospital: locked(hospital.home.ledger),
    "ledger-locked-in-a-stage": locked_in_a_stage,
    "home-full": lambda hospital: full(hospital.home.folder),
    "agreement-suspended": suspended,
    "certificate-expired": expired,
}


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """One site for the whole walk, with a clinical sheet for all its patients."""
    federation = make_federation(tmp_path_factory.mktemp("walk"))
    with pytest.MonkeyPatch.context() as patch, ExitStack() as coordinator:
        wait_shortly(patch)
        coordinator.enter_context(federation.serving())
        federation.curator()
        home, member = federation.site("Walk Hospital")
        patients = [f"{fault}-{number}" for fault in FAULTS for number in range(len(STAGES) + 1)]
        prepare(home, patients, workers=1)
        yield Hospital(federation, home, member, coordinator)


def wait_shortly(patch: pytest.MonkeyPatch) -> None:
    """Shorten every wait for a lock, and the pauses between tries to send."""

    def open_shortly(file: Path, *, durable: bool) -> sqlite3.Connection:
        db = open_database(file, durable=durable)
        db.execute(f"pragma busy_timeout = {BUSY_MILLISECONDS}")
        return db

    connect = sql._on_sqlite_connect

    def connect_shortly(connection: Any, entry: Any) -> None:
        connect(connection, entry)
        connection.execute(f"pragma busy_timeout = {BUSY_MILLISECONDS}").close()

    patch.setattr("site_node.home.ledger.open_database", open_shortly)
    patch.setattr(sql, "_on_sqlite_connect", connect_shortly)
    patch.setattr("site_node.submit.client._PAUSES", (0.01,) * 3)


def place_at_every_stage(node: Node, fault: str) -> None:
    """Move a new study to each stage, and put one into the inbox."""
    for number, state in enumerate(reversed(STAGES)):
        receive_source(node, film(node.home, f"{fault}-{number}"))
        run_pass(node, state)
    assert {entry.state for entry in node.ledger.studies() if entry.state not in ENDED} == set(STAGES)
    deliver(node.home, film(node.home, f"{fault}-{len(STAGES)}"))


@dataclass
class Walk:
    """What happens after each pass of the service: the fault heals after some, and the service stops once all is sent.

    A fault ends no study on the way.
    """

    node: Node
    fault: ExitStack
    expected: int
    passes: int = field(default=0)

    def wait(self, stop: threading.Event, _seconds: float, _is_woken: Callable[[], bool], _watch: object) -> None:
        """One pass is over."""
        self.passes += 1
        endings = {entry.state for entry in self.node.ledger.studies()} & ENDED
        assert endings <= {State.SUBMITTED}, "a fault ended a study"
        if self.passes == PASSES:
            assert len(self.node.ledger.studies(State.SUBMITTED)) < self.expected, "the fault was none"
            self.fault.close()
        if self.passes > PASSES:
            if len(self.node.ledger.studies(State.SUBMITTED)) == self.expected:
                stop.set()
            assert self.passes < 100, "it does not heal"
            stop.wait(0.1)  # a connection is tried again after a second


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_every_study_comes_to_its_receipt(
    hospital: Hospital, fault: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service goes on without a person; no study ends for the fault, and nothing anywhere is `internal-error`."""
    with capture_logs() as logs, open_node(hospital.home) as node:
        place_at_every_stage(node, fault)
        hospital.sent += len(STAGES) + 1
        with ExitStack() as failing:
            walk = Walk(node, failing, hospital.sent)
            monkeypatch.setattr("site_node.node.service._wait", walk.wait)
            begin = FAULTS[fault](hospital)
            serve(node, threading.Event(), federation=False, ready=lambda: failing.enter_context(begin))
        studies, events = node.ledger.studies(), node.ledger.events()
    assert len(studies) == hospital.sent
    for study in studies:
        assert study.receipt is not None
        signed = Signed.model_validate_json((hospital.home.receipts / study.receipt).read_bytes())
        signed.verified(hospital.member.coordinator_key, Receipt, what="receipt")
    with hospital.federation.reading() as reading:
        submissions = reading.submissions(hospital.member.site_id)
        coordinator_events = reading.events(limit=10_000)
    assert sorted(row.sequence for row in submissions) == list(range(1, hospital.sent + 1))
    assert list(hospital.home.outbox.iterdir()) == []
    written = [studies, events, coordinator_events, logs, capfd.readouterr()]
    assert not [text for text in map(str, written) if "internal-error" in text or "Traceback" in text]
