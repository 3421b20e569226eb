"""The service receives each entry of the inbox once, waits without work, and is woken by what a command entered."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.errors.base import RicordError
from shared.errors.inputs import NoDicomFound, SourceMissing
from shared.errors.settings import HomeBusy
from shared.errors.storage import DiskFull, DiskNearlyFull
from shared.errors.transport import CoordinatorUnreachable
from site_node.home.folder import SiteHome, init_home
from site_node.home.ledger import Ledger, State
from site_node.monitoring.watch import Watch
from site_node.node import service
from site_node.node.acquisition import Acquisition
from site_node.node.inbox import InboxWatcher
from site_node.node.intake import Intake
from site_node.node.open import Node, open_node
from site_node.node.passes import Pass
from site_node.node.pipeline import Progress
from site_node.study import Ending
from tests.factories.dicom import make_ct, write_file
from tests.factories.pipeline import key_of

INTAKE = Intake(studies=2, instances=7, late=1, duplicates=0, files={"no-dicom": 3, "truncated": 4})
FULL = DiskFull(folder="x"), DiskNearlyFull(folder="x", least="1")


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    home = init_home(tmp_path / "home", name="General")
    for name in ("a", "b", "c"):
        (home.folder / "inbox" / name).touch()
    return home


@pytest.fixture
def node(home: SiteHome) -> Iterator[Node]:
    with open_node(home) as node:
        yield node


def receive_inbox(node: Node, monkeypatch: pytest.MonkeyPatch, ends: dict[str, RicordError]) -> list[str]:
    """Receive the inbox, where the reception of each entry ends so; the entries that were tried."""
    tried = list[str]()

    def receive(_: Node, source: Path, **__: object) -> Intake:
        tried.append(source.name)
        if source.name in ends:
            raise ends[source.name]
        return INTAKE

    monkeypatch.setattr(service, "receive_source", receive)
    inbox = InboxWatcher(node.ledger, node.home.inbox(node.settings), settle=False)
    acquisition = Acquisition(node.home, node.settings, node.stages.names)
    service._receive(node, inbox, acquisition, Watch(node.home))
    return tried


def test_an_entry_is_received_once(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """One without DICOM too, and the ledger has it as refused."""
    assert receive_inbox(node, monkeypatch, {"b": NoDicomFound(source="b")}) == ["a", "b", "c"]
    assert node.ledger.file_counts() == {(Ending.REFUSED, "no-dicom-found"): 1}
    assert receive_inbox(node, monkeypatch, {}) == []


def test_one_that_could_not_be_received_comes_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds up no other, and the log has the kind of its error, and no name."""
    with capture_logs() as logged:
        assert receive_inbox(node, monkeypatch, {"a": SourceMissing(source="a")}) == ["a", "b", "c"]
    assert {"event": "receive.problem", "code": "source-missing", "log_level": "warning"} in logged
    assert receive_inbox(node, monkeypatch, {}) == ["a"]


@pytest.mark.parametrize("error", [HomeBusy(folder="x"), *FULL], ids=lambda error: error.code)
def test_where_none_can_be_received_all_wait(
    node: Node, monkeypatch: pytest.MonkeyPatch, error: RicordError, tmp_path: Path
) -> None:
    """Behind a command that receives, and on a full disk, which the log has; the pass goes on, and arrivals come."""
    (image,) = make_ct(slices=1, rows=8)
    arrivals = Acquisition(node.home, node.settings, node.stages.names).arrivals
    content = write_file(image, tmp_path / "image.dcm").read_bytes()
    arrivals.store(str(image.StudyInstanceUID), str(image.SOPInstanceUID), content)
    with capture_logs() as logged:
        assert receive_inbox(node, monkeypatch, {"b": error}) == ["a", "b"]
    is_full = error in FULL
    assert [entry["code"] for entry in logged if entry["event"] == "receive.blocked"] == [error.code] * is_full
    assert len(node.ledger.studies()) == (0 if is_full else 1)
    assert receive_inbox(node, monkeypatch, {}) == ["b", "c"]
    assert len(node.ledger.studies()) == 1


