"""A home comes back from its backup as it was, goes on when a person says so, and gives no number twice."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.backup.archive import BackupFacts
from shared.crypto.keys import make_identity
from shared.crypto.recipients import generate_identity
from shared.errors.inputs import InvalidArgument, InvalidIdentifier
from shared.errors.settings import HomeBusy, HomeNotEmpty, HomeRestored
from shared.errors.storage import BackupInvalid, DiskFull
from shared.errors.transport import CoordinatorUnreachable
from site_node.backup import restore as restoring
from site_node.backup.backup import back_up
from site_node.backup.restore import missing, restore, resume
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.home.migrations import STEPS
from site_node.home.patients import PatientRow
from site_node.membership.record import load_membership
from site_node.node.doctor import examine
from site_node.node.open import open_node
from site_node.node.waits import waits_of
from tests.factories.federation import Federation, running_federation, sealed_bytes, submit_and_enter
from tests.factories.pipeline import enter, make_study

NAME = "General Hospital"
KEPT = ("site.toml", "keys/pseudonym.key", "identity/membership.json", "receipts/r.json", "clinical/sheet.json")


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        running.site(NAME)
        yield running


@pytest.fixture
def home(federation: Federation, tmp_path: Path) -> SiteHome:
    """A copy of an enrolled home, with a study that waits, a patient, and files in every kind of folder."""
    shutil.copytree(federation.folder / NAME.replace(" ", "-"), tmp_path / "home")
    home = SiteHome(tmp_path / "home")
    for name in ("receipts/r.json", "clinical/sheet.json", "library/x", "outbox/x", "quarantine/x", "pulse/waiting"):
        (home.folder / name).parent.mkdir(exist_ok=True)
        (home.folder / name).write_text(name)
    with closing(Ledger(home.ledger)) as ledger:
        enter(home, ledger, make_study(home, "good-1"))
        assert ledger.number(b"first") == 1
    return home


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The hospital's own key."""
    make_identity(tmp_path / "backup.key", kind="x25519")
    return tmp_path / "backup.key"


def recipient_of(key: Path) -> str:
    return key.read_text().splitlines()[0].removeprefix("# public key: ")


def restored(home: SiteHome, key: Path, tmp_path: Path) -> SiteHome:
    """The home as it is now, backed up, restored elsewhere."""
    back_up(home, tmp_path / "file.age", recipient_of(key))
    other = SiteHome(tmp_path / "other")
    restore(other, tmp_path / "file.age", key)
    return other


def test_everything_but_images_comes_back(home: SiteHome, key: Path, tmp_path: Path) -> None:
    """Byte by byte, for its owner only; the ledger holds the same studies, and the folders of images are empty."""
    other = restored(home, key, tmp_path)
    for name in KEPT:
        assert (other.folder / name).read_bytes() == (home.folder / name).read_bytes()
        assert (other.folder / name).stat().st_mode & 0o777 == 0o600
    for name in ("spool", "library", "outbox", "quarantine", "inbox", "work"):
        assert list((other.folder / name).iterdir()) == []
    assert not (other.folder / "pulse").exists()
    with closing(Ledger(home.ledger)) as before, closing(Ledger(other.ledger)) as after:
        assert after.studies() == before.studies()
        assert list(after.patients.all()) == list(before.patients.all())
    assert load_membership(other).site_id == load_membership(home).site_id


def test_it_is_made_while_the_node_runs(home: SiteHome, key: Path, tmp_path: Path) -> None:
    """Under the lock of the process that moves studies, in the middle of a transaction; one at a time."""
    with home.writing(), home.changing(), closing(Ledger(home.ledger)) as ledger, ledger.changing():
        ledger.add_files([("name", State.REFUSED.ending, "not-dicom")])
        back_up(home, tmp_path / "file.age", recipient_of(key))
    other = SiteHome(tmp_path / "other")
    restore(other, tmp_path / "file.age", key)
    with closing(Ledger(other.ledger)) as ledger:
        assert ledger.file_counts() == {}
    with home.copying(), pytest.raises(HomeBusy):
        back_up(home, tmp_path / "second.age", recipient_of(key))
    assert not (tmp_path / "second.age").exists()
    assert not list(home.folder.glob(".backup*"))


def test_the_curator_cannot_be_given_it(home: SiteHome, tmp_path: Path) -> None:
    """Whose key would open the hospital's own, before enrolment too; nothing is written."""
    recipient = load_membership(home).recipient
    for name in ("membership.json", "agreement.json"):
        with pytest.raises(InvalidArgument, match="the curator's"):
            back_up(home, tmp_path / "file.age", recipient)
        (home.identity / name).unlink()
    with pytest.raises(InvalidIdentifier, match="age recipient"):
        back_up(home, tmp_path / "file.age", "age1x")
    assert not (tmp_path / "file.age").exists()


