"""A node's figures are its ledger's counts and its own notes; no label is a text that came from outside."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from shared.errors.storage import DiskNearlyFull
from site_node.home.folder import SiteHome
from site_node.home.free_space import FreeSpace
from site_node.home.ledger import Ledger, State
from site_node.home.status import status_of
from site_node.monitoring.endpoint import monitored
from site_node.monitoring.figures import OTHER, NodeFigures, known_codes
from site_node.monitoring.watch import BOUNDS, STAGES, Watch
from site_node.node.pipeline import Pipeline, Step
from site_node.study import Ending, Severity
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
