"""`key linkage`, `review reidentify` and `explain` with each profile, from the command line."""

import json
from pathlib import Path

import pytest

from shared.crypto.keys import load_secret
from shared.error_texts import ExitCode
from shared.protocol.loader import profile_names
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.pseudonyms.keyed import NOT_ENROLLED, Pseudonyms
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


def test_the_linkage_is_exported_and_imported(run: Run, home: SiteHome, tmp_path: Path) -> None:
    """Exported to a sealed file, imported into a new ledger, never overwritten, always audited."""
    file = tmp_path / "linkage.age"
    code, text, _ = run("--home", home.folder, "key", "linkage", "export", file, "--json")
    assert (code, json.loads(text)) == (0, {"patients": 1, "unknown": 0})
    assert PATIENT.patient_id.encode() not in file.read_bytes()
    assert run("--home", home.folder, "key", "linkage", "export", file)[0] == ExitCode.USAGE
    for ledger_file in home.folder.glob("ledger.sqlite*"):
        ledger_file.unlink()
    code, text, _ = run("--home", home.folder, "key", "linkage", "import", file, "--json")
    assert (code, json.loads(text)) == (0, {"patients": 1, "new": 1})
    shown = run("--home", home.folder, "review", "audit", "--json")[1]
    assert [event["action"] for event in json.loads(shown)] == ["linkage-import"]
    assert PATIENT.patient_id not in shown


def test_a_patient_is_shown_with_a_reason_only(run: Run, home: SiteHome, tmp_path: Path) -> None:
    """On standard output; the audit says who asked and why; no file of the home holds the answer."""
    pseudonym = f"{NOT_ENROLLED}-000001"
    assert run("--home", home.folder, "review", "reidentify", pseudonym)[0] == ExitCode.USAGE
    assert run("--home", home.folder, "review", "reidentify", pseudonym, "--reason", " ")[0] == ExitCode.USAGE
    code, text, error = run(
        "--home", home.folder, "review", "reidentify", pseudonym, "--reason", "asked by the curator"
    )
    assert (code, error) == (0, "")
    assert f"PatientID: {PATIENT.patient_id}" in text
    assert "IssuerOfPatientID: HOSP" in text
    audit = json.loads(run("--home", home.folder, "review", "audit", "--json")[1])
    assert [event["detail"] for event in audit] == [f"{pseudonym}: asked by the curator"]
    files = [path for path in home.folder.rglob("*") if path.is_file()]
    assert [path for path in files if PATIENT.patient_id.encode() in path.read_bytes()] == []


def test_an_index_needs_an_agreement(run: Run, home: SiteHome, tmp_path: Path) -> None:
    """The agreement names the earlier SITEIDs, so without one nothing is imported."""
    (tmp_path / "index.csv").write_text("ANON-PatientID,PHI-PatientID,DateOffset\n419639-000001,A1,5\n")
    code, _, text = run("--home", home.folder, "key", "linkage", "import-index", tmp_path / "index.csv")
    assert (code, text.count("\n")) == (ExitCode.USAGE, 1)
    assert "enrol" in text


@pytest.mark.parametrize("profile", profile_names())
def test_explain_shows_a_file_under_each_profile(profile: str, run: Run, tmp_path: Path) -> None:
    """Before and after for a file, and the rule of every attribute in words."""
    file = write_file(make_dx(DeviceSerialNumber="SN-778812"), tmp_path / "film.dcm")
    code, shown, _ = run("explain", file, "--profile", profile)
    assert code == 0
    assert shown.count("SN-778812") == (2 if profile == "tcia" else 1)
    code, shown, _ = run("explain", "--profile", profile)
    assert code == 0
    assert f"profile {profile} " in shown
    assert "(0010,0020) PatientID: replaced by the patient's pseudonym" in shown


def test_an_unknown_profile_is_one_sentence(run: Run) -> None:
    code, _, text = run("explain", "--profile", "nosuch")
    assert code != 0
    assert text.count("\n") == 1
    assert "nosuch" in text
