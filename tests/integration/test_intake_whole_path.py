"""The whole path as a site coordinator runs it: a list and a sheet in, exactly the eligible studies out.

Orthanc, the node's own commands, a coordinator that receives and a curator who opens; then the same with SIGKILL while
images come in and while studies are processed.
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
from shared.errors.base import ExitCode
from shared.ids import Uid
from shared.protocol.loader import load_protocol
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.status import status_of
from site_node.linkage.export import reidentify
from site_node.membership.record import Membership
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.receive.request_lists import RequestLists
from site_node.study import Identity
from tests.factories.federation import Federation, running_federation
from tests.factories.live_folders import paths_in
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
from tests.peers import check_no_defect

COMMAND = (sys.executable, "-c", "from site_node.cli import main; main()")
FETCHED = tuple(case for case in CASES if case.end in {"submitted", "excluded", "quarantined"})
FIELDS = {
    "covid_status": "COVID-19 status",
    "covid_method": "Method",
    "covid_timing": "Timing",
    "alternative_diagnosis": "Alternative diagnosis",
}
EXPORT = {  # where the studies of the inbox end
    ("quarantined", frozenset({"clinical-row-missing"})),
    ("quarantined", frozenset({"mixed-patients"})),
    ("quarantined", frozenset({"other-bytes"})),
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
        check_no_defect(out + err)
        return process.returncode, json.loads(out) if out else err

    def kill_when(self, condition: Callable[[], bool], *words: object) -> None:
        """Start a command and SIGKILL it as soon as `condition` holds; it must not have ended before."""
        process = self.start(*words)
        deadline = time.monotonic() + 60
        while not condition():
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
    """An enrolled hospital, with the PACS in its settings and an export in its inbox."""
    home, member = federation.site(name)
    text = home.settings_file.read_text().replace("pixel_check = true", "pixel_check = false")
    section = f'[pacs]\nhost = "127.0.0.1"\nport = {pacs.dicom}\nae_title = "PACS"\nretry_seconds = 0.1\n'
    home.settings_file.write_text(text + section)
    write_export(home.folder / "inbox" / "export")
    return Hospital(home, member)


def run_a_day(hospital: Hospital, *, killed: bool) -> None:
    """Import the sheet, fetch the list, process every study; with `killed`, kill the last two once and repeat them."""
    home = hospital.home
    unmatched, problems = write_sheet(home.folder / "clinical.xlsx")
    code, answer = hospital.ask("clinical", "import", home.folder / "clinical.xlsx", "--as", "A. Miller")
    assert code == ExitCode.PARTIAL
    assert sorted((problem["row"], problem["code"]) for problem in answer["problems"]) == sorted(problems)
    reasons = write_list(home.folder / "list.xlsx")
    fetch = ("receive", "--accessions", home.folder / "list.xlsx", "--patient-column", "MRN")
    if killed:
        hospital.kill_when(lambda: len(paths_in(home.arrivals, "*/*.dcm")) > 10, *fetch)
    code, answer = hospital.ask(*fetch)
    assert code == ExitCode.PARTIAL
    assert killed or answer["rows"] == {str(row): reason for row, reason in reasons.items()}
    if killed:
        hospital.kill_when(lambda: any(home.reports.glob("*.json")), "run", "--once", "--no-federation")
        with hospital.ledger() as (ledger, _):
            assert len(list(home.receipts.glob("*.json"))) < len(ELIGIBLE), "it was killed in the middle"
            assert not all(entry.state.ending == "submitted" for entry in ledger.studies())
    code, answer = hospital.ask("run", "--once", "--no-federation")
    assert (code, answer["blocked"]) == (0, None)
    code, answer = hospital.ask("clinical", "unmatched")
    assert code == ExitCode.PARTIAL
    assert {row["row"]: row["code"] for row in answer["rows"]} == unmatched


def ends(hospital: Hospital) -> dict[str, tuple[str, frozenset[str]]]:
    """State and reason codes of each study, by the name of its case; a study of no case is under its key."""
    with hospital.ledger() as (ledger, pseudonyms):
        names = {pseudonyms.study_key(case.study_uid): case.name for case in CASES}
        return {
            names.get(entry.key, entry.key): (entry.state.value, frozenset(reason.code for reason in entry.reasons))
            for entry in ledger.studies()
        }


def requests(hospital: Hospital) -> dict[str, tuple[str, str]]:
    """How the last request for each accession number ended."""
    with hospital.ledger() as (ledger, _):
        entries = {entry.id: entry for entry in ledger.requests.all()}
        counts = ledger.requests.counts()
        assert (counts.announced, counts.failed) == (counts.arrived, 0), "reconciled to zero difference"
        by_time = sorted(
            (entries[name].changed_at, request.accession, entries[name])
            for name, request in RequestLists(hospital.home.requests).all()
        )
        return {accession: (entry.state.value, entry.reason) for _, accession, entry in by_time}


def arrived(federation: Federation, hospital: Hospital) -> set[str]:
    """The names of this hospital's cases that the curator opens; each study is checked."""
    curator = CuratorHome(federation.folder / "curator-curator")
    names: list[str] = []
    with (
        fetching(curator, load_curator_keys(curator.keys), load_protocol()) as fetcher,
        hospital.ledger() as (ledger, pseudonyms),
    ):
        by_key = {pseudonyms.study_key(case.study_uid): case for case in CASES}
        case_of = {entry.study: by_key.get(entry.key) for entry in ledger.studies()}
        for submission in fetcher.submissions():
            if submission.site_id == hospital.member.site_id:
                case = case_of[Uid(submission.study)]
                assert case is not None
                check_study(fetcher.open(submission.id), case, ledger, pseudonyms)
                names.append(case.name)
    assert len(set(names)) == len(names), "nothing arrives twice"
    return set(names)


