"""An exam that comes again in another encoding is here already; nothing of it is withdrawn."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, RLELossless

from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.home.records import Records
from site_node.node.intake import Intake, enter_reception
from site_node.receive.folder import receive_folder
from site_node.study import Received
from tests.factories.dicom import make_ct, make_dx, write_file
from tests.factories.pipeline import make_home


class Keys:
    """The study keys of this test."""

    def study_key(self, study_uid: str) -> StudyKey:
        return StudyKey(hashlib.sha256(study_uid.encode()).hexdigest()[:32])


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    return make_home(tmp_path / "home")


@pytest.fixture
def ledger(home: SiteHome) -> Iterator[Ledger]:
    ledger = Ledger(home.ledger)
    yield ledger
    ledger.close()


def receive(source: Path, home: SiteHome, ledger: Ledger) -> Intake:
    return enter_reception(receive_folder(source, home.spool, Keys()), home=home, ledger=ledger)


@pytest.mark.parametrize("original", [DeflatedExplicitVRLittleEndian, RLELossless, ExplicitVRBigEndian])
def test_what_a_pacs_rewrote_is_the_exam_that_the_folder_holds(
    tmp_path: Path, home: SiteHome, ledger: Ledger, original: UID
) -> None:
    """The first stays with its record, and the later ones are duplicates, whichever way they come."""
    for number, dataset in enumerate([*make_ct(slices=3), make_dx(rows=64, study="film")]):
        write_file(dataset, tmp_path / "pacs" / f"{number}", ExplicitVRLittleEndian)
        write_file(dataset, tmp_path / "folder" / f"{number}", original)
    assert receive(tmp_path / "pacs", home, ledger).instances == 4
    before = [Records(home).read(entry.key, Received) for entry in ledger.studies()]
    for _ in range(2):
        intake = receive(tmp_path / "folder", home, ledger)
        assert (intake.studies, intake.instances, intake.duplicates, intake.files) == (0, 0, 4, {})
    assert [Records(home).read(entry.key, Received) for entry in ledger.studies()] == before
    assert {entry.state for entry in ledger.studies()} == {State.RECEIVED}
    assert sum(1 for _ in home.spool.rglob("*.dcm")) == 4
    assert not (home.quarantine / "arrivals").exists()
