"""From the arrivals into the spool and the ledger: nothing half, nothing lost, nothing twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.crypto.keys import load_secret
from shared.ids import SiteId
from site_node.acquisition import Acquisition
from site_node.config import init_home
from site_node.ledger import Ledger, State
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.receive.folder import receive_folder
from site_node.requests import Part
from tests.factories.dicom import make_ct, write_file

SLICES = make_ct(slices=3, rows=8)
STUDY = str(SLICES[0].StudyInstanceUID)


@pytest.fixture
def acquisition(tmp_path: Path) -> Acquisition:
    home = init_home(tmp_path / "home", name="General")
    return Acquisition(home, home.load(), Pseudonyms(load_secret(home.pseudonym_key), SiteId("123456")))


@pytest.fixture
def ledger(acquisition: Acquisition) -> Iterator[Ledger]:
    opened = Ledger(acquisition.home.ledger)
    yield opened
    opened.close()


def arrive(acquisition: Acquisition, tmp_path: Path, *numbers: int) -> None:
    for number in numbers:
        write_file(SLICES[number], tmp_path / "one.dcm")
        content = (tmp_path / "one.dcm").read_bytes()
        acquisition.arrivals.store(STUDY, str(SLICES[number].SOPInstanceUID), content)


def test_a_study_waits_for_the_rest_and_short_of_it_for_a_person(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """While more is expected it is not taken in; ended short it is quarantined; completed it goes its way, whole."""
    key = acquisition.pseudonyms.study_key(STUDY)
    ledger.requests.add(["a"])
    ledger.requests.found("a", [Part(key=key, announced=3)])
    arrive(acquisition, tmp_path, 0, 1)
    assert acquisition.take_in(ledger, quiet_seconds=0) == ()
    ledger.requests.reconcile("a", [Part(key=key, announced=3, arrived=2, failed=1, reason="no-answer")])
    (taken,) = acquisition.take_in(ledger, quiet_seconds=0)
    assert taken.instances == 2
    assert (ledger.study(key).state, ledger.study(key).lead) == (State.QUARANTINED, "incomplete-retrieval")
    assert ledger.requests.reopen() == 1
    arrive(acquisition, tmp_path, 0, 1, 2)
    ledger.requests.reconcile("a", [Part(key=key, announced=3, arrived=3)])
    (taken,) = acquisition.take_in(ledger, quiet_seconds=0)
    assert (taken.instances, taken.duplicates) == (1, 2)
    assert ledger.study(key).state is State.RECEIVED
    assert len(ledger.names(key)) == 3
    assert not list(acquisition.home.arrivals.rglob("*.dcm"))


def test_a_kill_while_taking_in_changes_nothing(acquisition: Acquisition, ledger: Ledger, tmp_path: Path) -> None:
    """Set apart, or already in the spool, and then killed: the next process takes it in, once."""
    arrive(acquisition, tmp_path, 0, 1, 2)
    key = acquisition.pseudonyms.study_key(STUDY)
    apart = acquisition.arrivals.take(key)
    receive_folder(apart, acquisition.home.spool, acquisition.pseudonyms)
    (taken,) = acquisition.take_in(ledger, quiet_seconds=0)
    assert (taken.studies, taken.instances) == (1, 3)
    assert acquisition.take_in(ledger, quiet_seconds=0) == ()
    assert len(ledger.names(key)) == 3


def test_what_cannot_be_read_stays_for_a_person(acquisition: Acquisition, ledger: Ledger, tmp_path: Path) -> None:
    """What came over the network lies nowhere else: one that is cut off, and two with one UID, are kept."""
    write_file(SLICES[0], tmp_path / "one.dcm")
    whole = (tmp_path / "one.dcm").read_bytes()
    uid = str(SLICES[0].SOPInstanceUID)
    for content in (whole, whole[:-2] + b"\7\7"):
        acquisition.arrivals.store(STUDY, uid, content)
    acquisition.arrivals.store(STUDY, "1.2.3", whole[:-40])
    (taken,) = acquisition.take_in(ledger, quiet_seconds=0)
    assert taken.files == {"other-bytes": 2, "truncated": 1}
    assert len(list((acquisition.home.quarantine / "arrivals").iterdir())) == 3
