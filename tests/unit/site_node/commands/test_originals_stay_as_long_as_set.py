"""Originals and lists stay for as many days as set, and a nearly full disk stops receiving."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest

from shared.errors.base import ExitCode
from shared.errors.studies import ManifestInvalid
from site_node.home.folder import SiteHome
from site_node.home.ledger import ARRIVED_LATE, ENDED, Ledger, State
from site_node.home.retrieve_requests import Part
from site_node.node.acquisition import Acquisition
from site_node.node.pipeline import Pipeline
from site_node.node.retention import FOR_RETRY, forget_lists
from site_node.node.stages import Stages
from site_node.pseudonyms.names import KeyedNames
from site_node.receive.request_lists import RequestLists, StudyRequest
from site_node.review.decisions import reject
from site_node.review.retry import retry
from site_node.settings.site import SiteSettings
from tests.factories.dicom import make_dx, write_file
from tests.factories.pipeline import enter, key_of, make_home, make_stages, make_study
from tests.unit.site_node.commands.conftest import Run

NAMES = ("good-1", "excluded-2", "refused-3", "review-4", "burned-5")
DAYS = timedelta(days=3)


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    return make_home(tmp_path / "home")


@pytest.fixture
def ledger(home: SiteHome) -> Iterator[Ledger]:
    ledger = Ledger(home.ledger)
    yield ledger
    ledger.close()


def originals(home: SiteHome) -> set[str]:
    """Studies whose originals or records are in the home."""
    return {folder.name for folder in (*home.spool.iterdir(), *home.work_folders())}


def test_the_settings_say_how_long_originals_stay() -> None:
    """Deleted at once by default, after as many days as set, and never where deleting is off."""
    assert SiteSettings(name="x").originals_stay == timedelta(0)
    assert SiteSettings(name="x", keep_originals_days=2.5).originals_stay == timedelta(days=2, hours=12)
    assert SiteSettings(name="x", keep_originals_days=2, delete_originals=False).originals_stay is None
    assert SiteSettings(name="x").grows_for == timedelta(minutes=10)


def test_originals_are_deleted_so_many_days_after_the_ending(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """Not before, and never while a study waits for a person or has not ended."""
    clock, stages = Clock(), make_stages(home, tmp_path / "submitted")
    enter(home, ledger, *(make_study(home, name) for name in NAMES))
    pipeline = Pipeline(home, ledger, stages, originals_stay=DAYS, now=clock)
    pipeline.run()
    assert originals(home) == {key_of(name) for name in NAMES}
    outputs = {folder.parent.name for folder in home.folder.glob("work/*/deidentified")}
    assert outputs == {key_of("burned-5")}, "outputs stay only where a person has to look"
    clock.ahead = DAYS - timedelta(minutes=1)
    enter(home, ledger, make_study(home, "good-6"))
    Pipeline(home, ledger, make_stages(home, tmp_path / "submitted", wait=True), originals_stay=DAYS, now=clock).run()
    assert originals(home) == {key_of(name) for name in (*NAMES, "good-6")}
    clock.ahead = timedelta(days=1000)
    Pipeline(home, ledger, make_stages(home, tmp_path / "submitted", wait=True), originals_stay=DAYS, now=clock).run()
    assert originals(home) == {key_of(name) for name in ("review-4", "burned-5", "good-6")}
    waiting = {entry.key for entry in ledger.studies() if entry.state not in ENDED - {State.QUARANTINED}}
    assert originals(home) == waiting


def enter_third(home: SiteHome, ledger: Ledger, name: str) -> str:
    """Enter a study's third image alone, and return its name."""
    *others, third = (study := make_study(home, name, files=3)).instances
    for instance in others:
        instance.path.unlink()
    enter(home, ledger, study.model_copy(update={"instances": (third,)}))
    return third.name


