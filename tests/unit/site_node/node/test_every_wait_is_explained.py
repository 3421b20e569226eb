"""`status` says what waits, for whom, since when and what is next; and whether a node is at work."""

import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.agreement import Mode
from shared.errors.agreements import AgreementTerminated
from shared.errors.settings import HomeBusy
from shared.errors.transport import CoordinatorUnreachable
from shared.ids import StudyKey
from site_node.federate.policy import POLICY_FILE, write_default_policy
from site_node.home.folder import SiteHome, init_home
from site_node.home.ledger import STATE_ORDER, Ledger, State
from site_node.home.retrieve_requests import Part
from site_node.membership.witness import Contradiction, Witness
from site_node.node.inbox import InboxWatcher
from site_node.node.obstacles import keep_obstacle
from site_node.node.open import open_node
from site_node.node.service import STOPPING, until_signal
from site_node.node.waits import Whom, federated_work, waits_of
from tests.factories.federation import Federation, running_federation

ON_THE_WAY = (*STATE_ORDER[1:-1], State.QUARANTINED)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


def fill(home: SiteHome) -> None:
    """A study in each state, and a request to the PACS."""
    ledger = Ledger(home.ledger)
    for number, state in enumerate((State.RECEIVED, *ON_THE_WAY, State.SUBMITTED)):
        key = StudyKey(f"{number:032x}")
        ledger.add_study(key, ["a"], state=State.RECEIVED)
        if state is not State.RECEIVED:
            ledger.advance(key, state)
    ledger.requests.add(["list-1"])
    ledger.close()


def waiting(home: SiteHome, *, running: bool = False) -> dict[Whom, tuple[int, str]]:
    with open_node(home, writing=False) as node:
        waits = waits_of(node, running=running)
    assert all(timedelta(0) <= datetime.now(UTC) - wait.since < timedelta(minutes=1) for wait in waits)
    return {wait.whom: (wait.count, wait.next) for wait in waits}


def test_federated_work_waits_for_an_audit_log_that_contradicts_nothing(federation: Federation) -> None:
    """The reason is the witness's, and what to do stands with it."""
    home = federation.site("Contradicted Hospital")[0]
    write_default_policy(home.folder / POLICY_FILE)
    Witness(home).stop(Contradiction(problem="it was cut", seen_at=datetime.now(UTC)))
    with open_node(home, writing=False) as node:
        work = federated_work(node, running=False)
    assert not work.possible
    assert "it was cut" in work.next
    assert "witness resume" in work.next


def test_everything_on_its_way_waits_for_somebody(federation: Federation) -> None:
    """Each study that has not ended well is in one row; a submitted one is in none."""
    home = federation.site("Waiting Hospital", modes=("submit",))[0]
    fill(home)
    waits = waiting(home)
    assert {whom: count for whom, (count, _) in waits.items()} == {
        Whom.PERSON: 1,
        Whom.NODE: 4,
        Whom.PACS: 1,
        Whom.COORDINATOR: 1,
    }
    assert waits[Whom.PERSON][1] == "`ricord-site review list`"
    assert "doctor" in waits[Whom.COORDINATOR][1]
    assert "ricord-site run" in waits[Whom.NODE][1]
    assert "ricord-site run" not in waiting(home, running=True)[Whom.NODE][1]


def test_what_the_agreement_does_not_cover_waits_for_it(federation: Federation) -> None:
    home = federation.site("Counting Hospital", modes=("cohort",))[0]
    fill(home)
    assert waiting(home)[Whom.AGREEMENT] == (1, "it does not cover `submit`; ask the coordinator for an amendment")


def test_what_the_agreement_forbids_is_said_as_it_was_met(federation: Federation) -> None:
    """While it covers what is here, the last try says why it waits; another error is the coordinator's to mend."""
    home = federation.site("Terminated Hospital", modes=("submit",))[0]
    fill(home)
    for error, whom in (
        (AgreementTerminated(moment="2026-01-01"), Whom.AGREEMENT),
        (CoordinatorUnreachable(address="nowhere:1"), Whom.COORDINATOR),
    ):
        keep_obstacle(home, error)
        waits = waiting(home)
        assert waits.keys() & {Whom.AGREEMENT, Whom.COORDINATOR} == {whom}
        count, following = waits[whom]
        assert count == 1
        assert error.public.rstrip(".") in following
        assert not following.endswith(".")