def test_a_full_disk_leaves_nothing(home: SiteHome, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a file nor a copy of the ledger; nor a home, where the disk fills while it is restored."""
    back_up(home, tmp_path / "file.age", recipient_of(key))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "out").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("shared.durable.os.fsync", full)
        with pytest.raises(DiskFull):
            back_up(home, tmp_path / "out" / "second.age", recipient_of(key))
    with monkeypatch.context() as patch:
        patch.setattr("shared.durable.os.fchmod", full)
        with pytest.raises(DiskFull):
            restore(SiteHome(tmp_path / "other"), tmp_path / "file.age", key)
    assert list((tmp_path / "out").iterdir()) == list((tmp_path / "other").iterdir()) == []
    assert not list(home.folder.glob(".backup*"))


def test_what_cannot_be_restored_leaves_nothing(
    home: SiteHome, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another key, another program's, a newer ledger; and no home that is in use is touched."""
    file, other = tmp_path / "file.age", SiteHome(tmp_path / "other")
    back_up(home, file, recipient_of(key))
    make_identity(tmp_path / "wrong.key", kind="x25519")
    with pytest.raises(BackupInvalid, match="another key"):
        restore(other, file, tmp_path / "wrong.key")
    with monkeypatch.context() as patch:
        patch.setattr(restoring, "STEPS", STEPS[:-1])
        with pytest.raises(BackupInvalid, match="newer than this one"):
            restore(other, file, key)
    with monkeypatch.context() as patch:
        patch.setattr(restoring, "PROGRAM", "ricord-coordinator")
        with pytest.raises(BackupInvalid, match="it is of a ricord-site"):
            restore(other, file, key)
    assert list(other.folder.iterdir()) == []
    with home.writing():
        before = sorted(home.folder.iterdir())
        with pytest.raises(HomeNotEmpty):
            restore(home, file, key)
        assert sorted(home.folder.iterdir()) == before


def test_doctor_and_status_say_that_it_waits(home: SiteHome, key: Path, tmp_path: Path) -> None:
    """And what a person does about it."""
    other = restored(home, key, tmp_path)
    (said,) = [each for each in examine(other, datetime.now(UTC)) if each.part == "home"]
    assert "witness resume" in said.sentence
    assert "home" not in {each.part for each in examine(home, datetime.now(UTC))}
    for each, is_said in ((other, True), (home, False)):
        with open_node(each, writing=False) as node:
            assert any("home was restored" in wait.next for wait in waits_of(node, running=False)) is is_said


def test_a_restored_home_waits_for_a_person(home: SiteHome, key: Path, tmp_path: Path) -> None:
    """It moves no study and numbers no new patient; known ones keep their numbers; commands that only show work."""
    other = restored(home, key, tmp_path)
    with pytest.raises(HomeRestored, match="witness resume"), open_node(other):
        pass
    with open_node(other, writing=False) as node:
        assert node.ledger.number(b"first") == 1
        with pytest.raises(HomeRestored):
            node.ledger.number(b"second")
        with pytest.raises(HomeRestored):
            node.ledger.patients.add([PatientRow(b"second", 0, None)])
        (study,) = node.ledger.studies()
        with pytest.raises(HomeRestored):
            node.ledger.sequence(study.key)


@pytest.mark.slow
def test_it_numbers_above_what_is_known_elsewhere(
    federation: Federation, home: SiteHome, key: Path, tmp_path: Path
) -> None:
    """What the centre received since, and what the library holds; the audit names who said so, and nothing is asked."""
    member = load_membership(home)
    other = restored(home, key, tmp_path)
    sealed = sealed_bytes(home, member, 99, sequence=41, patient=f"{member.site_id}-000077")
    submit_and_enter(home, member, sealed)
    with open_node(other, writing=False) as node:
        assert missing(other, node.ledger) == {State.RECEIVED: 1}
        highest = resume(other, node.ledger, node.membership, "A. Miller", "disk broken")
        assert highest == (77, 41)
        (study,) = node.ledger.studies()
        assert (node.ledger.number(b"second"), node.ledger.number(b"third")) == (78, 79)
        assert node.ledger.patients.add([PatientRow(b"fourth", 0, None)]) == 1
        assert node.ledger.number(b"fourth") == 80
        assert node.ledger.sequence(study.key) == 42
        event = node.ledger.events()[-1]
        assert (event.actor, event.action) == ("A. Miller", "restore-resume")
        assert event.detail.endswith(": disk broken")
    with open_node(other):
        pass


def test_without_an_answer_of_the_centre_it_waits_on(home: SiteHome, key: Path, tmp_path: Path) -> None:
    """Where the numbers cannot be known, none is given."""
    other = restored(home, key, tmp_path)
    file = other.identity / "membership.json"
    member = load_membership(other)
    file.write_text(file.read_text().replace(member.addresses.main, "127.0.0.1:1"))
    with open_node(other, writing=False) as node:
        with pytest.raises(CoordinatorUnreachable):
            resume(other, node.ledger, node.membership, "A. Miller", "disk broken")
        assert node.ledger.restoration.made_at


def test_a_home_that_never_enrolled_needs_no_centre(key: Path, tmp_path: Path) -> None:
    """Nobody else has seen a number of it."""
    from tests.factories.pipeline import make_home

    home = make_home(tmp_path / "home")
    other = restored(home, key, tmp_path)
    with open_node(other, writing=False) as node:
        assert resume(other, node.ledger, None, "A. Miller", "moved") == (0, 0)
        assert node.ledger.number(b"first") == 1


def test_the_library_is_counted_too(home: SiteHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that only takes part in federated work has submitted nothing."""
    from tests.factories.site_homes import fill_library

    member = load_membership(home)
    shutil.rmtree(home.library)
    home.library.mkdir()
    fill_library(home.library, member.site_id, 3)
    monkeypatch.setattr(restoring, "own_rows", lambda membership: iter(()))
    assert restoring.highest_seen(home, member) == (2, 0)


def test_facts_name_the_home(home: SiteHome, key: Path, tmp_path: Path) -> None:
    """What a person compares before they trust it."""
    back_up(home, tmp_path / "file.age", recipient_of(key))
    facts = restore(SiteHome(tmp_path / "other"), tmp_path / "file.age", key)
    assert isinstance(facts, BackupFacts)
    assert (facts.program, facts.name) == ("ricord-site", load_membership(home).site_id)
    assert facts.fingerprint.startswith("SHA256:")
    assert generate_identity("x25519").recipient != recipient_of(key)