@pytest.mark.parametrize("stage", ["seal", "submit"])
def test_those_of_a_study_that_an_error_refused_late_are_deleted_too(
    home: SiteHome, ledger: Ledger, tmp_path: Path, stage: str
) -> None:
    """Its new files stay for another try, which seals it again; images that come meanwhile wait for a person."""
    clock, stages = Clock(), make_stages(home, tmp_path / "submitted")
    key, sealed = key_of("good-1"), 2 * (stage == "submit")
    enter(home, ledger, make_study(home, "good-1", files=2))
    refusing = replace(stages, **{stage: Mock(side_effect=ManifestInvalid(problem="x"))})

    def passing(stages: Stages = stages) -> tuple[int, int]:
        """How many originals there are after a pass, and files in the outbox."""
        Pipeline(home, ledger, stages, originals_stay=DAYS, now=clock).run(State.RECEIVED)
        return len(list(home.spool.rglob("*.dcm"))), len(list(home.outbox.iterdir()))

    Pipeline(home, ledger, refusing, originals_stay=DAYS, now=clock).run()
    assert ledger.study(key).state is State.REFUSED
    clock.ahead = DAYS - timedelta(minutes=1)
    assert passing() == (2, sealed)
    clock.ahead = DAYS + timedelta(minutes=1)
    assert passing() == (0, 0)
    name = enter_third(home, ledger, "good-1")
    assert ledger.names(key, ARRIVED_LATE) == {name}
    retry(home, ledger, key, actor="A. Miller")
    assert ledger.study(key).state is State.VALIDATED
    enter_third(home, ledger, "good-1")
    assert (ledger.study(key).state, *ledger.names(key, ARRIVED_LATE)) == (State.VALIDATED, name)
    Pipeline(home, ledger, stages, originals_stay=DAYS, now=clock).run()
    assert ledger.instance_counts() == {"quarantined": 1, "submitted": 2}
    assert list(home.outbox.iterdir()) == []


