"""Whoever the registry names takes part, from that moment to the moment when it no longer does, and hears of it."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from coordinator.federation import grid, masked, superlink
from coordinator.federation.answers import too_far
from coordinator.federation.interface import RegisteredNode
from coordinator.federation.link_state import LinkState
from coordinator.federation.masked import MaskedRounds
from coordinator.federation.superlink import SuperLink, SuperLinkSettings
from shared.errors.federation import RunFailed
from shared.federation import records
from shared.federation.averaging import Average
from shared.federation.task import TrainingTask
from shared.ids import SiteId

FIRST, SECOND, THIRD = map(SiteId, ("100000", "123456", "419639"))


def pem() -> bytes:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


KEYS = {site: pem() for site in (FIRST, SECOND, THIRD)}


class Registry:
    """Names some sites; and hears what is posted."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, set[SiteId]]] = []
        self.name(FIRST, SECOND)

    def name(self, *sites: SiteId) -> None:
        self._nodes = {site: RegisteredNode(public_key=KEYS[site], fingerprint="SHA256:x") for site in sites}

    def nodes(self, _: object) -> Mapping[SiteId, RegisteredNode]:
        return self._nodes

    def post(self, notice: str, sites: set[SiteId]) -> None:
        self.posted.append((notice, set(sites)))


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def link(registry: Any, monkeypatch: pytest.MonkeyPatch) -> SuperLink:
    monkeypatch.setattr(superlink, "prepare_environment", lambda _: None)
    file = Path("unused")
    settings = SuperLinkSettings(folder=file, host="127.0.0.1", port=1, certificate=file, key=file)
    return SuperLink(settings, registry, registry)


def test_only_the_key_of_a_site_that_is_named_is_let_in(link: SuperLink, registry: Registry) -> None:
    """Asked at every message: one that is no longer named is out at once, and hears of it; a new one is in."""
    assert [link._admits(KEYS[site]) for site in KEYS] == [True, True, False]
    registry.name(SECOND, THIRD)
    assert [link._admits(KEYS[site]) for site in KEYS] == [False, True, True]
    assert registry.posted == [("stop", {FIRST})]
    registry.name(FIRST, SECOND, THIRD)
    assert all(link._admits(key) for key in KEYS.values())
    assert len(registry.posted) == 1, "nobody left"


def test_a_node_is_known_as_long_as_its_site_is_named(link: SuperLink, registry: Registry) -> None:
    """A key that comes back is registered again."""
    for sites in ((FIRST, SECOND), (SECOND,), (THIRD, FIRST), ()):
        registry.name(*sites)
        link._follow_registry()
        assert set(link.nodes()) == set(sites)
        assert len(set(link.nodes().values())) == len(sites)


def test_work_is_posted_to_the_sites_of_the_nodes(link: SuperLink, registry: Registry) -> None:
    """And to no others."""
    link._follow_registry()
    nodes = link.nodes()
    link._post([nodes[SECOND], 7])
    assert registry.posted == [("work", {SECOND})]
    assert not link.waiting(FIRST)
    assert not link.waiting(THIRD)


def test_a_node_is_online_once_it_signed_on() -> None:
    """And not before, nor where nobody knows it."""
    state = LinkState(lambda _: True)
    node, other = state.add_node(b"a key"), state.add_node(b"another key")
    assert not state.is_online(node)
    state.activate_node(node, 30)
    assert [state.is_online(each) for each in (node, other, 12345)] == [True, False, False]
    state.deactivate_node(node)
    assert not state.is_online(node)


