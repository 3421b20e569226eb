"""Query and retrieve against Orthanc: what it announces is what arrives, whatever happens on the way."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless
from pynetdicom.association import Association

from shared.errors.inputs import InvalidArgument
from shared.errors.transport import PacsRefused, PacsUnreachable
from site_node.home.ledger import Ledger
from site_node.home.retrieve_requests import RequestState
from site_node.network.arrivals import Arrivals
from site_node.network.query import Query
from site_node.network.query_retrieve import Pacs
from site_node.network.scp import serving
from site_node.node.retrieval import Retrieval, work
from site_node.receive.request_lists import RequestLists, StudyRequest
from site_node.settings.dimse import PacsSettings, ScpSettings
from tests.factories.dicom import make_ct, make_dx
from tests.factories.live_folders import paths_in
from tests.factories.pacs import Orthanc, key_of, orthanc
from tests.factories.ports import free_port

STUDIES, SLICES = 5, 100
PORT = free_port()
OURS = "SITENODE"


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """500 small slices in five studies, and two patients who share an accession number."""
    folder = tmp_path_factory.mktemp("orthanc")
    with orthanc(folder / "data", destinations={OURS: PORT}) as running:
        for study in range(STUDIES):
            running.fill(
                make_ct(slices=SLICES, rows=8, study=f"s{study}", PatientID=f"P{study}", AccessionNumber=f"A{study}"),
                folder,
            )
        for patient in ("X", "Y"):
            running.fill([make_dx(rows=8, study=patient, PatientID=patient, AccessionNumber="SHARED")], folder)
        yield running


class Site:
    """Our side, with a ledger of its own."""

    def __init__(self, folder: Path, port: int, **settings: object) -> None:
        self.settings = PacsSettings.model_validate(
            {"host": "127.0.0.1", "port": port, "ae_title": "PACS", "calling": OURS, "retry_seconds": 0.05,
             "attempts": 4, "answer_seconds": 5, "retrieve_seconds": 20, **settings}
        )  # fmt: skip
        self.folder = folder
        self.arrivals = Arrivals(folder / "arrivals", key_of)
        self.lists = RequestLists(folder / "requests")
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.pacs = Pacs(self.settings, destination=OURS)

    def ask(self, *requests: StudyRequest) -> None:
        self.ledger.requests.add(self.lists.add(requests))

    def fetch(self, *accessions: str) -> None:
        self.ask(*(StudyRequest(accession=accession) for accession in accessions))
        self.work()

    def work(self, stop: threading.Event | None = None) -> None:
        with serving(ScpSettings(host="127.0.0.1", port=PORT, callers=("PACS",), ae_title=OURS), self.arrivals):
            work(self.retrieval(), stop or threading.Event(), patience=1)

    def retrieval(self, destination: str = OURS) -> Retrieval:
        pacs = Pacs(self.settings, destination=destination)
        return Retrieval(pacs, self.settings, self.ledger.requests, self.lists, self.arrivals)

    @property
    def numbers(self) -> tuple[int, int, int]:
        counts = self.ledger.requests.counts()
        return counts.announced, counts.arrived, counts.failed

    def reasons(self) -> dict[str, int]:
        return self.ledger.requests.counts().reasons


@pytest.mark.parametrize("method", ["move", "get"])
def test_what_was_announced_is_what_arrived(tmp_path: Path, pacs: Orthanc, method: str) -> None:
    """500 instances of five accession numbers: no difference, and the files are those that the PACS holds."""
    site = Site(tmp_path, pacs.dicom, method=method)
    site.fetch(*(f"A{study}" for study in range(STUDIES)))
    assert site.numbers == (500, 500, 0)
    assert site.ledger.requests.counts().states == {"reconciled": STUDIES}
    assert len(list(site.arrivals.folder.glob("*/*.dcm"))) == STUDIES * SLICES
    assert all(path.stat().st_mode & 0o077 == 0 for path in site.arrivals.folder.rglob("*.dcm"))


@pytest.mark.parametrize("method", ["move", "get"])
def test_an_answer_that_is_lost_is_asked_for_again(
    tmp_path: Path, pacs: Orthanc, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty status, pynetdicom's sign of a lost response, is not taken for success; asking again doubles nothing."""
    lost = {"send_c_find": 1, f"send_c_{method}": 1}
    for name in lost:
        _lose(monkeypatch, name, lost)
    site = Site(tmp_path, pacs.dicom, method=method, answer_seconds=1)
    site.fetch("A0")
    assert site.numbers == (SLICES, SLICES, 0)
    assert not any(lost.values())
    assert site.ledger.requests.all()[0].state is RequestState.RECONCILED
    assert len(list(site.arrivals.folder.glob("*/*.dcm"))) == SLICES