def test_what_a_person_rejects_of_them_leaves_nothing(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """Then nobody tries it again: originals, new files and sealed file are deleted."""
    stages = replace(make_stages(home, tmp_path / "x"), submit=Mock(side_effect=ManifestInvalid(problem="x")))
    enter(home, ledger, make_study(home, "good-1"))
    Pipeline(home, ledger, stages, originals_stay=DAYS).run()
    assert len(list(home.outbox.iterdir())) == 2
    reject(home, ledger, key_of("good-1"), actor="A. Miller", reason="withdrawn")
    Pipeline(home, ledger, stages).run()
    assert (originals(home), list(home.outbox.iterdir())) == (set(), [])


def test_without_its_new_files_such_a_study_keeps_all_else(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """The originals and the sealed file are what another try needs then."""
    stages = replace(make_stages(home, tmp_path / "x"), submit=Mock(side_effect=ManifestInvalid(problem="x")))
    enter(home, ledger, make_study(home, "good-1", files=2))
    Pipeline(home, ledger, stages, originals_stay=DAYS).run()
    shutil.rmtree(home.deidentified(key_of("good-1")))
    Pipeline(home, ledger, stages).run()
    assert (len(list(home.spool.rglob("*.dcm"))), len(list(home.outbox.iterdir()))) == (2, 2)


def test_the_days_begin_anew_with_another_end(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """An excluded study that got more images is processed again; its originals stay for that."""
    clock, stages = Clock(), make_stages(home, tmp_path / "submitted")
    enter(home, ledger, make_study(home, "excluded-1", files=1))
    Pipeline(home, ledger, stages, originals_stay=DAYS, now=clock).run()
    enter(home, ledger, make_study(home, "excluded-1", files=2))
    clock.ahead = timedelta(days=1000)
    Pipeline(home, ledger, stages, originals_stay=DAYS, halted=lambda: True, now=clock).run()
    assert len(list((home.spool / key_of("excluded-1")).iterdir())) == 2


def forget(home: SiteHome, ledger: Ledger, stay: timedelta | None, ahead: timedelta) -> tuple[int, list[str]]:
    """How many lists were forgotten, and the accession numbers that arrived."""
    remembered: list[str] = []
    now = datetime.now(UTC) + ahead
    count = forget_lists(RequestLists(home.requests), ledger.requests, stay=stay, now=now, remember=remembered.append)
    return count, remembered


def request(home: SiteHome, ledger: Ledger, *accessions: str) -> tuple[str, ...]:
    """Add a list to the home."""
    names = RequestLists(home.requests).add([StudyRequest(accession=accession) for accession in accessions])
    ledger.requests.add(names)
    return names


def test_a_list_that_is_forgotten_while_lists_are_read_is_left_out(home: SiteHome, ledger: Ledger) -> None:
    """The service may forget a list while a command reads previous lists."""
    for accession in ("A1", "A2", "A3"):
        request(home, ledger, accession)
    request_lists = RequestLists(home.requests)
    names, requests = request_lists.lists(), request_lists.all()
    first, removed = next(names)[0], sorted(path.stem for path in home.requests.iterdir())[1]
    next(requests)
    request_lists.remove(removed)
    remaining = {first, *(name for name, _ in names)}
    assert removed not in remaining
    assert len(remaining) == 2
    assert len(list(requests)) == 1


def test_a_list_is_forgotten_when_all_of_it_ended_long_enough_ago(home: SiteHome, ledger: Ledger) -> None:
    """One open request keeps the list; so do the days set, and settings that keep everything."""
    whole, late = request(home, ledger, "A1", "A2")
    part = Part(key=key_of("x"), announced=1, arrived=1)
    ledger.requests.reconcile(whole, [part])
    assert forget(home, ledger, DAYS, timedelta(days=1000)) == (0, [])
    ledger.requests.reconcile(late, [part])
    assert forget(home, ledger, DAYS, DAYS - timedelta(minutes=1)) == (0, [])
    assert forget(home, ledger, None, timedelta(days=1000)) == (0, [])
    assert forget(home, ledger, DAYS, DAYS) == (1, ["A1", "A2"])
    assert not list(home.requests.iterdir())
    assert ledger.requests.counts().states == {"reconciled": 2}


def test_an_incomplete_list_stays_for_a_retry(home: SiteHome, ledger: Ledger) -> None:
    """For at least a week; a number that did not arrive is not remembered as arrived."""
    whole, refused = request(home, ledger, "A1", "A2")
    ledger.requests.reconcile(whole, [Part(key=key_of("x"), announced=1, arrived=1)])
    ledger.requests.refuse(refused, "unknown-accession")
    assert forget(home, ledger, timedelta(0), FOR_RETRY - timedelta(minutes=1)) == (0, [])
    assert forget(home, ledger, timedelta(0), FOR_RETRY) == (1, ["A1"])


def test_a_list_that_a_kill_kept_out_of_the_ledger_is_removed_too(home: SiteHome, ledger: Ledger) -> None:
    """But not at once: a running command may be just between list and ledger."""
    RequestLists(home.requests).add([StudyRequest(accession="A1")])
    assert forget(home, ledger, timedelta(0), timedelta(hours=1))[0] == 0
    assert forget(home, ledger, timedelta(0), timedelta(days=2)) == (1, [])


def test_arrivals_of_a_forgotten_list_are_known_and_cannot_be_read(home: SiteHome, ledger: Ledger) -> None:
    """The same list again is not requested again, and no accession number is in the ledger."""
    acquisition = Acquisition(home, home.load(), KeyedNames(home.pseudonym_key.read_bytes()))
    (name,) = request(home, ledger, "ACC77315")
    ledger.requests.reconcile(name, [Part(key=key_of("x"), announced=1, arrived=1)])
    assert not acquisition.has_arrived(ledger, "ACC77315")
    assert acquisition.forget(ledger, datetime.now(UTC) + timedelta(seconds=1)) == 1
    assert acquisition.has_arrived(ledger, "ACC77315")
    assert not acquisition.has_arrived(ledger, "ACC77316")
    assert all(b"ACC77315" not in path.read_bytes() for path in home.folder.glob("ledger.sqlite*"))


def test_with_too_little_space_nothing_is_received_and_status_says_so(run: Run, home: SiteHome, tmp_path: Path) -> None:
    """One sentence and an exit code for the person; with enough space the same command receives the file."""
    before = home.settings_file.read_text()
    home.settings_file.write_text(before.replace("min_free_mb = 1024", "min_free_mb = 1_000_000_000"))
    film = write_file(make_dx(), tmp_path / "film.dcm")
    code, _, text = run("--home", home.folder, "receive", film)
    assert (code, "min_free_mb" in text) == (ExitCode.FAILED, True)
    shutil.copy(film, home.folder / "inbox" / "film.dcm")
    assert run("--home", home.folder, "run", "--once")[0] == ExitCode.FAILED
    assert not list(home.spool.iterdir())
    assert "min_free_mb" in run("--home", home.folder, "status")[1]
    assert json.loads(run("--home", home.folder, "status", "--json")[1])["disk_nearly_full"]
    home.settings_file.write_text(before)
    assert run("--home", home.folder, "receive", film)[0] == 0
    assert not json.loads(run("--home", home.folder, "status", "--json")[1])["disk_nearly_full"]
