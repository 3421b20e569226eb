"""A node's figures are its ledger's counts and its own notes; no label is a text that came from outside."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from shared.errors.settings import ServiceNotRunning, ServiceStuck
from shared.errors.storage import DiskNearlyFull
from site_node.home.folder import SiteHome
from site_node.home.free_space import FreeSpace
from site_node.home.ledger import Ledger, State
from site_node.home.plans import PlanState
from site_node.home.status import status_of
from site_node.membership.witness import Contradiction, Witness
from site_node.monitoring.endpoint import monitored
from site_node.monitoring.figures import OTHER, NodeFigures, known_codes
from site_node.monitoring.health import check_health
from site_node.monitoring.watch import BOUNDS, STAGES, Watch
from site_node.node.pipeline import Pipeline, Step
from site_node.study import Ending, Sealed, Severity, Submitted
from tests.factories.pipeline import enter, make_home, make_stages, make_study, reason

NAMES = ("good-1", "good-2", "partly-3", "excluded-4", "review-5", "refused-6", "burned-7", "leaking-8", "defect-9")
FREE = 5 << 30


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    return make_home(tmp_path / "home")


def figures_of(home: SiteHome, watch: Watch | None = None, free: int = FREE) -> dict[str, dict[tuple[str, ...], float]]:
    """By name and labels' values, as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(NodeFigures(home, FreeSpace(home.folder, 1024, lambda _: free), watch or Watch(home)))
    figures = dict[str, dict[tuple[str, ...], float]]()
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            name = sample.name.removeprefix("ricord_site_")
            figures.setdefault(name, {})[tuple(sample.labels.values())] = sample.value
    return figures


def test_figures_are_those_of_status(home: SiteHome, tmp_path: Path) -> None:
    """Studies by place and reason make what was received; images likewise; a stage's times are of its studies."""
    ledger, watch = Ledger(home.ledger), Watch(home)
    enter(home, ledger, *(make_study(home, name) for name in NAMES))

    def report(_key: str, step: Step) -> None:
        if step.seconds is not None:
            watch.entered(step.begun, step.seconds)

    Pipeline(home, ledger, make_stages(home, tmp_path / "submitted"), report=report).run()
    ledger.add_files([("a", Ending.REFUSED, "not-dicom"), ("b", Ending.REFUSED, "not-dicom")])
    status = status_of(ledger, name="", site_id=None)
    ledger.close()
    figures = figures_of(home, watch)
    studies = figures["studies"]
    assert sum(studies.values()) == status.received == len(NAMES)
    assert studies["submitted", ""] == status.submitted == 3
    for place in ("excluded", "quarantined", "refused"):
        assert sum(n for (there, _), n in studies.items() if there == place) == getattr(status, place).total > 0
    assert figures["images"] == {(place,): count for place, count in status.instances.items()}
    assert figures["files"] == {("not-dicom",): 2}
    counts = figures["stage_seconds_count"]
    assert counts["screen",] == len(NAMES)
    assert counts["seal",] == 3
    assert (figures["disk_free_bytes"][()], figures["disk_reserve_bytes"][()]) == (FREE, 1 << 30)


@given(seconds=st.lists(st.floats(0, 1e5), max_size=20))
def test_a_histogram_holds_each_time_once(tmp_path_factory: pytest.TempPathFactory, seconds: list[float]) -> None:
    """At every bound the times that do not exceed it are counted, and all are summed."""
    watch = Watch(SiteHome(tmp_path_factory.getbasetemp()))
    for each in seconds:
        watch.entered(State.RECEIVED, each)
    noted = watch.noted().get(STAGES[State.RECEIVED])
    counts = noted.counts if noted else [0] * len(BOUNDS)
    for number, bound in enumerate(BOUNDS, start=1):
        assert sum(counts[:number]) == sum(each <= bound for each in seconds)
    assert noted is None or noted.total == pytest.approx(sum(seconds))


def test_a_code_from_outside_is_no_label(home: SiteHome) -> None:
    """A reason with a PACS's number, or anything else that no list here has, is counted under one word."""
    ledger = Ledger(home.ledger)
    for number, code in enumerate(("pacs-status-a702", "DOE^JANE", "age-missing")):
        study = make_study(home, f"excluded-{number}")
        enter(home, ledger, study)
        ledger.advance(study.key, State.EXCLUDED, reasons=(reason(code, Severity.REJECT),))
    ledger.associations.add("DOE^JOHN", "SECRET", "SECRET")
    ledger.close()
    assert "age-missing" in known_codes()
    figures = figures_of(home)
    excluded = {code: n for (place, code), n in figures["studies"].items() if place == "excluded"}
    assert excluded == {OTHER: 2, "age-missing": 1}
    assert figures["associations_ended"] == {(OTHER,): 1}
    assert not {text for by in figures.values() for labels in by for text in labels} & {"DOE^JANE", "SECRET"}