def _lose(monkeypatch: pytest.MonkeyPatch, name: str, left: dict[str, int]) -> None:
    """Make the last status of a call empty, as often as `left` says."""
    original = getattr(Association, name)

    def losing(self: Association, *arguments: object, **options: object) -> Iterator[tuple[Dataset, object]]:
        for status, answer in original(self, *arguments, **options):
            if left[name] and status.get("Status") not in {0xFF00, 0xFF01}:
                left[name] -= 1
                self.abort()
                yield Dataset(), None
                return
            yield status, answer

    monkeypatch.setattr(Association, name, losing)


@pytest.mark.parametrize("method", ["move", "get"])
def test_only_what_is_missing_is_fetched_again(tmp_path: Path, pacs: Orthanc, method: str) -> None:
    """A study that is partly here is completed; files already here are neither sent nor counted again."""
    site = Site(tmp_path, pacs.dicom, method=method)
    site.fetch("A4")
    files = sorted(site.arrivals.folder.glob("*/*.dcm"))
    for file in files[:40]:
        file.unlink()
    before = {file: file.stat().st_ino for file in files[40:]}
    site.fetch("A4")
    assert len(list(site.arrivals.folder.glob("*/*.dcm"))) == SLICES
    assert {file: file.stat().st_ino for file in files[40:]} == before
    assert site.numbers == (SLICES, SLICES, 0)


def test_an_unknown_destination_ends_with_that_reason(tmp_path: Path, pacs: Orthanc) -> None:
    """A PACS that does not know our AE title sends nothing; all that it announced fails at once, and why."""
    site = Site(tmp_path, pacs.dicom, method="move", attempts=8)
    site.ask(StudyRequest(accession="A0"))
    work(site.retrieval("NOBODY"), threading.Event(), patience=1)
    assert site.numbers == (SLICES, 0, SLICES)
    assert set(site.reasons()) <= {"destination-unknown", "pacs-status-c000"}
    assert site.reasons()
    assert site.ledger.requests.all()[0].attempts == 0


def test_an_image_comes_in_the_compression_that_the_pacs_holds(tmp_path: Path) -> None:
    """By C-GET, compressed in two ways beside an uncompressed one, at the first attempt."""
    syntaxes = (JPEG2000Lossless, RLELossless, ExplicitVRLittleEndian)
    with orthanc(tmp_path / "data") as running:
        for number, syntax in enumerate(syntaxes):
            film = make_dx(study=f"f{number}", PatientID="P", AccessionNumber="MIXED")
            running.fill([film], tmp_path, syntax)
        site = Site(tmp_path, running.dicom, attempts=1)
        site.fetch("MIXED")
    assert site.numbers == (len(syntaxes), len(syntaxes), 0)
    arrived = {dcmread(file).file_meta.TransferSyntaxUID for file in site.arrivals.folder.glob("*/*.dcm")}
    assert arrived == set(syntaxes)


def test_each_accession_that_cannot_be_fetched_has_its_reason(tmp_path: Path, pacs: Orthanc) -> None:
    """It is unknown, of several patients, or of another patient than the list says; a good one beside it is fetched."""
    site = Site(tmp_path, pacs.dicom)
    site.ask(
        StudyRequest(accession="NONE"),
        StudyRequest(accession="SHARED"),
        StudyRequest(accession="A1", patient_id="P9"),
        StudyRequest(accession="A2", patient_id="P2"),
    )
    site.work()
    assert site.reasons() == {"unknown-accession": 1, "several-patients": 1, "other-patient": 1}
    assert site.numbers == (SLICES, SLICES, 0)


