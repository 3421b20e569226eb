"""QIDO-RS and WADO-RS against Orthanc: what it announces is what arrives, whatever happens on the way."""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors.base import ExitCode
from site_node.home.folder import init_home
from site_node.home.ledger import Ledger
from site_node.network.arrivals import Arrivals
from site_node.network.dicomweb import Dicomweb
from site_node.network.query import Query
from site_node.node.retrieval import Retrieval, work
from site_node.receive.request_lists import RequestLists, StudyRequest
from site_node.settings.dicomweb import DicomwebSettings
from tests.factories.dicom import make_ct, make_dx
from tests.factories.pacs import Orthanc, key_of, orthanc
from tests.factories.ports import free_port

COMMAND = (sys.executable, "-c", "from site_node.cli import main; main()")
SLICES = 60


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """60 slices and a scout in one study, a film in another."""
    folder = tmp_path_factory.mktemp("orthanc")
    with orthanc(folder / "data", web=True) as running:
        ours = {"study": "ct", "PatientID": "P1", "AccessionNumber": "A1"}
        running.fill(make_ct(slices=SLICES, rows=64, **ours), folder)  # type: ignore[arg-type] # changes by name
        running.fill(make_ct(slices=1, rows=64, plane="scout", **ours), folder)  # type: ignore[arg-type] # likewise
        running.fill([make_dx(rows=64, study="film", PatientID="P2", AccessionNumber="A2")], folder)
        yield running


