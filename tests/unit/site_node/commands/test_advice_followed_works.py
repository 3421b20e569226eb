"""What the catalogue of reasons advises for a study in quarantine brings it back on its way."""

import json
from pathlib import Path

import pytest

from site_node.reasons import catalogue
from tests.factories.dicom import make_dx, write_file
from tests.unit.site_node.commands.conftest import Run


@pytest.fixture
def home(tmp_path: Path, run: Run) -> Path:
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    return tmp_path / "home"


def receive(run: Run, home: Path, *, rows: int = 8, patient: str = "P1", uid: str = "1.2.3.4.7") -> None:
    """Receive one image of always the same study."""
    dataset = make_dx(rows=rows, PatientID=patient, StudyInstanceUID="1.2.3.4.5", SeriesInstanceUID="1.2.3.4.6")
    dataset.SOPInstanceUID = uid
    write_file(dataset, home.parent / "image.dcm")
    assert run("--home", home, "receive", home.parent / "image.dcm")[0] == 0


def waiting(run: Run, home: Path) -> dict[str, str]:
    """The code for which each study in quarantine is held, by its key."""
    items = json.loads(run("--home", home, "review", "list", "--json")[1])
    return {item["key"]: item["reasons"][0]["code"] for item in items}


def test_a_study_without_a_patient_comes_again_once_it_was_rejected(run: Run, home: Path) -> None:
    """Rejected first: otherwise the corrected image is in conflict with the one that is here."""
    assert catalogue()["no-patient-id"].advice.startswith("Reject the study, ")
    receive(run, home, patient="")
    ((key, code),) = waiting(run, home).items()
    assert code == "no-patient-id"
    assert run("--home", home, "review", "reject", key, "--reason", "no patient")[0] == 0
    run("--home", home, "screen")  # any pass removes the copies of a study that ended
    receive(run, home, patient="P1")
    assert waiting(run, home) == {}


def test_a_conflict_ends_with_a_new_identifier(run: Run, home: Path) -> None:
    """Neither version is trusted any more under the identifier that both bear."""
    assert catalogue()["other-bytes"].advice.endswith("under a new SOPInstanceUID.")
    receive(run, home, rows=8)
    receive(run, home, rows=16)
    assert list(waiting(run, home).values()) == ["other-bytes"]
    receive(run, home, rows=16)
    assert list(waiting(run, home).values()) == ["other-bytes"]
    receive(run, home, rows=16, uid="1.2.3.4.8")
    assert waiting(run, home) == {}
