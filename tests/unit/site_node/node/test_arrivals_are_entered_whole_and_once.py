"""From the arrivals into the spool and the ledger: nothing half, nothing lost, nothing twice."""

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shared.crypto.keys import load_secret
from shared.ids import SiteId
from site_node.dicom.unreadable import unreadable
from site_node.home.folder import init_home
from site_node.home.ledger import Ledger, State
from site_node.home.records import Records
from site_node.home.retrieve_requests import Part
from site_node.node.acquisition import Acquisition
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.receive.folder import Reception, receive_folder
from site_node.study import Received
from tests.factories.dicom import make_ct, write_file

SLICES = make_ct(slices=3, rows=8)
STUDY = str(SLICES[0].StudyInstanceUID)


@pytest.fixture
def acquisition(tmp_path: Path) -> Acquisition:
    home = init_home(tmp_path / "home", name="General")
    return Acquisition(home, home.load(), Pseudonyms(load_secret(home.pseudonym_key), SiteId("123456")))


@pytest.fixture
def ledger(acquisition: Acquisition) -> Iterator[Ledger]:
    ledger = Ledger(acquisition.home.ledger)
    yield ledger
    ledger.close()


def arrive(acquisition: Acquisition, tmp_path: Path, *numbers: int) -> None:
    for number in numbers:
        write_file(SLICES[number], tmp_path / "one.dcm")
        content = (tmp_path / "one.dcm").read_bytes()
        acquisition.arrivals.store(STUDY, str(SLICES[number].SOPInstanceUID), content)


