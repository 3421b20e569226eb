"""The whole path as a site coordinator plays it: a list and a sheet in, exactly the eligible studies out.

Orthanc, the node's own commands, a coordinator that receives and a curator who opens; then the same with SIGKILL while
images come in and while studies are worked on.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pydicom
import pytest

from coordinator.curation.fetching import fetching
from coordinator.curation.keys import load_curator_keys
from coordinator.curation.membership import CuratorHome
from coordinator.curation.opening import OpenedStudy
from shared.errors import ExitCode
from shared.ids import Uid
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.status import status_of
from site_node.linkage.export import reidentify
from site_node.membership.record import Membership
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.receive.request_lists import WantedFiles
from site_node.study import Identity
from tests.factories.federation import Federation, running_federation
from tests.factories.mixed_archive import (
    CASES,
    SHARED,
    STUDY_DAY,
    UNKNOWN,
    Case,
    archive,
    write_export,
    write_list,
    write_sheet,
)
from tests.factories.pacs import Orthanc, orthanc

COMMAND = (sys.executable, "-c", "from site_node.cli import main; main()")
FETCHED = tuple(case for case in CASES if case.end in {"submitted", "excluded", "quarantined"})
FIELDS = {
    "covid_status": "COVID-19 status",
    "covid_method": "Method",
    "covid_timing": "Timing",
    "alternative_diagnosis": "Alternative diagnosis",
}
EXPORT = {  # what was in the inbox
    ("quarantined", frozenset({"clinical-row-missing"})),
    ("quarantined", frozenset({"mixed-patients"})),
}
ELIGIBLE = tuple(case for case in CASES if case.end == "submitted")


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    folder = tmp_path_factory.mktemp("orthanc")
    with orthanc(folder / "data") as running:
        running.fill(archive(), folder)
        yield running


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory, pacs: Orthanc) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


@dataclass(frozen=True)
class Hospital:
    """A member's home, and its commands in processes of their own."""

    home: SiteHome
    member: Membership

    def start(self, *words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, "--home", str(self.home.folder), *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, *words: object) -> tuple[int, Any]:
        out, err = (process := self.start(*words, "--json")).communicate(timeout=120)
        assert "Traceback" not in err
        return process.returncode, json.loads(out) if out else err

    def kill_when(self, reached: Callable[[], bool], *words: object) -> None:
        """SIGKILL as soon as it is so; it must not have ended before."""
        process = self.start(*words)
        deadline = time.monotonic() + 60
        while not reached():
            assert time.monotonic() < deadline
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.002)
        process.kill()
        process.communicate()

    @contextmanager
    def ledger(self) -> Iterator[tuple[Ledger, Pseudonyms]]:
        ledger = Ledger(self.home.ledger)
        try:
            yield ledger, Pseudonyms(self.home.pseudonym_key.read_bytes(), self.member.site_id, ledger)
        finally:
            ledger.close()


def open_hospital(federation: Federation, name: str, pacs: Orthanc) -> Hospital:
    """Enrolled, its PACS in the settings, a list and a sheet on the desk and an export in the inbox."""
    home, member = federation.site(name)
    text = home.settings_file.read_text().replace("pixel_check = true", "pixel_check = false")
    section = f'[pacs]\nhost = "127.0.0.1"\nport = {pacs.dicom}\nae_title = "PACS"\nretry_seconds = 0.1\n'
    home.settings_file.write_text(text + section)
    write_export(home.folder / "inbox" / "export")
    return Hospital(home, member)


def live(hospital: Hospital, *, shaken: bool) -> None:
    """A day's work: the sheet, the list, every study as far as it goes; `shaken`, each begun twice."""
    home = hospital.home
    lone, problems = write_sheet(home.folder / "clinical.xlsx")
    code, said = hospital.ask("clinical", "import", home.folder / "clinical.xlsx")
    assert code == ExitCode.PARTIAL
    assert sorted((one["row"], one["code"]) for one in said["problems"]) == sorted(problems)
    ended = write_list(home.folder / "list.xlsx")
    fetch = ("receive", "--accessions", home.folder / "list.xlsx", "--patient-column", "MRN")
    if shaken:
        hospital.kill_when(lambda: len(list(home.arrivals.glob("*/*.dcm"))) > 10, *fetch)
    code, said = hospital.ask(*fetch)
    assert code == ExitCode.PARTIAL
    assert shaken or said["rows"] == {str(row): why for row, why in ended.items()}
    if shaken:
        hospital.kill_when(lambda: any(home.reports.glob("*.json")), "run", "--once", "--no-federation")
        with hospital.ledger() as (ledger, _):
            assert len(list(home.receipts.glob("*.json"))) < len(ELIGIBLE), "it was killed in the middle"
            assert not all(entry.state.ending == "submitted" for entry in ledger.studies())
    code, said = hospital.ask("run", "--once", "--no-federation")
    assert (code, said["blocked"]) == (0, None)
    code, said = hospital.ask("clinical", "unmatched")
    assert code == ExitCode.PARTIAL
    assert {one["row"]: one["code"] for one in said["rows"]} == lone