def test_the_log_counts_what_was_received(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies, images, those that came late, and files."""
    with capture_logs() as logged:
        receive_inbox(node, monkeypatch, {})
    (first, *_) = (entry for entry in logged if entry["event"] == "receive.done")
    assert {name: first[name] for name in ("studies", "instances", "late", "files")} == {
        "studies": 2, "instances": 7, "late": 1, "files": 7,
    }  # fmt: skip


def test_the_log_says_what_a_pass_reached_and_what_blocked_it() -> None:
    """A study by its key; nothing of a pass that did nothing."""
    blocked = CoordinatorUnreachable(address="nowhere:1")
    with capture_logs() as logged:
        service._log_pass(Pass())
    assert logged == []
    with capture_logs() as logged:
        service._log_pass(Pass({key_of("a"): State.SEALED}, Progress(moved=1, blocked=blocked)))
    assert [(entry["event"], entry.get("state"), entry.get("code")) for entry in logged] == [
        ("study", "sealed", None),
        ("submit.blocked", None, blocked.code),
    ]


def test_an_idle_node_waits_for_its_time_a_command_or_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says meanwhile that it waits."""
    monkeypatch.setattr(service, "_WAKE_SECONDS", 0.02)
    beats = list[float]()
    watch: Any = SimpleNamespace(waiting=lambda: beats.append(time.monotonic()))

    def waited(stop: threading.Event, seconds: float, is_woken: bool) -> tuple[float, int]:
        beats.clear()
        began = time.monotonic()
        service._wait(stop, seconds, lambda: is_woken, watch)
        return time.monotonic() - began, len(beats)

    stop = threading.Event()
    seconds, count = waited(stop, 0.2, is_woken=False)
    assert seconds >= 0.2
    assert 1 <= count <= 10
    assert waited(stop, 60, is_woken=True)[0] < 30
    assert waited(stop, 0, is_woken=False)[1] == 0
    stop.set()
    assert waited(stop, 60, is_woken=False)[0] < 30


def test_a_command_that_changes_a_study_wakes_the_node(home: SiteHome) -> None:
    """Not what it does otherwise, nor what the node does itself; and a ledger that cannot be asked wakes nobody."""
    with closing(Ledger(home.ledger)) as own, closing(Ledger(home.ledger)) as other:
        is_woken = service._waker(own)
        assert not is_woken()
        own.add_study(key_of("own"), ["a"], state=State.RECEIVED)
        assert not is_woken()
        is_woken = service._waker(own)
        other.inbox_entries.add("a snapshot")
        assert not is_woken()
        other.add_study(key_of("other"), ["b"], state=State.RECEIVED)
        assert is_woken()
        is_woken = service._waker(own)
    assert not is_woken()


@pytest.mark.parametrize("fails", [False, True])
def test_a_service_that_ends_has_ended_its_threads(node: Node, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """However it ended: what it started is events to stop and waited for, and whoever supervises it hears of both."""
    stop, events = threading.Event(), list[str]()
    threads = list[threading.Thread]()

    def last() -> None:
        stop.wait(30)
        time.sleep(0.1)

    def start(*_: object) -> threading.Thread:
        threads.append(threading.Thread(target=last))
        threads[-1].start()
        return threads[-1]

    def passes(*_: object) -> None:
        events.append("passes")
        if fails:
            raise HomeBusy(folder="x")
        stop.set()

    for name in ("start_heartbeat", "start_federation"):
        monkeypatch.setattr(service, name, start)
    monkeypatch.setattr(service, "notify", events.append)
    monkeypatch.setattr(service, "_serve", passes)

    def serve() -> None:
        service.serve(node, stop, federation=True, ready=lambda: events.append("ready"))

    if fails:
        with pytest.raises(HomeBusy):
            serve()
    else:
        serve()
    assert events == ["ready", "READY=1", "passes", "STOPPING=1"]
    assert stop.is_set()
    assert [thread.is_alive() for thread in threads] == [False, False]


def test_without_federated_work_no_thread_waits_for_it(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a node that is asked to take part does."""
    started = list[str]()
    monkeypatch.setattr(service, "start_heartbeat", lambda *_: started.append("heartbeat"))
    monkeypatch.setattr(service, "start_federation", lambda *_: started.append("federation"))
    monkeypatch.setattr(service, "_serve", lambda *_: None)
    for federation in (False, True):
        service.serve(node, threading.Event(), federation=federation, ready=lambda: None)
    assert started == ["heartbeat", "heartbeat", "federation"]


def test_once_is_one_pass_over_all_that_is_here(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """It settles nothing and waits for nobody: an entry and an arrival of this moment are received at once."""
    given = dict[str, object]()
    monkeypatch.setattr(service, "receive_source", lambda *_, **__: INTAKE)

    def run(*_: object, **more: object) -> Pass:
        given.update(more)
        return Pass()

    monkeypatch.setattr(service, "run_pass", run)
    assert service.run_once(node, threading.Event()) == Pass()
    assert given["shown"] is True
    assert not list(InboxWatcher(node.ledger, node.home.inbox(node.settings), settle=False).ready())


def test_the_service_waits_after_each_pass(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the settings say, whether the pass failed or not."""
    stop, passes, waits = threading.Event(), list[str](), list[float]()

    def run(*_: object, **__: object) -> Pass:
        passes.append("pass")
        if len(passes) == 3:
            stop.set()
        if len(passes) == 2:
            raise FULL[0]
        return Pass()

    monkeypatch.setattr(service, "run_pass", run)
    monkeypatch.setattr(service, "_wait", lambda _stop, seconds, *_: waits.append(seconds))
    acquisition = Acquisition(node.home, node.settings, node.stages.names)
    service._serve(node, stop, acquisition, Watch(node.home))
    assert waits == [node.settings.poll_seconds] * 3


@pytest.mark.parametrize("is_enrolled", [False, True])
def test_once_asks_the_coordinator_what_is_due(node: Node, monkeypatch: pytest.MonkeyPatch, is_enrolled: bool) -> None:
    """For the proof of its audit log and for what became of studies; before enrolment there is none to ask."""
    asked = list[str]()
    for name in ("DailyProof", "StatesWatch"):
        due = SimpleNamespace(ask_if_due=lambda *_, name=name: asked.append(name))
        monkeypatch.setattr(service, name, lambda due=due: due)
    monkeypatch.setattr(service, "receive_source", lambda *_, **__: INTAKE)
    monkeypatch.setattr(service, "run_pass", lambda *_, **__: Pass())
    membership: Any = SimpleNamespace()
    service.run_once(replace(node, membership=membership if is_enrolled else None), threading.Event())
    assert asked == (["DailyProof", "StatesWatch"] if is_enrolled else [])
