"""A coordinator's figures are what its store counts and its home holds, and a store that fails is not ready."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from coordinator.home.settings import Home
from coordinator.monitoring.endpoint import monitored
from coordinator.monitoring.figures import CoordinatorFigures
from coordinator.monitoring.health import check_engine, check_health, engine_pulse, store_answers
from coordinator.store.records import Presence, Upload, Withdrawal
from coordinator.store.sql import SqlStore, open_store
from shared.crypto import pki
from shared.errors.settings import KeyFileMissing, ServiceNotRunning, ServiceStuck
from shared.errors.transport import StoreUnreachable
from shared.ids import Sha256, SiteId
from shared.signed import Signed
from tests.factories.ports import free_port
from tests.factories.rows import NOW, SITE_ID, make_agreement, make_run, make_site, make_submission

SIGNED = Signed(document="{}", signature="c2ln")
REPORT = Presence(
    site_id=SITE_ID,
    reported_at=NOW,
    version="1.0.0",
    received=1,
    waiting=2,
    quarantined=3,
    excluded=4,
    refused=5,
    submitted=6,
    queued=7,
    free_bytes=8,
    certificate_ends_at=NOW + timedelta(days=9),
)
WITHDRAWAL = Withdrawal(
    number=1,
    submission=Sha256("1" * 64),
    site_id=SITE_ID,
    study=make_submission(1).study,
    curator="curator",
    by="site",
    instances=(),
    ciphertext=Sha256("2" * 64),
    withdrawn_at=NOW,
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with closing(open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")) as opened:
        yield opened


def figures_of(figures: CoordinatorFigures) -> dict[str, dict[tuple[str, ...], float]]:
    """By name and labels' values."""
    return {
        family.name.removeprefix("ricord_coordinator_"): {
            tuple(sample.labels.values()): sample.value for sample in family.samples
        }
        for family in figures.collect()
    }


def fail(_store: SqlStore) -> NoReturn:
    raise StoreUnreachable(kind="database", setting="database")


def test_a_scrape_does_not_wait_for_who_writes(home: Home, store: SqlStore) -> None:
    """While another process keeps the database locked and has written, figures come at once, as they were before."""
    with store.begin() as work:
        work.put_agreement(make_agreement(SIGNED))
    with closing(sqlite3.connect(home.folder / "store.sqlite", isolation_level=None)) as other:
        other.execute("begin exclusive")
        other.execute("delete from agreements")
        began = time.monotonic()
        assert figures_of(CoordinatorFigures(home, store))["agreements"] == {("signed",): 1}
        assert time.monotonic() - began < 5


def test_each_figure_is_a_count_of_its_own_kind(home: Home, store: SqlStore) -> None:
    """No two rows are taken for each other: what was reported, what is unfinished, and of whom."""
    other, lost = SiteId("100002"), 3
    with store.begin() as work:
        work.put_site(make_site())
        work.put_site(make_site().model_copy(update={"name": "Beta", "site_id": None}))  # it has not signed yet
        work.put_site(make_site().model_copy(update={"name": "Gamma", "site_id": other}))  # it has not reported yet
        work.put_agreement(make_agreement(SIGNED))
        work.put_presence(REPORT)
        work.add_submission(make_submission(1))
        work.add_submission(make_submission(2 + lost))
        for number in (1, 2):
            work.put_upload(Upload(name=Sha256(f"{number:064x}"), site_id=SITE_ID, continued_at=NOW))
        work.put_withdrawal(WITHDRAWAL)
        for number, state in enumerate(("done", "done", "failed")):
            work.put_run(make_run(number, state))  # type: ignore[arg-type]  # a tuple of texts
        work.append_event(at=NOW, actor="coordinator/operator", action="site.invited", about="Beta")
        events = work.log_size()
    figures = figures_of(CoordinatorFigures(home, store))
    site = (str(SITE_ID),)
    assert {name: figures[f"site_{name}"] for name in ("waiting", "queued", "quarantined", "disk_free_bytes")} == {
        "waiting": {site: 2},
        "queued": {site: 7},
        "quarantined": {site: 3},
        "disk_free_bytes": {site: 8},
    }
    assert figures["site_contact_timestamp_seconds"] == {site: NOW.timestamp()}
    assert figures["site_certificate_end_timestamp_seconds"] == {site: REPORT.certificate_ends_at.timestamp()}
    assert figures["agreements"] == {("signed",): 1}
    assert figures["submissions"] == {(*site, "received"): 2}
    assert figures["submission_bytes"] == {(*site, "received"): 2 * make_submission(1).ciphertext_size}
    assert figures["missing_sequence_numbers"] == {site: lost}
    assert figures["unfinished_uploads"] == {site: 2}
    assert figures["unfinished_withdrawals"] == {("deletion",): 1, ("purge",): 1}
    assert figures["runs"] == {("done",): 2, ("failed",): 1}
    assert figures["audit_events"] == {(): events}
    assert figures["disk_free_bytes"][()] > 0
    assert set(figures["info"].values()) == {1}


