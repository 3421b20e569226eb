"""`key linkage`, `review reidentify` and `explain` with each profile, from the command line."""

import json
import shutil
from pathlib import Path

import pytest

from shared.crypto.keys import load_secret
from shared.errors.base import ExitCode
from shared.ids import SiteId
from shared.protocol.loader import profile_names
from site_node.home.folder import SiteHome, init_home
from site_node.home.ledger import Ledger
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Identity
from tests.factories.dicom import make_dx, write_file
from tests.factories.federation import running_federation
from tests.unit.site_node.commands.conftest import Run

PATIENT = Identity(issuer="HOSP", patient_id="MRN-774411")


@pytest.fixture
def enrolled(tmp_path: Path) -> tuple[SiteHome, SiteId]:
    """A home whose ledger knows one patient, and its SITEID."""
    with running_federation(tmp_path) as federation:
        federation.curator()
        home, member = federation.site("General")
    ledger = Ledger(home.ledger)
    Pseudonyms(load_secret(home.pseudonym_key), member.site_id, ledger).patient(PATIENT)
    ledger.close()
    return home, member.site_id


def test_the_linkage_is_exported_and_imported(run: Run, enrolled: tuple[SiteHome, SiteId], tmp_path: Path) -> None:
    """Exported to a sealed file, imported into a new ledger before enrolment, never overwritten, always audited."""
    home, _ = enrolled
    file = tmp_path / "linkage.age"
    code, text, _ = run("--home", home.folder, "key", "linkage", "export", file, "--json")
    assert (code, json.loads(text)) == (0, {"patients": 1, "unknown": 0})
    assert PATIENT.patient_id.encode() not in file.read_bytes()
    assert run("--home", home.folder, "key", "linkage", "export", file)[0] == ExitCode.USAGE
    for ledger_file in home.folder.glob("ledger.*"):
        ledger_file.unlink()
    shutil.rmtree(home.identity)
    code, text, _ = run("--home", home.folder, "key", "linkage", "import", file, "--json")
    assert (code, json.loads(text)) == (0, {"patients": 1, "new": 1})
    shown = run("--home", home.folder, "review", "audit", "--json")[1]
    assert [event["action"] for event in json.loads(shown)] == ["linkage-import"]
    assert PATIENT.patient_id not in shown


def test_a_patient_is_shown_with_a_reason_only(run: Run, enrolled: tuple[SiteHome, SiteId]) -> None:
    """On standard output; the audit says who asked and why; no file of the home holds the answer."""
    home, site_id = enrolled
    pseudonym = f"{site_id}-000001"
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


@pytest.mark.parametrize(
    "command", [("key", "linkage", "export", "linkage.age"), ("review", "reidentify", "123456-000001", "--reason", "x")]
)
def test_before_enrolment_there_are_no_pseudonyms(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    """A pseudonym begins with the SITEID, so a command that shows one says to enrol, and the audit stays empty."""
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    code, shown, error = run("--home", tmp_path / "home", *command)
    assert (code, shown, error.count("\n")) == (ExitCode.USAGE, "", 1)
    assert "enrol" in error
    assert json.loads(run("--home", tmp_path / "home", "review", "audit", "--json")[1]) == []


def test_an_index_needs_an_agreement(run: Run, tmp_path: Path) -> None:
    """The agreement names the earlier SITEIDs, so without one nothing is imported."""
    home = init_home(tmp_path / "home", name="General")
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
