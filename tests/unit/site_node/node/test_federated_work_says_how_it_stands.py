"""A running node says how its federated work stands, and no defect ends that work."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.agreement import Mode
from shared.errors.transport import CoordinatorUnreachable
from shared.ids import RunId
from site_node.federate.policy import POLICY_FILE, write_default_policy
from site_node.federate.state import StateFile
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.library import decoded_folder, unreadable_count
from site_node.home.plans import PlanState
from site_node.node import federation
from site_node.node.waits import federated_work


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Any]:
    """An enrolled node, as far as federated work asks."""
    write_default_policy(tmp_path / POLICY_FILE)
    membership = SimpleNamespace(federated_modes=(Mode.TRAINING,))
    settings = SimpleNamespace(protocol="ricord", poll_seconds=0.05)
    home = SiteHome(tmp_path)
    with closing(Ledger(home.ledger)) as ledger:
        yield SimpleNamespace(home=home, ledger=ledger, membership=membership, settings=settings)


def test_a_state_is_written_once_and_read_back(tmp_path: Path) -> None:
    """The moment is that of the change; a file that cannot be read says nothing."""
    file = StateFile(tmp_path / "federation")
    assert file.read() is None
    file.say("waiting")
    first = file.read()
    file.say("waiting")
    assert first is not None
    assert first == file.read()
    assert first.words.startswith("it waits for work (since ")
    file.say("working", offline=False)
    state = file.read()
    assert state is not None
    assert state.words.endswith("this kernel does not close the network to its worker")
    (tmp_path / "federation" / "state.json").write_text("{")
    assert file.read() is None


def test_a_running_nodes_state_is_in_its_status(node: Any) -> None:
    """And what keeps it from working; a node that does not run has none."""
    state = StateFile(node.home.federation)
    state.say("lost")
    assert "does not reach the coordinator" in federated_work(node, running=True).next
    state.say("stopped", problem=CoordinatorUnreachable(address="centre:1").public)
    work = federated_work(node, running=True)
    assert not work.possible
    assert "centre:1" in work.next
    assert federated_work(node, running=False).possible


@pytest.mark.parametrize("running", [True, False])
def test_what_waits_for_a_person_is_in_its_status(node: Any, *, running: bool) -> None:
    """While the plan is good; and that a person stopped the work."""
    for hours in (1, -1):
        until = datetime.now(UTC) + timedelta(hours=hours)
        node.ledger.plans.enter(RunId.random(), "", PlanState.PENDING, label="", expires_at=until, about="a plan")
    assert "1 plan waits for a person: `ricord-site federate pending`" in federated_work(node, running=running).next
    node.ledger.plans.stop("A. Miller", "the board meets")
    stopped = federated_work(node, running=running)
    assert (stopped.possible, "stop --allow" in stopped.next) == (False, True)


def test_files_that_cannot_be_read_are_counted(node: Any) -> None:
    """Once, in how many sizes ever a study is kept."""
    for size, names in (("32", ["a.2.npy", "b.0.npy"]), ("64", ["a.2.npy", "c.11.npy"])):
        (decoded_folder(node.home.library) / size).mkdir(parents=True)
        for name in names:
            (decoded_folder(node.home.library) / size / name).touch()
    assert unreadable_count(node.home.library) == 13
    assert "13 files of the library cannot be read" in federated_work(node, running=True).next


def test_a_defect_does_not_end_federated_work(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is begun again, and its text, which may quote a value, is nowhere."""
    stop, ends = threading.Event(), iter([ValueError("SECRET^PATIENT"), CoordinatorUnreachable(address="centre:1")])
    states: list[str] = []

    def answer(*_: object, **__: object) -> int:
        state = StateFile(node.home.federation).read()
        states.append(state.problem if state else "")
        error = next(ends, None)
        if error is not None:
            raise error
        stop.wait(10)
        return 0

    monkeypatch.setattr(federation, "answer_messages", answer)
    monkeypatch.setattr(federation, "load_membership", lambda _: None)
    thread = federation.start_federation(node, stop)
    assert thread is not None
    until = time.monotonic() + 10
    while len(states) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert states[0] == ""
    assert "SECRET" not in "".join(states)
    assert "centre:1" in states[2]