class Site:
    """Our side, with a ledger of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.settings = DicomwebSettings(
            url=f"http://127.0.0.1:{port}/dicom-web", attempts=60, retry_seconds=0.05, answer_seconds=5
        )
        self.pacs = Dicomweb(self.settings, folder)
        self.arrivals = Arrivals(folder / "arrivals", key_of)
        self.lists = RequestLists(folder / "requests")
        self.ledger = Ledger(folder / "ledger.sqlite")

    def ask(self, *requests: StudyRequest) -> None:
        self.ledger.requests.add(self.lists.add(requests))

    def work(self, stop: threading.Event | None = None) -> None:
        retrieval = Retrieval(self.pacs, self.settings, self.ledger.requests, self.lists, self.arrivals)
        work(retrieval, stop or threading.Event(), patience=1)

    @property
    def numbers(self) -> tuple[int, int, int]:
        counts = self.ledger.requests.counts()
        return counts.announced, counts.arrived, counts.failed

    def files(self) -> list[Path]:
        return sorted(self.arrivals.folder.glob("*/*.dcm"))


def test_what_was_announced_is_what_arrived(tmp_path: Path, pacs: Orthanc) -> None:
    """By accession number: no difference, and the bytes are those that the PACS holds."""
    site = Site(tmp_path, pacs.http)
    site.ask(StudyRequest(accession="A1", patient_id="P1"), StudyRequest(accession="NONE"))
    site.work()
    assert site.numbers == (SLICES + 1, SLICES + 1, 0)
    assert site.ledger.requests.counts().states == {"reconciled": 1, "refused": 1}
    assert site.ledger.requests.counts().reasons == {"unknown-accession": 1}
    pacs_files = {_file(pacs, instance) for instance in pacs.call("/instances")}
    assert len(site.files()) == SLICES + 1
    assert {path.read_bytes() for path in site.files()} < pacs_files
    assert all(path.stat().st_mode & 0o077 == 0 for path in site.files())
    site.ledger.close()


def _file(pacs: Orthanc, instance: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{pacs.http}/instances/{instance}/file", timeout=30) as answer:
        return bytes(answer.read())


def test_studies_series_and_instances_are_found_by_each_key(tmp_path: Path, pacs: Orthanc) -> None:
    """By accession number, patient, dates and modality, and by UID."""
    site = Site(tmp_path, pacs.http)
    site.pacs.echo()
    (study,) = site.pacs.studies(Query(patient_id="P1"))
    assert (study.accession, study.instances, study.series) == ("A1", SLICES + 1, 2)
    assert site.pacs.studies(Query(study_uid=study.study_uid)) == (study,)
    assert site.pacs.studies(Query(dates="19000101-20991231", modality="CT")) == (study,)
    assert site.pacs.studies(Query(accession="NONE")) == ()
    assert sorted(series.instances or 0 for series in site.pacs.series(study.study_uid)) == [1, SLICES]
    assert sorted(len(uids) for uids in site.pacs.instances(study.study_uid).values()) == [1, SLICES]
    site.ledger.close()


def test_only_what_is_missing_is_fetched_again(tmp_path: Path, pacs: Orthanc) -> None:
    """A study that is partly here is completed instance by instance; files already here are not sent again."""
    site = Site(tmp_path, pacs.http)
    site.ask(StudyRequest(accession="A1"))
    site.work()
    missing, present = site.files()[:40], site.files()[40:]
    assert len(present) == SLICES + 1 - 40
    before = {file: file.stat().st_ino for file in present}
    for file in missing:
        file.unlink()
    site.ask(StudyRequest(accession="A1"))
    site.work()
    assert site.files() == sorted([*missing, *present])
    assert {file: file.stat().st_ino for file in present} == before
    site.ledger.close()


def test_a_pacs_killed_half_way_is_asked_for_the_rest(tmp_path: Path) -> None:
    """No truncated file is kept; once the PACS is back, the missing files are fetched and the counts agree."""
    port = free_port()
    with orthanc(tmp_path / "data", web=True, http=port) as running:
        running.fill(make_ct(slices=SLICES, rows=512, PatientID="P", AccessionNumber="A"), tmp_path)
        site = Site(tmp_path, port)
        site.ask(StudyRequest(accession="A"))
        stop = threading.Event()
        killer = threading.Thread(target=_kill_after_the_first_file, args=(running, site, stop))
        killer.start()
        site.work(stop)
        killer.join()
        early_files = site.files()
        assert 0 < len(early_files) < SLICES
        assert site.ledger.requests.awaited_studies()
    with orthanc(tmp_path / "data", web=True, http=port):
        site.work()
    assert site.numbers == (SLICES, SLICES, 0)
    assert site.ledger.requests.all()[0].attempts > 0
    assert set(early_files) < set(site.files())
    site.ledger.close()


def _kill_after_the_first_file(running: Orthanc, site: Site, stop: threading.Event) -> None:
    while not site.files():
        time.sleep(0.002)
    running.kill()
    stop.set()


def test_the_commands_work_over_the_web_as_over_dimse(tmp_path: Path, pacs: Orthanc) -> None:
    """`test`, `find`, a list of accession numbers, `retry` and `get`: the studies reach spool and ledger."""
    home = init_home(tmp_path / "home", name="General")
    with home.settings_file.open("a") as file:
        file.write(f'\n[dicomweb]\nurl = "http://127.0.0.1:{pacs.http}/dicom-web/"\nretry_seconds = 0.1\n')
    for words in ((), ("--accession", "A1")):
        services = [{"service": name, "is_used": True, "reason": ""} for name in ("QIDO-RS", "WADO-RS")]
        answer = {"answered": True, "url": f"http://127.0.0.1:{pacs.http}/dicom-web", "services": services}
        assert _run(home.folder, "pacs", "test", *words) == (0, answer)
    code, studies = _run(home.folder, "pacs", "find", "--patient-id", "P2")
    assert (code, [study["accession"] for study in studies]) == (0, ["A2"])
    (tmp_path / "list.csv").write_text("Accession\nA1\nNONE\n")
    code, report = _run(home.folder, "receive", "--accessions", str(tmp_path / "list.csv"))
    assert (code, report["reasons"]) == (ExitCode.PARTIAL, {"unknown-accession": 1})
    assert (report["announced"], report["arrived"], report["failed"]) == (SLICES + 1, SLICES + 1, 0)
    assert _run(home.folder, "pacs", "retry")[0] == 0
    code, report = _run(home.folder, "pacs", "get", "--patient-id", "P2")
    assert (code, report["studies"], report["instances"]) == (0, 1, 1)


def _run(home: Path, *words: str) -> tuple[int, Any]:
    done = subprocess.run(
        [*COMMAND, "--home", str(home), *words, "--json"], check=False, capture_output=True, text=True, timeout=120
    )
    assert "A1" not in done.stderr
    assert done.returncode in {0, ExitCode.PARTIAL}, done.stderr
    return done.returncode, json.loads(done.stdout)
