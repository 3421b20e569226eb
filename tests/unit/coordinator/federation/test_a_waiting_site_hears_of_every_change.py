"""A site that waits hears at once whether work waits, and of every change, though a notice may be lost."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator.federation import waiting as module
from coordinator.federation.notices import Notice, Notices
from coordinator.federation.registry import StoredNodes
from coordinator.federation.service import FederationService
from coordinator.federation.waiting import WaitingSites
from coordinator.home.identity import Identity
from coordinator.store.sql import SqlStore, open_store
from shared.agreement import State
from shared.crypto.pki import make_ca
from shared.crypto.signing import SigningKey
from shared.errors.agreements import AgreementNotExecuted
from shared.ids import SiteId
from shared.manifest import canonical_json
from shared.protocol.loader import load_protocol
from shared.token import Addresses
from tests.factories.registered import add_site

SITES = [SiteId(str(200000 + n)) for n in range(4)]
QUERY = {"purpose": "statistics", "statistics": {"cohort": load_protocol("ricord").cohort.name}, "sites": SITES[:3]}


class Heard:
    """A site's open call: what it heard, and whether it ended."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.ended = False
        self._forget: Callable[[], None] = lambda: None

    def send(self, notice: Notice) -> None:
        """Hear a notice."""
        self.notices.append(notice)

    def end(self) -> None:
        """End the call, as grpcio does."""
        self.ended = True
        self._forget()

    def on_end(self, forget: Callable[[], None]) -> None:
        """What to call then."""
        self._forget = forget

    def says(self, *notices: Notice) -> bool:
        """Whether the site hears exactly this within five seconds."""
        return comes_true(lambda: self.notices == list(notices))


def comes_true(condition: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'coordinator.sqlite'}")
    for site in SITES:
        add_site(opened, SigningKey.generate(), site, SigningKey.generate())
    yield opened
    opened.close()


@pytest.fixture
def runs(store: SqlStore) -> FederationService:
    identity = Identity(
        federation="test-federation",
        addresses=Addresses(enrolment="127.0.0.1:1", main="127.0.0.1:2"),
        authority=make_ca("test-federation"),
        signing_key=SigningKey.generate(),
        protocol=load_protocol().named,
    )
    return FederationService(store, identity, fleet_address="127.0.0.1:3", nodes=StoredNodes(store))


@pytest.fixture
def waiting(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[WaitingSites]:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.05)
    sites = WaitingSites(store)
    with sites.watching():
        yield sites


def waits(waiting: WaitingSites, site: SiteId) -> Heard:
    """A site that begins to wait."""
    heard = Heard()
    waiting.enter(site, heard)
    return heard


def test_a_run_is_heard_of_by_its_roster_until_it_ends(waiting: WaitingSites, runs: FederationService) -> None:
    """Without any notice; a site that begins to wait later hears it at once."""
    first, other = waits(waiting, SITES[0]), waits(waiting, SITES[3])
    assert first.notices == other.notices == ["stop"]
    run = runs.start_run(canonical_json(QUERY), actor="a")
    assert first.says("stop", "work")
    assert waits(waiting, SITES[1]).notices == ["work"]
    runs.stop_run(run.id, actor="a")
    assert first.says("stop", "work", "stop")
    assert other.notices == ["stop"]


def test_a_run_that_is_asked_for_is_heard_of_before_the_next_look(
    store: SqlStore, runs: FederationService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within milliseconds, by the signal that the engine itself is woken by."""
    monkeypatch.setattr(module, "_LOOK_SECONDS", 60.0)
    waiting = WaitingSites(store)
    with waiting.watching():
        first = waits(waiting, SITES[0])
        runs.start_run(canonical_json(QUERY), actor="a")
        assert first.says("stop", "work")


def test_a_notice_is_heard_before_the_runs_are_read(
    waiting: WaitingSites, runs: FederationService, store: SqlStore
) -> None:
    """Each one, since each may be of another message; to the sites that it names."""
    runs.start_run(canonical_json(QUERY), actor="a")
    first, second = waits(waiting, SITES[0]), waits(waiting, SITES[1])
    for _ in range(3):
        Notices(store.signals).post("work", [SITES[0]])
    assert first.says("work", "work", "work", "work")
    assert second.notices == ["work"]


def test_a_site_that_waits_twice_waits_once(waiting: WaitingSites, runs: FederationService) -> None:
    """The later call stands, the earlier one ends; one that ended hears nothing more and is forgotten."""
    first = waits(waiting, SITES[0])
    second = waits(waiting, SITES[0])
    assert (first.ended, second.ended) == (True, False)
    runs.start_run(canonical_json(QUERY), actor="a")
    assert second.says("stop", "work")
    assert first.notices == ["stop"]
    second.end()
    assert not waiting._sites
    assert not waiting._notices._heard


def test_who_may_not_take_part_does_not_wait(waiting: WaitingSites, runs: FederationService, store: SqlStore) -> None:
    """At the beginning it is refused with the reason; later its call ends, and the next one is refused."""
    key, first = SigningKey.generate(), waits(waiting, SITES[0])
    add_site(store, key, SITES[1], key, state=State.SUSPENDED)
    with pytest.raises(AgreementNotExecuted):
        waits(waiting, SITES[1])
    run = runs.start_run(canonical_json({**QUERY, "sites": [SITES[0], *SITES[2:]]}), actor="a")
    assert first.says("stop", "work")
    add_site(store, key, SITES[0], key, state=State.SUSPENDED)
    runs.stop_run(run.id, actor="a")
    assert comes_true(lambda: first.ended)
    assert first.notices == ["stop", "work"]


def test_the_end_of_the_watch_ends_every_call(store: SqlStore) -> None:
    """So that a coordinator that stops does not wait for its sites."""
    sites = WaitingSites(store)
    with sites.watching():
        heard = [waits(sites, site) for site in SITES]
    assert all(each.ended for each in heard)