def test_a_certificates_end_is_shown_once_there_is_one(home: Home, store: SqlStore) -> None:
    """Of those that lie in the home, each by its name."""
    assert figures_of(CoordinatorFigures(home, store))["certificate_end_timestamp_seconds"] == {}
    root = pki.make_ca("sample")
    home.root.parent.mkdir(parents=True)
    home.root.write_bytes(root.certificate_pem)
    shown = figures_of(CoordinatorFigures(home, store))["certificate_end_timestamp_seconds"]
    assert shown == {("root",): pki.expires_at(root.certificate_pem).timestamp()}


def test_the_store_is_not_counted_again_within_ten_seconds(
    home: Home, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request counts where ten seconds or more are over since the last count; the others see what it counted."""
    now, figures = 1000.0, CoordinatorFigures(home, store)
    monkeypatch.setattr("coordinator.monitoring.figures.time.monotonic", lambda: now)
    shown = list[float]()
    for number, pause in enumerate((0.0, 9.5, 0.5, 9.5, 0.25, 0.25, 10.5), start=1):
        now += pause
        with store.begin() as work:
            work.append_event(at=NOW, actor="coordinator/operator", action="site.invited", about=f"site {number}")
        shown.append(figures_of(figures)["audit_events"][()])
    assert shown == [1, 1, 3, 3, 3, 6, 7]


def test_a_store_that_fails_is_not_ready_and_the_service_lives(
    home: Home, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the endpoint is given to ask: a restart would not mend a database."""
    asked = dict[str, Any]()

    @contextmanager
    def note(*_: object, **checks: object) -> Iterator[None]:
        asked.update(checks)
        yield

    monkeypatch.setattr("coordinator.monitoring.endpoint.monitoring", note)
    with monitored(None, home, store):
        assert store_answers(store)
        asked["ready"]()
        monkeypatch.setattr(SqlStore, "read", fail)
        assert not store_answers(store)
        with pytest.raises(ServiceStuck, match="database"):
            asked["ready"]()
        asked["live"]()


def test_the_process_of_federated_runs_has_a_pulse_of_its_own(home: Home) -> None:
    """It lies with what that process keeps."""
    with pytest.raises(ServiceNotRunning):
        check_engine(home)
    home.federation.mkdir(parents=True)
    engine_pulse(home).beat("waiting")
    check_engine(home)
    assert (home.federation / "pulse" / "waiting").exists()


def test_a_store_that_opens_and_cannot_be_read_does_not_answer(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a row can be read is what is asked."""
    broken = SimpleNamespace(membership=lambda: fail(store))
    monkeypatch.setattr(SqlStore, "read", lambda _: nullcontext(broken))
    assert not store_answers(store)


def test_who_does_not_serve_is_said_so(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked on this machine, whatever addresses it serves; a home without its root is none to ask for."""
    settings = SimpleNamespace(host="::", enrolment_port=free_port())
    monkeypatch.setattr(Home, "settings", lambda _: settings)
    with pytest.raises(KeyFileMissing):
        check_health(home)
    home.root.parent.mkdir(parents=True)
    home.root.write_bytes(pki.make_ca("sample").certificate_pem)
    with pytest.raises(ServiceNotRunning):
        check_health(home)
