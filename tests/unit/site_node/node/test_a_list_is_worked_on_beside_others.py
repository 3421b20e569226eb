"""A list of requests: who works on it, how far it is, and what its report says, whatever else arrives meanwhile."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.errors.settings import HomeBusy, InvalidSetting
from shared.ids import StudyKey
from site_node.home.folder import SiteHome, init_home
from site_node.home.ledger import Ledger
from site_node.home.retrieve_requests import Pace, Part, RequestEntry
from site_node.node import fetch
from site_node.node.acquisition import Acquisition
from site_node.node.fetch import FetchProgress
from site_node.node.intake import Intake
from site_node.node.open import open_node
from site_node.receive.accessions import AccessionList, RowProblem
from site_node.receive.request_lists import StudyRequest
from tests.factories.dicom import make_ct, write_file

LIST = AccessionList(
    requests=(StudyRequest(accession="A1"), StudyRequest(accession="A2")),
    rows=(1, 3),
    problems=(RowProblem(row=2, code="asked-before"),),
)
PACS = '\n[pacs]\nhost = "127.0.0.1"\nport = 1\nae_title = "PACS"\nmethod = "get"\n'


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    home = init_home(tmp_path / "home", name="General")
    with home.settings_file.open("a") as settings:
        settings.write(PACS)
    return home


@pytest.fixture
def ledger(home: SiteHome) -> Iterator[Ledger]:
    with closing(Ledger(home.ledger)) as ledger:
        yield ledger


def key_of(number: int) -> StudyKey:
    return StudyKey(f"{number:032x}")


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The patience of each work on requests, which ends them."""
    patiences = list[float]()

    def work(acquisition: Acquisition, ledger: Ledger, *_: object, patience: float, **__: object) -> int:
        del acquisition
        patiences.append(patience)
        for entry in ledger.requests.all():
            ledger.requests.refuse(entry.id, "unknown-accession")
        return 1

    monkeypatch.setattr(Acquisition, "work", work)
    return patiences


@pytest.mark.parametrize(
    ("pace", "patience"), [(Pace.QUEUE, []), (Pace.SOON, [fetch._WAIT_SECONDS]), (Pace.WAIT, [float("inf")])]
)
def test_a_command_works_as_long_as_it_was_asked_to(
    home: SiteHome, worked: list[float], pace: Pace, patience: list[float]
) -> None:
    """Not at all, until nothing is due soon, or until each request has ended."""
    report, left = fetch.fetch(home, LIST, pace=pace)
    assert (worked, left, report.requests) == (patience, False, 2)
    assert report.rows == {
        2: "asked-before",
        **({} if pace is Pace.QUEUE else dict.fromkeys((1, 3), "unknown-accession")),
    }


@pytest.mark.parametrize(("pace", "is_left"), [(Pace.QUEUE, True), (Pace.SOON, True), (Pace.WAIT, False)])
def test_beside_a_node_a_command_only_waits(
    home: SiteHome, worked: list[float], monkeypatch: pytest.MonkeyPatch, pace: Pace, is_left: bool
) -> None:
    """Where it was asked to: until the node has ended the requests, or, where that ends, in its place."""
    monkeypatch.setattr(fetch, "_wait", lambda *_: True)
    with home.writing():
        result = fetch.fetch(home, LIST, pace=pace)
    assert result.left_to_service is is_left
    assert len(worked) == (not is_left)


def test_without_a_pacs_nothing_is_entered(tmp_path: Path) -> None:
    """The settings are read before the list."""
    home = init_home(tmp_path / "home", name="General")
    with pytest.raises(InvalidSetting):
        fetch.fetch(home, LIST)
    with closing(Ledger(home.ledger)) as ledger:
        assert ledger.requests.all() == ()


def test_what_was_pushed_meanwhile_is_received_at_the_end(home: SiteHome, worked: list[float], tmp_path: Path) -> None:
    """At once, as nobody else may be here to receive it later; the report counts it."""
    (image,) = make_ct(slices=1, rows=8)
    with open_node(home) as node:
        arrivals = Acquisition(home, node.settings, node.stages.names).arrivals
    content = write_file(image, tmp_path / "image.dcm").read_bytes()
    arrivals.store(str(image.StudyInstanceUID), str(image.SOPInstanceUID), content)
    report, _ = fetch.fetch(home, LIST)
    assert worked
    assert (report.studies, report.instances) == (1, 1)