def test_a_pacs_killed_half_way_is_asked_for_the_rest(tmp_path: Path) -> None:
    """Once the PACS is back, the missing files are fetched and the counts agree."""
    data, port = tmp_path / "data", free_port()
    with orthanc(data, destinations={OURS: PORT}, dicom=port) as running:
        running.fill(make_ct(slices=SLICES, rows=64, PatientID="P", AccessionNumber="A"), tmp_path)
        site = Site(tmp_path, port, attempts=50, retry_seconds=0.1, answer_seconds=1, retrieve_seconds=1)
        site.ask(StudyRequest(accession="A"))
        killer = threading.Thread(target=_kill_after_the_first_file, args=(running, site.arrivals))
        killer.start()
        work(site.retrieval(), _after(killer), patience=None)
        assert 0 < len(list(site.arrivals.folder.glob("*/*.dcm"))) <= SLICES
        assert site.ledger.requests.counts().states != {"reconciled": 1}
        assert site.ledger.requests.awaited_studies()
    with orthanc(data, destinations={OURS: PORT}, dicom=port):
        site.work()
    assert site.numbers == (SLICES, SLICES, 0)
    assert site.ledger.requests.all()[0].attempts > 0


def _kill_after_the_first_file(running: Orthanc, arrivals: Arrivals) -> None:
    while not paths_in(arrivals.folder, "*/*.dcm"):
        time.sleep(0.002)
    running.kill()


def _after(thread: threading.Thread) -> threading.Event:
    stop = threading.Event()

    def wait() -> None:
        thread.join()
        time.sleep(0.3)
        stop.set()

    threading.Thread(target=wait).start()
    return stop


def test_an_unreachable_pacs_and_a_refusing_one_are_told_apart(tmp_path: Path, pacs: Orthanc) -> None:
    """An unreachable PACS and one that refuses us are different errors."""
    with pytest.raises(PacsUnreachable):
        Site(tmp_path, free_port()).pacs.echo()
    Site(tmp_path, pacs.dicom).pacs.echo()
    refusing = ScpSettings(host="127.0.0.1", port=free_port(), callers=("ELSE",), ae_title="PACS")
    with serving(refusing, Arrivals(tmp_path / "x", key_of)), pytest.raises(PacsRefused) as caught:
        Site(tmp_path, refusing.port).pacs.echo()
    assert caught.value.code == "pacs-refused"


def test_studies_and_series_are_found_by_each_key(tmp_path: Path, pacs: Orthanc) -> None:
    """By accession number, patient and date range with modality; a wildcard, or no key at all, is refused."""
    scu = Site(tmp_path, pacs.dicom).pacs
    (study,) = scu.studies(Query(accession="A3"))
    assert (study.patient_id, study.instances, study.accession) == ("P3", SLICES, "A3")
    (series,) = scu.series(study.study_uid)
    assert (series.modality, series.instances) == ("CT", SLICES)
    assert {uid: len(uids) for uid, uids in scu.instances(study.study_uid).items()} == {series.series_uid: SLICES}
    assert [study.accession for study in scu.studies(Query(patient_id="P1"))] == ["A1"]
    assert len(scu.studies(Query(dates="19000101-20991231", modality="CT"))) == STUDIES
    for query in (Query(accession="A*"), Query(patient_id="P?"), Query(accession="A\\B"), Query(modality="CT")):
        with pytest.raises(InvalidArgument):
            scu.studies(query)


def test_the_ledger_holds_no_accession_number(tmp_path: Path, pacs: Orthanc) -> None:
    """What was asked for is in a file that only its owner reads; the ledger has states and counts."""
    accession = "ACC77315"
    site = Site(tmp_path, pacs.dicom)
    site.fetch(accession)
    site.ledger.close()
    assert all(accession.encode() not in path.read_bytes() for path in tmp_path.glob("ledger.sqlite*"))
    (file,) = (tmp_path / "requests").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["accession"] == accession
