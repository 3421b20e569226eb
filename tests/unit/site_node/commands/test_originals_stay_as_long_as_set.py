"""What is kept, and until when: originals and lists for as many days as are set, and room on the disk."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.errors import ExitCode
from site_node.home.folder import SiteHome
from site_node.home.ledger import ENDED, Ledger, State
from site_node.home.retrieve_requests import Part
from site_node.node.acquisition import Acquisition
from site_node.node.composition import NOT_ENROLLED
from site_node.node.pipeline import Pipeline
from site_node.node.retention import FOR_RETRY, forget_lists
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.receive.request_lists import Wanted, WantedFiles
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
    """Studies of which originals, or records of them, are in the home."""
    return {folder.name for folder in (*home.spool.iterdir(), *home.work_folders())}


def test_the_settings_say_how_long_originals_stay() -> None:
    """At once if nothing is set, after as many days as are, and for good where deleting is off."""
    assert SiteSettings(name="x").originals_stay == timedelta(0)
    assert SiteSettings(name="x", keep_originals_days=2.5).originals_stay == timedelta(days=2, hours=12)
    assert SiteSettings(name="x", keep_originals_days=2, delete_originals=False).originals_stay is None


def test_originals_go_so_many_days_after_their_studys_end(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """Not before; and of what waits for a person, or is on its way, never."""
    clock, stages = Clock(), make_stages(home, tmp_path / "submitted")
    enter(home, ledger, *(make_study(home, name) for name in NAMES))
    pipeline = Pipeline(home, ledger, stages, originals_stay=DAYS, now=clock)
    pipeline.run()
    assert originals(home) == {key_of(name) for name in NAMES}
    made = {folder.parent.name for folder in home.folder.glob("work/*/deidentified")}
    assert made == {key_of("burned-5")}, "what can be made again stays only where a person has to look"
    clock.ahead = DAYS - timedelta(minutes=1)
    enter(home, ledger, make_study(home, "good-6"))
    Pipeline(home, ledger, make_stages(home, tmp_path / "submitted", wait=True), originals_stay=DAYS, now=clock).run()
    assert originals(home) == {key_of(name) for name in (*NAMES, "good-6")}
    clock.ahead = timedelta(days=1000)
    Pipeline(home, ledger, make_stages(home, tmp_path / "submitted", wait=True), originals_stay=DAYS, now=clock).run()
    assert originals(home) == {key_of(name) for name in ("review-4", "burned-5", "good-6")}
    waiting = {entry.key for entry in ledger.studies() if entry.state not in ENDED - {State.QUARANTINED}}
    assert originals(home) == waiting


def test_the_days_begin_anew_with_another_end(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """An excluded study that got more images goes the way again; its originals stay for that."""
    clock, stages = Clock(), make_stages(home, tmp_path / "submitted")
    enter(home, ledger, make_study(home, "excluded-1", files=1))
    Pipeline(home, ledger, stages, originals_stay=DAYS, now=clock).run()
    enter(home, ledger, make_study(home, "excluded-1", files=2))
    clock.ahead = timedelta(days=1000)
    Pipeline(home, ledger, stages, originals_stay=DAYS, halted=lambda: True, now=clock).run()
    assert len(list((home.spool / key_of("excluded-1")).iterdir())) == 2


def forget(home: SiteHome, ledger: Ledger, stay: timedelta | None, ahead: timedelta) -> tuple[int, list[str]]:
    """How many lists were forgotten, and what was told to have come."""
    came: list[str] = []
    now = datetime.now(UTC) + ahead
    count = forget_lists(WantedFiles(home.requests), ledger.requests, stay=stay, now=now, came=came.append)
    return count, came


def ask(home: SiteHome, ledger: Ledger, *accessions: str) -> tuple[str, ...]:
    """A list in the home."""
    names = WantedFiles(home.requests).add([Wanted(accession=one) for one in accessions])
    ledger.requests.add(names)
    return names


def test_a_list_that_is_forgotten_while_lists_are_read_is_left_out(home: SiteHome, ledger: Ledger) -> None:
    """The service forgets in its own time, beside a command that looks what was asked before."""
    for accession in ("A1", "A2", "A3"):
        ask(home, ledger, accession)
    wanted = WantedFiles(home.requests)
    names, asked = wanted.lists(), wanted.all()
    kept, gone = next(names)[0], sorted(path.stem for path in home.requests.iterdir())[1]
    next(asked)
    wanted.remove(gone)
    left = {kept, *(name for name, _ in names)}
    assert gone not in left
    assert len(left) == 2
    assert len(list(asked)) == 1


def test_a_list_is_forgotten_when_all_of_it_ended_long_enough_ago(home: SiteHome, ledger: Ledger) -> None:
    """One open request keeps the list; so do the days that are set, and settings that keep everything."""
    whole, late = ask(home, ledger, "A1", "A2")
    part = Part(key=key_of("x"), announced=1, arrived=1)
    ledger.requests.reconcile(whole, [part])
    assert forget(home, ledger, DAYS, timedelta(days=1000)) == (0, [])
    ledger.requests.reconcile(late, [part])
    assert forget(home, ledger, DAYS, DAYS - timedelta(minutes=1)) == (0, [])
    assert forget(home, ledger, None, timedelta(days=1000)) == (0, [])
    assert forget(home, ledger, DAYS, DAYS) == (1, ["A1", "A2"])
    assert not list(home.requests.iterdir())
    assert ledger.requests.counts().states == {"reconciled": 2}


def test_a_list_of_which_something_is_missing_stays_for_a_retry(home: SiteHome, ledger: Ledger) -> None:
    """A week at least; and what did not come is not said to have."""
    whole, refused = ask(home, ledger, "A1", "A2")
    ledger.requests.reconcile(whole, [Part(key=key_of("x"), announced=1, arrived=1)])
    ledger.requests.refuse(refused, "unknown-accession")
    assert forget(home, ledger, timedelta(0), FOR_RETRY - timedelta(minutes=1)) == (0, [])
    assert forget(home, ledger, timedelta(0), FOR_RETRY) == (1, ["A1"])


def test_a_list_that_a_kill_kept_out_of_the_ledger_goes_too(home: SiteHome, ledger: Ledger) -> None:
    """But not at once: a command may be just between the two."""
    WantedFiles(home.requests).add([Wanted(accession="A1")])
    assert forget(home, ledger, timedelta(0), timedelta(hours=1))[0] == 0
    assert forget(home, ledger, timedelta(0), timedelta(days=2)) == (1, [])


def test_what_came_by_a_forgotten_list_is_known_and_cannot_be_read(home: SiteHome, ledger: Ledger) -> None:
    """The same list again does not burden the PACS again, and no accession number is in the ledger."""
    acquisition = Acquisition(home, home.load(), Pseudonyms(home.pseudonym_key.read_bytes(), NOT_ENROLLED, ledger))
    (name,) = ask(home, ledger, "ACC77315")
    ledger.requests.reconcile(name, [Part(key=key_of("x"), announced=1, arrived=1)])
    assert not acquisition.came(ledger, "ACC77315")
    assert acquisition.forget(ledger, datetime.now(UTC) + timedelta(seconds=1)) == 1
    assert acquisition.came(ledger, "ACC77315")
    assert not acquisition.came(ledger, "ACC77316")
    assert all(b"ACC77315" not in path.read_bytes() for path in home.folder.glob("ledger.sqlite*"))


def test_with_too_little_room_nothing_is_received_and_status_says_so(run: Run, home: SiteHome, tmp_path: Path) -> None:
    """One sentence and an exit code for the person; when there is room the same command takes the file."""
    before = home.settings_file.read_text()
    home.settings_file.write_text(before.replace("min_free_mb = 1024", "min_free_mb = 1_000_000_000"))
    film = write_file(make_dx(), tmp_path / "film.dcm")
    code, _, said = run("--home", home.folder, "receive", film)
    assert (code, "min_free_mb" in said) == (ExitCode.FAILED, True)
    shutil.copy(film, home.folder / "inbox" / "film.dcm")
    assert run("--home", home.folder, "run", "--once")[0] == ExitCode.FAILED
    assert not list(home.spool.iterdir())
    assert "min_free_mb" in run("--home", home.folder, "status")[1]
    assert json.loads(run("--home", home.folder, "status", "--json")[1])["disk_nearly_full"]
    home.settings_file.write_text(before)
    assert run("--home", home.folder, "receive", film)[0] == 0
    assert not json.loads(run("--home", home.folder, "status", "--json")[1])["disk_nearly_full"]