def check_study(study: OpenedStudy, case: Case, ledger: Ledger, pseudonyms: Pseudonyms) -> None:
    """Images and clinical row are the case's, and so, by the linkage, is the patient."""
    assert len(study.instances) == case.images
    link, _ = reidentify(ledger, pseudonyms, study.signed.manifest.patient, actor="test", reason="test")
    assert link.patient_id == case.patient
    row = case.rows[0]
    shift = timedelta(days=pseudonyms.shift_days(Identity(issuer="", patient_id=case.patient)))
    for path in study.instances:
        image = pydicom.dcmread(path)
        assert image.PatientID == study.signed.manifest.patient
        assert date.fromisoformat(image.StudyDate) + shift == STUDY_DAY
        assert image.Modality in {"CT", "CR", "DX"}
        assert image.PatientAge == ("090Y" if row.get("Age") == 92 else "059Y")
        assert not image.get("PatientBirthDate")
        assert case.patient.encode() not in path.read_bytes()
    assert study.clinical is not None
    clinical = json.loads(study.clinical.read_bytes())
    for name, title in FIELDS.items():
        assert clinical[name] == row.get(title), name
    day = clinical["test_date"]
    assert (date.fromisoformat(day) + shift if day else None) == row.get("Test date")
    assert clinical["age"] == (90 if row.get("Age") == 92 else None)
    assert not {"mrn", "accession", "study_uid"} & clinical.keys()


def check(federation: Federation, hospital: Hospital) -> None:
    """Exactly the eligible studies left, whole; each other study is where `CASES` says, for the reason it says."""
    assert arrived(federation, hospital) == {case.name for case in ELIGIBLE}
    endings = ends(hospital)
    assert {case.name: endings.pop(case.name) for case in FETCHED} == {
        case.name: (case.end, case.codes) for case in FETCHED
    }
    assert (set(endings.values()), len(endings)) == (EXPORT, len(EXPORT))
    assert requests(hospital) == {
        **{case.accession: ("reconciled", "") for case in FETCHED},
        **{case.accession: ("refused", case.end) for case in CASES if case.says},
        SHARED: ("refused", "several-patients"),
        UNKNOWN: ("refused", "unknown-accession"),
    }
    with hospital.ledger() as (ledger, _):
        status = status_of(ledger, name="x", site_id=None)
    assert status.files == {"not-dicom": 1}
    assert (status.submitted, status.waiting.total) == (len(ELIGIBLE), 0)
    assert not list(hospital.home.outbox.iterdir())


def test_a_list_and_a_sheet_bring_exactly_the_eligible_studies(federation: Federation, pacs: Orthanc) -> None:
    """Every other row and study is listed with its reason."""
    hospital = open_hospital(federation, "Calm Intake", pacs)
    run_a_day(hospital, killed=False)
    check(federation, hospital)


def test_the_same_after_kills_in_the_middle(federation: Federation, pacs: Orthanc) -> None:
    """SIGKILL while images come in and again while studies are processed: nothing is lost, nothing arrives twice."""
    hospital = open_hospital(federation, "Shaken Intake", pacs)
    run_a_day(hospital, killed=True)
    check(federation, hospital)