def test_a_study_waits_for_missing_images_and_then_for_a_person(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """While more is expected it is not received; ended incomplete it is quarantined; completed it goes on, whole."""
    key = acquisition.names.study_key(STUDY)
    ledger.requests.add(["a"])
    ledger.requests.announced("a", [Part(key=key, announced=3)])
    arrive(acquisition, tmp_path, 0, 1)
    assert acquisition.receive_arrivals(ledger, quiet_seconds=0) == ()
    ledger.requests.reconcile("a", [Part(key=key, announced=3, arrived=2, failed=1, reason="no-answer")])
    (intake,) = acquisition.receive_arrivals(ledger, quiet_seconds=0)
    assert intake.instances == 2
    assert (ledger.study(key).state, ledger.study(key).lead) == (State.QUARANTINED, "incomplete-retrieval")
    assert ledger.requests.reopen() == 1
    arrive(acquisition, tmp_path, 0, 1, 2)
    ledger.requests.reconcile("a", [Part(key=key, announced=3, arrived=3)])
    (intake,) = acquisition.receive_arrivals(ledger, quiet_seconds=0)
    assert (intake.instances, intake.duplicates) == (1, 2)
    assert ledger.study(key).state is State.RECEIVED
    assert len(ledger.names(key)) == 3
    assert not list(acquisition.home.arrivals.rglob("*.dcm"))


def test_a_whole_request_is_not_held_until_it_is_quiet(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """The PACS announced two images and two came: nothing is waited for; after a further image, quiet is."""
    key = acquisition.names.study_key(STUDY)
    arrive(acquisition, tmp_path, 0, 1)
    assert acquisition.receive_arrivals(ledger, quiet_seconds=60) == ()
    ledger.requests.add(["a"])
    ledger.requests.reconcile("a", [Part(key=key, announced=2, arrived=2)])
    (intake,) = acquisition.receive_arrivals(ledger, quiet_seconds=60)
    assert intake.instances == 2
    arrive(acquisition, tmp_path, 2)
    later = time.time() + 1  # a file system's clock is coarse
    os.utime(acquisition.home.arrivals / key, (later, later))
    assert acquisition.receive_arrivals(ledger, quiet_seconds=60) == ()


def test_a_kill_while_receiving_changes_nothing(acquisition: Acquisition, ledger: Ledger, tmp_path: Path) -> None:
    """A study was set aside, or copied to the spool, before a kill: the next process receives it, once."""
    arrive(acquisition, tmp_path, 0, 1, 2)
    key = acquisition.names.study_key(STUDY)
    folder = acquisition.arrivals.set_aside(key)
    receive_folder(folder, acquisition.home.spool, acquisition.names)
    (intake,) = acquisition.receive_arrivals(ledger, quiet_seconds=0)
    assert (intake.studies, intake.instances) == (1, 3)
    assert acquisition.receive_arrivals(ledger, quiet_seconds=0) == ()
    assert len(ledger.names(key)) == 3


def test_a_look_at_the_arrivals_disturbs_no_start(acquisition: Acquisition, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that shows progress opens the folder at the moment when another clears it."""
    remove = shutil.rmtree

    def removed_and_made_again(folder: Path) -> None:
        remove(folder)
        assert acquisition.arrivals.folder.is_dir()

    monkeypatch.setattr(shutil, "rmtree", removed_and_made_again)
    with acquisition.listening():
        pass


def test_what_cannot_be_read_stays_for_a_person(acquisition: Acquisition, ledger: Ledger, tmp_path: Path) -> None:
    """A file from the network lies nowhere else: one that is cut off, and two with one UID, are kept."""
    write_file(SLICES[0], tmp_path / "one.dcm")
    whole = (tmp_path / "one.dcm").read_bytes()
    uid = str(SLICES[0].SOPInstanceUID)
    for content in (whole, whole[:-2] + b"\7\7"):
        acquisition.arrivals.store(STUDY, uid, content)
    acquisition.arrivals.store(STUDY, "1.2.3", whole[:-40])
    (intake,) = acquisition.receive_arrivals(ledger, quiet_seconds=0)
    assert intake.files == {"other-bytes": 2, "truncated": 1}
    assert len(list((acquisition.home.quarantine / "arrivals").iterdir())) == 3


def test_two_versions_received_together_do_not_remove_other_files_of_a_study(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """A known image arrives again together with other bytes: the study goes on without that image only."""
    arrive(acquisition, tmp_path, 0, 1)
    acquisition.receive_arrivals(ledger, quiet_seconds=0)
    arrive(acquisition, tmp_path, 0)
    whole = (tmp_path / "one.dcm").read_bytes()
    acquisition.arrivals.store(STUDY, str(SLICES[0].SOPInstanceUID), whole[:-2] + b"\7\7")
    acquisition.receive_arrivals(ledger, quiet_seconds=0)
    key = acquisition.names.study_key(STUDY)
    record = Records(acquisition.home).read(key, Received)
    assert [instance.sop_instance_uid for instance in record.instances] == [str(SLICES[1].SOPInstanceUID)]
    assert all(instance.path.exists() for instance in record.instances)
    assert ledger.study(key).state is State.RECEIVED


def test_a_kill_while_clearing_up_leaves_no_half_of_a_conflict(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies after it removed one of two versions: the other does not pass for the only one."""
    arrive(acquisition, tmp_path, 0)
    whole = (tmp_path / "one.dcm").read_bytes()
    acquisition.arrivals.store(STUDY, str(SLICES[0].SOPInstanceUID), whole[:-2] + b"\7\7")
    unlink = os.unlink
    removed: list[str] = []

    def remove_once(path: str, *, dir_fd: int | None = None) -> None:
        where = str(path) if dir_fd is None else str(Path(f"/proc/self/fd/{dir_fd}").readlink())
        if str(path).endswith(".dcm") and str(acquisition.home.arrivals) in where:
            if removed:
                raise KeyboardInterrupt
            removed.append(path)
        unlink(path, dir_fd=dir_fd)

    with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
        patched.setattr("os.unlink", remove_once)
        acquisition.receive_arrivals(ledger, quiet_seconds=0)
    acquisition.receive_arrivals(ledger, quiet_seconds=0)
    assert [(entry.state, entry.lead) for entry in ledger.studies()] == [(State.QUARANTINED, "other-bytes")]
    assert ledger.instance_counts() == {"quarantined": 2}
    assert len(list((acquisition.home.quarantine / "arrivals").iterdir())) == 2


def test_a_disk_that_does_not_read_deletes_nothing(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file of a study can be opened: files that were acknowledged are still there."""
    arrive(acquisition, tmp_path, 0, 1)
    with monkeypatch.context() as patched:
        patched.setattr("site_node.receive.folder._opened", unreadable_now)
        acquisition.receive_arrivals(ledger, quiet_seconds=0)
    assert ledger.file_counts() == {("refused", "no-dicom-found"): 1}
    assert len(list((acquisition.home.quarantine / "arrivals").iterdir())) == 2


def test_a_study_that_cannot_be_received_does_not_hold_up_the_others(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails for one of them: the other is received, and the first is tried again."""
    other = make_ct(slices=1, rows=8, study="other")[0]
    write_file(other, tmp_path / "one.dcm")
    content = (tmp_path / "one.dcm").read_bytes()
    acquisition.arrivals.store(str(other.StudyInstanceUID), str(other.SOPInstanceUID), content)
    arrive(acquisition, tmp_path, 0)
    problems = [OSError(errno.EIO, "cannot be written")]

    def fails_once(source: Path, spool: Path, keys: Pseudonyms) -> Reception:
        if problems:
            raise problems.pop()
        return receive_folder(source, spool, keys)

    monkeypatch.setattr("site_node.node.acquisition.receive_folder", fails_once)
    assert [len(acquisition.receive_arrivals(ledger, quiet_seconds=0)) for _ in range(3)] == [1, 1, 0]
    assert len(ledger.studies()) == 2


def unreadable_now(_: object) -> None:
    raise unreadable("unreadable")