def test_what_is_whole_is_received_after_each_attempt(home: SiteHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """The studies of that attempt only, which need not be quiet; an attempt that announced none receives none."""
    received = list[tuple[float | None, object]]()
    intake = Intake(studies=1, instances=4, duplicates=0, late=0, files={})

    def receive(_: Acquisition, __: Ledger, *, quiet_seconds: float | None = None, of: object = None) -> list[Intake]:
        received.append((quiet_seconds, of))
        return [intake]

    def work(
        _: Acquisition, ledger: Ledger, *__: object, attempted: Callable[[RequestEntry], None], **___: object
    ) -> int:
        first, second = (entry.id for entry in ledger.requests.all())
        ledger.requests.reconcile(first, [Part(key=key_of(1), announced=1, arrived=1)])
        ledger.requests.refuse(second, "unknown-accession")
        for entry in ledger.requests.all():
            attempted(entry)
        return 2

    monkeypatch.setattr(Acquisition, "receive_arrivals", receive)
    monkeypatch.setattr(Acquisition, "work", work)
    report, _ = fetch.fetch(home, LIST)
    assert received == [(0, {key_of(1)}), (0, None)]
    assert (report.studies, report.instances) == (2, 8)


def test_progress_counts_what_is_arriving(home: SiteHome, ledger: Ledger) -> None:
    """Noted images and those of this moment, each once, of these requests only; and the next try where none is due."""
    in_arrivals = {key_of(1): 3, key_of(2): 1}
    acquisition: Any = SimpleNamespace(
        home=home, arrivals=SimpleNamespace(count_by_key=lambda key: in_arrivals.get(key, 0))
    )
    ledger.requests.add(["a", "b", "c"])
    ledger.requests.announced("a", [Part(key=key_of(1), announced=5, arrived=1)])
    ledger.requests.announced("b", [Part(key=key_of(2), announced=5, arrived=2)])  # one left the arrivals since
    ids = frozenset({"a", "b"})
    assert fetch._progress(acquisition, ids) == FetchProgress(rows=2, ended=0, images=5, next_try=None)
    parts = [Part(key=key_of(2), announced=2, arrived=2)]
    ledger.requests.reconcile("b", parts)
    ledger.requests.retry_later("a", attempts=1, seconds=3600, reason="no-answer", parts=[])
    progress = fetch._progress(acquisition, ids)
    assert (progress.rows, progress.ended, progress.images) == (2, 1, 2)
    assert progress.next_try is not None
    assert progress.next_try - datetime.now(UTC) > timedelta(minutes=59)
    ledger.requests.refuse("a", "no-answer")
    assert fetch._progress(acquisition, ids).next_try is None


def test_the_report_adds_up(ledger: Ledger) -> None:
    """Announced images are those that arrived, that failed and that are waited for; each row has its reason once."""
    ledger.requests.add(["a", "b", "c", "d"])
    ledger.requests.reconcile("a", [Part(key=key_of(1), announced=4, arrived=4)])
    ledger.requests.reconcile("b", [Part(key=key_of(2), announced=4, arrived=1, failed=3, reason="no-answer")])
    ledger.requests.refuse("c", "no-answer")
    ledger.requests.retry_later(
        "d", attempts=1, seconds=0, reason="", parts=[Part(key=key_of(3), announced=9, arrived=2)]
    )
    intake = Intake(studies=1, instances=4, duplicates=0, late=0, files={})
    rows = {"a": 1, "b": 9, "c": 3, "d": 4}
    report = fetch._report(ledger.requests.all(), [RowProblem(row=7, code="asked-before")], rows, [intake, intake])
    assert report == fetch.RetrieveReport(
        requests=4, reconciled=2, waiting=1, announced=17, arrived=7, failed=3, studies=2, instances=8,
        reasons={"asked-before": 1, "no-answer": 2}, rows={3: "no-answer", 7: "asked-before", 9: "no-answer"},
    )  # fmt: skip
    assert list(report.rows) == [3, 7, 9]


class Served:
    """A home of which a node says so often that it serves; then another command works in it so often."""

    def __init__(self, served: int, busy: int) -> None:
        self.served, self.busy = served, busy

    def is_served(self) -> bool:
        self.served -= 1
        return self.served >= 0

    @contextmanager
    def writing(self) -> Iterator[None]:
        self.busy -= 1
        if self.busy >= 0:
            raise HomeBusy(folder="x")
        yield


@pytest.mark.parametrize("busy", [0, 2])
def test_a_command_takes_over_from_a_node_that_does_not_come_back(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, busy: int
) -> None:
    """Once it was away for a while, and no other command works; a node that ends all requests is not taken over."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    monkeypatch.setattr(fetch, "_POLL_SECONDS", 1.0)
    ledger.requests.add(["a"])
    home: Any = Served(served=5, busy=busy)
    with ExitStack() as stack:
        assert fetch._wait(home, ledger, ["a"], stack)
    assert clock[0] == 5 + fetch._RETURN_SECONDS + 1 + busy
    ledger.requests.refuse("a", "no-answer")
    with ExitStack() as stack:
        assert not fetch._wait(home, ledger, ["a"], stack)
