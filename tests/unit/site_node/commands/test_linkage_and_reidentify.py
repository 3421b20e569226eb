"""`key linkage`, `review reidentify` and `explain` with each profile, as a person meets them."""

import json
from pathlib import Path

import pytest

from shared.crypto.keys import load_secret
from shared.error_texts import ExitCode
from shared.protocol.loader import profile_names
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.node.composition import NOT_ENROLLED
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Identity
from tests.factories.dicom import make_dx, write_file
from tests.unit.site_node.commands.conftest import Run

PATIENT = Identity(issuer="HOSP", patient_id="MRN-774411")


@pytest.fixture
def home(tmp_path: Path, run: Run) -> SiteHome:
    """A home whose ledger knows one patient."""
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    home = SiteHome(tmp_path / "home")
    ledger = Ledger(home.ledger)
    Pseudonyms(load_secret(home.pseudonym_key), NOT_ENROLLED, ledger).patient(PATIENT)
    ledger.close()
    return home


def test_the_linkage_goes_out_and_comes_back(run: Run, home: SiteHome, tmp_path: Path) -> None:
    """Exported to a file of the owner's, imported into a ledger begun anew, never overwritten, always audited."""
    file = tmp_path / "linkage.age"
    code, said, _ = run("--home", home.folder, "key", "linkage", "export", file, "--json")
    assert (code, json.loads(said)) == (0, {"patients": 1, "unknown": 0})
    assert PATIENT.patient_id.encode() not in file.read_bytes()
    assert run("--home", home.folder, "key", "linkage", "export", file)[0] == ExitCode.USAGE
    for left in home.folder.glob("ledger.sqlite*"):
        left.unlink()
    code, said, _ = run("--home", home.folder, "key", "linkage", "import", file, "--json")
    assert (code, json.loads(said)) == (0, {"patients": 1, "new": 1})
    shown = run("--home", home.folder, "review", "audit", "--json")[1]
    assert [event["action"] for event in json.loads(shown)] == ["linkage-import"]
    assert PATIENT.patient_id not in shown


def test_a_patient_is_shown_with_a_reason_only(run: Run, home: SiteHome, tmp_path: Path) -> None:
    """On standard output; who asked and why in the audit; the answer in no file of the home."""
    pseudonym = f"{NOT_ENROLLED}-000001"
    assert run("--home", home.folder, "review", "reidentify", pseudonym)[0] == ExitCode.USAGE
    assert run("--home", home.folder, "review", "reidentify", pseudonym, "--reason", " ")[0] == ExitCode.USAGE
    code, said, error = run(
        "--home", home.folder, "review", "reidentify", pseudonym, "--reason", "asked by the curator"
    )
    assert (code, error) == (0, "")
    assert f"PatientID: {PATIENT.patient_id}" in said
    assert "IssuerOfPatientID: HOSP" in said
    audit = json.loads(run("--home", home.folder, "review", "audit", "--json")[1])
    assert [event["detail"] for event in audit] == [f"{pseudonym}: asked by the curator"]
    files = [path for path in home.folder.rglob("*") if path.is_file()]
    assert [path for path in files if PATIENT.patient_id.encode() in path.read_bytes()] == []


def test_an_index_needs_an_agreement(run: Run, home: SiteHome, tmp_path: Path) -> None:
    """Earlier SITEIDs stand in the agreement, so that without one nothing is taken."""
    (tmp_path / "index.csv").write_text("ANON-PatientID,PHI-PatientID,DateOffset\n419639-000001,A1,5\n")
    code, _, said = run("--home", home.folder, "key", "linkage", "import-index", tmp_path / "index.csv")
    assert (code, said.count("\n")) == (ExitCode.USAGE, 1)
    assert "enrol" in said


@pytest.mark.parametrize("profile", profile_names())
def test_explain_shows_a_file_under_each_profile(profile: str, run: Run, tmp_path: Path) -> None:
    """Before and after, and in words for every attribute."""
    file = write_file(make_dx(DeviceSerialNumber="SN-778812"), tmp_path / "film.dcm")
    code, shown, _ = run("explain", file, "--profile", profile)
    assert code == 0
    assert shown.count("SN-778812") == (2 if profile == "tcia" else 1)
    code, shown, _ = run("explain", "--profile", profile)
    assert code == 0
    assert f"profile {profile} " in shown
    assert "(0010,0020) PatientID: replaced by the patient's pseudonym" in shown


def test_an_unknown_profile_is_one_sentence(run: Run) -> None:
    code, _, said = run("explain", "--profile", "nosuch")
    assert code != 0
    assert said.count("\n") == 1
    assert "nosuch" in said
