"""A coordinator's figures are its store's counts; health and readiness follow its database; promtool reads them all."""

import http.client
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from coordinator.home.init import open_home_store
from coordinator.monitoring import figures as module
from coordinator.monitoring.endpoint import monitored
from coordinator.monitoring.figures import CoordinatorFigures
from coordinator.monitoring.health import check_engine, check_health, engine_pulse
from coordinator.store.sql import SqlStore
from shared.errors.settings import ServiceNotRunning, ServiceStuck
from shared.errors.transport import StoreUnreachable
from shared.monitoring.settings import MonitorSettings
from site_node.home.free_space import FreeSpace
from site_node.monitoring.figures import NodeFigures
from site_node.monitoring.watch import Watch
from tests.factories.federation import Federation, make_federation, sealed_bytes, submit_and_enter
from tests.factories.ports import free_port
from tests.peers import needs_peer


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    return make_federation(tmp_path)


@contextmanager
def store_of(federation: Federation) -> Iterator[SqlStore]:
    with closing(open_home_store(federation.home, federation.settings)) as store:
        yield store


def test_health_follows_the_service_and_its_database(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody serves: not running. It serves: well. Its database fails: it says so, until it answers."""
    with pytest.raises(ServiceNotRunning):
        check_health(federation.home)
    with federation.serving():
        check_health(federation.home)
        with monkeypatch.context() as broken:
            broken.setattr(SqlStore, "read", lambda _: fail())
            with pytest.raises(ServiceStuck, match="database"):
                check_health(federation.home)
        check_health(federation.home)
    with pytest.raises(ServiceNotRunning):
        check_health(federation.home)


def fail() -> NoReturn:
    raise StoreUnreachable(kind="database", setting="database")


def test_the_engine_has_a_pulse(federation: Federation) -> None:
    with pytest.raises(ServiceNotRunning):
        check_engine(federation.home)
    federation.home.federation.mkdir(exist_ok=True)
    engine_pulse(federation.home).beat("waiting")
    check_engine(federation.home)


def read(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """By name and labels' values."""
    families = text_string_to_metric_families(text)
    read = dict[str, dict[tuple[str, ...], float]]()
    for sample in (sample for family in families for sample in family.samples):
        read.setdefault(sample.name.removeprefix("ricord_coordinator_"), {})[tuple(sample.labels.values())] = (
            sample.value
        )
    return read


def test_figures_are_the_stores_counts(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three hospitals, of which one lost a number on the way; promtool reads these figures and a node's."""
    registry, port = CollectorRegistry(), free_port()
    monkeypatch.setattr(module, "_FRESH_SECONDS", 0.0)
    with federation.serving(), store_of(federation) as store:
        federation.curator()
        sizes = dict[str, int]()
        for name, numbers in (("Alpha", (1, 2, 5)), ("Beta", (1,))):
            home, member = federation.site(name)
            sealed = [sealed_bytes(home, member, 1000 * number, sequence=number) for number in numbers]
            submit_and_enter(home, member, *sealed)
            sizes[member.site_id] = sum(1000 * number for number in numbers)
        site, _ = federation.site("Gamma")
        registry.register(NodeFigures(site, FreeSpace(site.folder, 1), Watch(site)))
        registry.register(CoordinatorFigures(federation.home, store))
        text = generate_latest(registry).decode()
        with monitored(MonitorSettings(port=port), federation.home, store):
            assert [ask(port, path) for path in ("/livez", "/readyz", "/metrics")] == [200, 200, 200]
            with monkeypatch.context() as broken:
                broken.setattr(SqlStore, "read", lambda _: fail())
                assert [ask(port, path) for path in ("/livez", "/readyz", "/metrics")] == [200, 503, 503]
    figures = read(text)
    alpha, beta = sizes
    assert figures["submissions"] == {(alpha, "received"): 3, (beta, "received"): 1}
    assert figures["submission_bytes"] == {(site, "received"): size for site, size in sizes.items()}
    assert figures["missing_sequence_numbers"] == {(alpha,): 2, (beta,): 0}
    assert figures["agreements"] == {("executed",): 3}
    assert figures["unfinished_withdrawals"] == {("deletion",): 0, ("purge",): 0}
    assert figures["audit_events"][()] > 0
    assert set(figures["certificate_end_timestamp_seconds"]) == {("root",), ("issuing",), ("server",)}
    promtool = needs_peer("promtool", "prometheus")
    checked = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def ask(port: int, path: str) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as line:
        line.request("GET", path)
        return line.getresponse().status


def test_many_scrapes_count_once(federation: Federation) -> None:
    """Within a few seconds the same counts are shown again, whatever came in meanwhile."""
    with store_of(federation) as store:
        figures = CoordinatorFigures(federation.home, store)
        before = {metric.name: metric for metric in figures.collect()}
        with store.begin() as work:
            work.append_event(at=federation.time(), actor="a", action="b", about="c")
        after = {metric.name: metric for metric in figures.collect()}
    name = "ricord_coordinator_audit_events"
    assert before[name] is after[name]