def ends(hospital: Hospital) -> dict[str, tuple[str, frozenset[str]]]:
    """Where each case's study is, and why; what the ledger holds besides is under its key."""
    with hospital.ledger() as (ledger, pseudonyms):
        names = {pseudonyms.study_key(case.study_uid): case.name for case in CASES}
        return {
            names.get(entry.key, entry.key): (entry.state.value, frozenset(one.code for one in entry.reasons))
            for entry in ledger.studies()
        }


def requests(hospital: Hospital) -> dict[str, tuple[str, str]]:
    """How the last request for each accession number ended."""
    with hospital.ledger() as (ledger, _):
        entries = {one.id: one for one in ledger.requests.all()}
        counts = ledger.requests.counts()
        assert (counts.announced, counts.failed) == (counts.arrived, 0), "reconciled to zero difference"
        asked = sorted(
            (entries[name].changed_at, wanted.accession, entries[name])
            for name, wanted in WantedFiles(hospital.home.requests).all()
        )
        return {accession: (entry.state.value, entry.reason) for _, accession, entry in asked}


def arrived(federation: Federation, hospital: Hospital) -> set[str]:
    """The cases of this hospital that the curator opens, each looked at."""
    curator = CuratorHome(federation.folder / "curator-curator")
    found: list[str] = []
    with (
        fetching(curator, load_curator_keys(curator.keys), federation.identity.protocol_digest) as fetcher,
        hospital.ledger() as (ledger, pseudonyms),
    ):
        by_key = {pseudonyms.study_key(case.study_uid): case for case in CASES}
        case_of = {entry.study: by_key.get(entry.key) for entry in ledger.studies()}
        for submission in (one for one in fetcher.submissions() if one.site_id == hospital.member.site_id):
            case = case_of[Uid(submission.study)]
            assert case is not None
            look(fetcher.open(submission.id), case, ledger, pseudonyms)
            found.append(case.name)
    assert len(set(found)) == len(found), "nothing arrives twice"
    return set(found)


def look(study: OpenedStudy, case: Case, ledger: Ledger, pseudonyms: Pseudonyms) -> None:
    """Its images are the case's, its patient is the case's by the linkage, and so is its clinical row."""
    assert len(study.instances) == case.images
    link, _ = reidentify(ledger, pseudonyms, study.signed.manifest.patient, actor="test", reason="test")
    assert link.patient_id == case.patient
    said = case.rows[0]
    shift = timedelta(days=pseudonyms.shift_days(Identity(issuer="", patient_id=case.patient)))
    for path in study.instances:
        image = pydicom.dcmread(path)
        assert image.PatientID == study.signed.manifest.patient
        assert date.fromisoformat(image.StudyDate) + shift == STUDY_DAY
        assert image.Modality in {"CT", "CR", "DX"}
        assert image.PatientAge == ("090Y" if said.get("Age") == 92 else "059Y")
        assert not image.get("PatientBirthDate")
        assert case.patient.encode() not in path.read_bytes()
    assert study.clinical is not None
    row = json.loads(study.clinical.read_bytes())
    for name, title in FIELDS.items():
        assert row[name] == said.get(title), name
    day = row["test_date"]
    assert (date.fromisoformat(day) + shift if day else None) == said.get("Test date")
    assert row["age"] == (90 if said.get("Age") == 92 else None)
    assert not {"mrn", "accession", "study_uid"} & row.keys()


def check(federation: Federation, hospital: Hospital) -> None:
    """Exactly the eligible studies are out, whole; all else is where the table says, for the reason it says."""
    assert arrived(federation, hospital) == {case.name for case in ELIGIBLE}
    found = ends(hospital)
    assert {case.name: found.pop(case.name) for case in FETCHED} == {
        case.name: (case.end, case.codes) for case in FETCHED
    }
    assert (set(found.values()), len(found)) == (EXPORT, len(EXPORT))
    assert requests(hospital) == {
        **{case.accession: ("reconciled", "") for case in FETCHED},
        **{case.accession: ("refused", case.end) for case in CASES if case.says},
        SHARED: ("refused", "several-patients"),
        UNKNOWN: ("refused", "unknown-accession"),
    }
    with hospital.ledger() as (ledger, _):
        status = status_of(ledger, name="x", site_id=None)
    assert status.files == {"not-dicom": 1, "other-bytes": 2}
    assert (status.submitted, status.waiting.total) == (len(ELIGIBLE), 0)
    assert not list(hospital.home.outbox.iterdir())


def test_a_list_and_a_sheet_bring_exactly_the_eligible_studies(federation: Federation, pacs: Orthanc) -> None:
    """Every other row and study is listed with its reason."""
    hospital = open_hospital(federation, "Calm Intake", pacs)
    live(hospital, shaken=False)
    check(federation, hospital)


def test_the_same_after_kills_in_the_middle(federation: Federation, pacs: Orthanc) -> None:
    """SIGKILL while images come in and again while studies are worked on: nothing lost, nothing doubled."""
    hospital = open_hospital(federation, "Shaken Intake", pacs)
    live(hospital, shaken=True)
    check(federation, hospital)