@pytest.mark.parametrize(
    ("images", "loss", "away", "is_legal"),
    [(3, 0.0, 0.0, True), (2, 0.0, 0.0, False), (30, -0.01, 0.0, False), (30, 0.5, 2.0, False), (30, 0.5, 0.5, True)],
)
def test_a_pooled_update_is_one_of_legal_updates(
    monkeypatch: pytest.MonkeyPatch, images: int, loss: float, away: float, is_legal: bool
) -> None:
    """An image of each of three sites at least, no loss below nought, and no further than a plan allows."""
    task, start = TrainingTask(update_norm=1.0), np.zeros(4, dtype=np.float32)
    state = start + np.float32(away / 2)
    monkeypatch.setattr(masked, "averaged", lambda *_, **__: Average(np.append(state, loss), images))
    assert too_far(state, start, task) == (away > 1)
    rounds: Any = object.__new__(MaskedRounds)
    rounds._task = task
    total: Any = SimpleNamespace(total=np.zeros(1, dtype=np.uint64), survivors=(FIRST, SECOND, THIRD))
    if is_legal:
        arrays, figures = rounds._trained(total, start)
        assert np.array_equal(arrays[records.ARRAYS][records.STATE].numpy(), state)
        assert figures == {records.EXAMPLES: images, records.LOSS: loss, records.FIGURES: 1}
    else:
        with pytest.raises(RunFailed, match="outside the plan's bounds"):
            rounds._trained(total, start)


def test_who_waits_for_a_change_sleeps_until_there_is_one() -> None:
    """Or until the time is over; what changed before counts at once."""
    state = LinkState(lambda _: True)
    node, began = state.add_node(b"a key"), time.monotonic()
    state.wait(state.changes(), 0.3)
    assert time.monotonic() - began >= 0.3
    since, began = state.changes(), time.monotonic()
    change = threading.Timer(0.1, state.activate_node, (node, 30))
    change.start()
    state.wait(since, 30)
    assert 0.1 <= time.monotonic() - began < 20
    assert state.changes() > since
    began = time.monotonic()
    state.wait(since, 30)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("fails", ["", "start", "follow"])
def test_a_port_that_ends_has_ended_all_that_it_began(
    link: SuperLink, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails: str
) -> None:
    """The server, then what answers under way; sites hear of work once it listens, and not where it does not."""
    events = list[str]()

    def step(name: str) -> None:
        events.append(name)
        if name == fails:
            raise RunFailed(problem=name)

    certificate = tmp_path / "certificate.pem"
    certificate.touch()
    monkeypatch.setattr(link, "_settings", link._settings.model_copy(update={"certificate": certificate}))
    port = SimpleNamespace(close=lambda: step("close"), answer_ourselves=lambda: None)
    server = SimpleNamespace(stop=lambda: step("stop"), start=lambda: step("start"), start_soon=lambda _: None)
    monkeypatch.setattr(superlink, "FleetPort", lambda *_: port)
    monkeypatch.setattr(superlink, "listen", lambda *_: None)
    monkeypatch.setattr(superlink, "HttpsServer", lambda *_, **__: server)
    monkeypatch.setattr(link, "_follow_registry", lambda: step("follow"))
    monkeypatch.setattr(registry, "post_to_everybody", step, raising=False)
    if fails:
        with pytest.raises(RunFailed, match=fails), link:
            pass
        assert events == [*["follow", "start"][: 1 + (fails == "start")], "stop", "close"]
    else:
        with link:
            step("block")
        assert events == ["follow", "start", "work", "block", "stop", "close"]


def test_sites_are_asked_who_takes_part_no_longer_than_a_round_may_last() -> None:
    """Nor so long as a round, where that is longer."""
    for seconds, longest in ((1, 1), (10**6, grid._READY_SECONDS)):
        waited = list[float]()

        def collect(_: object, __: str, patience: float, waited: list[float] = waited) -> tuple[Any, Any]:
            waited.append(patience)
            return {}, {}

        asking: Any = SimpleNamespace(
            plan=SimpleNamespace(timeout_seconds=seconds), signed="plan", get_node_ids=list, _collect=collect
        )
        assert grid.RosterGrid.undecided(asking) == ()
        assert waited == [longest]