def test_the_time_of_the_last_answer_is_shown_once_there_was_one(home: SiteHome) -> None:
    """And what the pulse says."""
    watch = Watch(home)
    figures = figures_of(home, watch)
    assert {"coordinator_contact_timestamp_seconds", "silence_seconds"}.isdisjoint(figures)
    watch.reached()
    assert watch.halted(threading.Event())() is False
    figures = figures_of(home, watch)
    assert figures["coordinator_contact_timestamp_seconds"][()] == pytest.approx(watch.contact_at)
    assert list(figures["silence_seconds"]) == [("working",)]


def test_a_full_disk_is_not_ready_and_alive(home: SiteHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the endpoint is given to ask: a stuck node is neither."""
    asked = dict[str, object]()

    @contextmanager
    def note(*_: object, **checks: object) -> Iterator[None]:
        asked.update(checks)
        yield

    monkeypatch.setattr("site_node.monitoring.endpoint.monitoring", note)
    watch = Watch(home)
    watch.working()
    with monitored(None, home, FreeSpace(home.folder, 1, lambda _: 0), watch):
        live, ready = asked["live"], asked["ready"]
    assert callable(live)
    assert callable(ready)
    live()
    with pytest.raises(DiskNearlyFull):
        ready()
    pulse = home.pulse
    for file in pulse.iterdir():
        os.utime(file, times=(0, 0))
    for check in (live, ready):
        with pytest.raises(ServiceStuck):
            check()


def test_another_process_sees_whether_a_node_runs_and_goes_on(home: SiteHome) -> None:
    """A home that nobody serves has none; one that is served and silent is stuck."""
    with pytest.raises(ServiceNotRunning):
        check_health(home)
    with home.serving():
        with pytest.raises(ServiceStuck):
            check_health(home)
        Watch(home).waiting()
        assert (home.pulse / "waiting").exists()
        check_health(home)
    with pytest.raises(ServiceNotRunning):
        check_health(home)


def test_what_was_sent_is_noted_once_it_was_received(home: SiteHome) -> None:
    """Its time, and that the coordinator answered; of a sending that fails neither."""
    watch, sealed = Watch(home), cast("Sealed", object())

    def fail(_sealed: Sealed) -> NoReturn:
        raise DiskNearlyFull(folder="/x", free="0", reserve="1")

    with pytest.raises(DiskNearlyFull):
        watch.submitting(fail)(sealed)
    assert (watch.noted(), watch.contact_at) == ({}, None)
    submitted = cast("Submitted", object())
    assert watch.submitting(lambda _: submitted)(sealed) is submitted
    assert sum(watch.noted()["submit"].counts) == 1
    assert watch.contact_at is not None


def test_a_scrape_does_not_wait_for_who_writes(home: SiteHome) -> None:
    """While another process keeps the ledger locked and has written, figures come at once, as they were before."""
    ledger = Ledger(home.ledger)
    enter(home, ledger, make_study(home, "good-1"))
    ledger.close()
    before = figures_of(home)
    with closing(sqlite3.connect(home.ledger, isolation_level=None)) as other:
        other.execute("begin exclusive")
        other.execute("update studies set state = 'refused'")
        began = time.monotonic()
        assert figures_of(home)["studies"] == before["studies"]
        assert time.monotonic() - began < 5


def test_a_home_shows_what_waits_in_it(home: SiteHome) -> None:
    """The bytes of the outbox, a log that contradicts itself, and each kind of decision, of which there is none yet."""
    for number in (1, 2):
        (home.outbox / str(number)).write_bytes(bytes(1000 * number))
    figures = figures_of(home)
    assert figures["outbox_bytes"] == {(): 3000}
    assert figures["log_contradicted"] == {(): 0}
    assert set(figures["info"].values()) == {1}
    assert figures["plans"] == {(state.value,): 0 for state in PlanState}
    Witness(home).stop(Contradiction(problem="it was cut", seen_at=datetime.now(UTC)))
    assert figures_of(home)["log_contradicted"] == {(): 1}