def test_before_enrolment_the_agreements_next_step_is_shown(federation: Federation) -> None:
    home = federation.signed_site("Signing Hospital")
    fill(home)
    count, following = waiting(home)[Whom.AGREEMENT]
    assert (count, "the coordinator countersigns" in following) == (4, True)


def test_a_site_that_is_not_enrolled_takes_no_part(tmp_path: Path) -> None:
    """And nobody need read an agreement for that."""
    with open_node(init_home(tmp_path, name="General")) as node:
        work = federated_work(node, running=True)
    assert (work.modes, work.possible, work.next) == ((), False, "the site is not enrolled")


def test_federated_work_is_explained(federation: Federation) -> None:
    """Whether the agreement covers it, the policy allows it, and who does it."""
    home = federation.site("Federated Hospital", modes=("submit", "training"))[0]
    policy = home.folder / POLICY_FILE
    with open_node(home, writing=False) as node:
        without = federated_work(node, running=False)  # no policy allows nothing
        assert (without.possible, str(policy) in without.next, "into a new folder" in without.next) == (
            False,
            True,
            True,
        )
        write_default_policy(policy)
        work = federated_work(node, running=True)
        assert (work.modes, work.possible, "running" in work.next) == ((Mode.TRAINING,), True, True)
        policy.write_text("purposes = []\n")
        assert "allows nothing" in federated_work(node, running=False).next


def test_a_request_that_is_tried_again_says_when(tmp_path: Path) -> None:
    """One that is due now waits for the node's turn only; the next try is the first of all that are open."""
    home = init_home(tmp_path, name="General")
    ledger = Ledger(home.ledger)
    for name, seconds in (("list-1", 7200), ("list-2", 3600)):
        ledger.requests.add([name])
        assert waiting(home, running=True)[Whom.PACS][1] == "the node that is running goes on"
        ledger.requests.retry_later(name, attempts=1, seconds=seconds, reason="pacs-unreachable", parts=())
    request = ledger.requests.get("list-2")
    ledger.close()
    assert request is not None
    assert f"next try at {request.not_before.astimezone():%H:%M:%S}" in waiting(home, running=True)[Whom.PACS][1]


def test_a_terminal_shows_at_once_that_the_end_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C lets the current step end: the first is answered, once; a log gets no such line."""
    for is_terminal in (True, False):
        monkeypatch.setattr(sys.stderr, "isatty", lambda shown=is_terminal: shown)
        with until_signal() as stop:
            assert not stop.is_set()
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            assert stop.is_set()
    assert capfd.readouterr().err == STOPPING


def test_a_running_node_shows_from_outside(tmp_path: Path) -> None:
    """A command that moves studies is none, and to ask disturbs nobody: the lock is free afterwards."""
    home = SiteHome(tmp_path)
    assert not home.is_served()
    with home.writing():
        assert not home.is_served()
        with home.serving():
            assert home.is_served()
            with pytest.raises(HomeBusy), home.writing():
                pass
        assert not home.is_served()
    with home.writing(), home.serving():
        pass


def test_what_came_and_is_in_no_study_yet_waits_for_the_node(tmp_path: Path) -> None:
    """Images that were pushed or fetched, also while they are received, and entries of the inbox; each once.

    A study that the PACS still sends waits for the PACS only.
    """
    home = init_home(tmp_path, name="General")
    assert waiting(home) == {}
    pushed, being_received, awaited, known = (StudyKey(f"{number:032x}") for number in range(4))
    for name in (pushed, f".taking-{being_received}-0123abcd", awaited, known, ".unfinished"):
        (home.arrivals / name).mkdir(parents=True)
    ledger = Ledger(home.ledger)
    ledger.add_study(known, ["a"], state=State.RECEIVED)
    ledger.requests.add(["list-1"])
    ledger.requests.announced("list-1", [Part(key=awaited, announced=3)])
    inbox = home.inbox(home.load())
    inbox.mkdir(exist_ok=True)
    for name in ("before", "now"):
        (inbox / name).touch()
        if name == "before":
            watch = InboxWatcher(ledger, inbox, settle=False)
            watch.mark_received(*watch.ready())
    ledger.close()
    assert {whom: count for whom, (count, _) in waiting(home).items()} == {Whom.NODE: 4, Whom.PACS: 1}
