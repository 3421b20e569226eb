"""The node's commands against Orthanc and dcmtk: a list in, studies in the ledger, whatever is killed on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from shared.errors.base import ExitCode
from site_node.home.folder import SiteHome, init_home
from site_node.home.ledger import Ledger
from site_node.home.status import status_of
from tests.factories.dicom import make_ct, make_dx, write_file
from tests.factories.live_folders import paths_in
from tests.factories.pacs import Orthanc, orthanc
from tests.factories.ports import free_port
from tests.factories.tls import make_tls_files
from tests.peers import check_no_defect, needs_peer

COMMAND = (sys.executable, "-c", "from site_node.cli import main; main()")
PORT = free_port()
STUDIES, SLICES = 3, 60


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    folder = tmp_path_factory.mktemp("orthanc")
    with orthanc(folder / "data", destinations={"RICORD": PORT}) as running:
        for study in range(STUDIES):
            running.fill(
                make_ct(slices=SLICES, rows=64, study=f"s{study}", PatientID=f"P{study}", AccessionNumber=f"A{study}"),
                folder,
            )
        yield running


def home_for(folder: Path, text: str) -> SiteHome:
    """A home with DICOM settings; the pixel check is off."""
    home = init_home(folder / "home", name="General")
    before = home.settings_file.read_text().partition("# [scp]")[0]
    before = before.replace("pixel_check = true", "pixel_check = false").replace(
        "poll_seconds = 10.0", "poll_seconds = 0.2"
    )
    home.settings_file.write_text(before + text)
    return home


def scp_text(*callers: str, more: str = "") -> str:
    listed = ", ".join(f'"{caller}"' for caller in callers)
    return (
        f'[scp]\nhost = "127.0.0.1"\nport = {PORT}\ncallers = [{listed}]\nquiet_seconds = 0.5\nmin_free_mb = 1\n{more}'
    )


def pacs_text(port: int, method: str) -> str:
    return (
        f'[pacs]\nhost = "127.0.0.1"\nport = {port}\nae_title = "PACS"\nmethod = "{method}"\nretry_seconds = 0.2\n'
        "answer_seconds = 5.0\n"
    )


def start(home: SiteHome, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "--home", str(home.folder), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=60)
    check_no_defect(out + err)
    return process.returncode, out or err


def ask(home: SiteHome, *words: str) -> tuple[int, Any]:
    code, output = finish(start(home, *words, "--json"))
    return code, json.loads(output)


def accession_sheet(folder: Path) -> Path:
    """A list of three known accession numbers, one of them twice, an unknown one, and a row without any."""
    book = Workbook()
    assert book.active is not None
    for row in (
        ["Case", "Accession"],
        *([number, f"A{number}"] for number in range(STUDIES)),
        [7, "A0"],
        [8, "NONE"],
        [9],
    ):
        book.active.append(row)
    book.save(folder / "list.xlsx")
    return folder / "list.xlsx"


@pytest.mark.parametrize("method", ["move", "get"])
def test_a_list_killed_half_way_ends_like_an_undisturbed_one(tmp_path: Path, pacs: Orthanc, method: str) -> None:
    """After a SIGKILL while images come in, the same command again brings exactly the studies of the list."""
    home = home_for(tmp_path, scp_text("PACS") + pacs_text(pacs.dicom, method))
    words = ("receive", "--accessions", str(accession_sheet(tmp_path)))
    process = start(home, *words)
    try:
        _wait(lambda: paths_in(home.spool, "**/*.dcm") and paths_in(home.arrivals, "*/*.dcm"))
    finally:
        process.kill()
        process.communicate()
    code, report = ask(home, *words)
    assert code == ExitCode.PARTIAL
    status = status_in(home)
    requests = status["requests"]
    assert requests["states"] == {"reconciled": STUDIES, "refused": 1}
    assert (requests["announced"], requests["arrived"], requests["failed"]) == (STUDIES * SLICES, STUDIES * SLICES, 0)
    assert requests["reasons"] == {"unknown-accession": 1}
    assert report["rows"]["5"] == "duplicate-in-list"
    assert status["received"] == STUDIES
    assert sum(status["instances"].values()) == STUDIES * SLICES
    assert not list(home.arrivals.rglob("*.dcm"))


def test_each_service_of_the_pacs_is_tried(tmp_path: Path, pacs: Orthanc) -> None:
    """With a study's number an image comes by C-GET and C-MOVE, and nothing of it stays; what fails has its reason."""
    home = home_for(tmp_path / "good", scp_text("PACS") + pacs_text(pacs.dicom, "get"))
    for words in (("--accession", "A0"), ()):
        code, answer = ask(home, "pacs", "test", *words)
        services = [(service["service"], service["is_used"], service["reason"]) for service in answer["services"]]
        assert services == [("C-ECHO", True, ""), ("C-FIND", True, ""), ("C-GET", True, ""), ("C-MOVE", False, "")]
        assert (code, list(home.folder.rglob("*.dcm")), list(home.folder.glob(".pacs-test-*"))) == (0, [], [])
    assert status_in(home)["received"] == 0
    assert ask(home, "pacs", "test", "--accession", "NONE")[0] == ExitCode.USAGE
    unknown = scp_text("PACS", more='ae_title = "NOBODY"\n')
    for method, used, expected in (("get", False, 0), ("move", True, ExitCode.REFUSED)):
        home = home_for(tmp_path / method, unknown + pacs_text(pacs.dicom, method))
        code, answer = ask(home, "pacs", "test", "--accession", "A0")
        (move,) = (service for service in answer["services"] if service["service"] == "C-MOVE")
        assert (code, move["is_used"], move["reason"]) == (expected, used, "pacs-status-c000")


def test_the_service_receives_what_is_pushed_and_what_is_asked_for(tmp_path: Path, pacs: Orthanc) -> None:
    """`storescu` pushes to `run`, a stranger is refused, a request made meanwhile is fetched; SIGTERM ends it."""
    storescu = needs_peer("storescu", "dcmtk")
    home = home_for(tmp_path, scp_text("MODALITY") + pacs_text(pacs.dicom, "get"))
    files = _files(tmp_path / "push")
    process = start(home, "run", "--no-federation")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert _push(storescu, "STRANGER", files) != 0
        assert _push(storescu, "MODALITY", files) == 0
        code, report = ask(home, "pacs", "get", "--accession", "A1")
        assert (code, report["requests"]) == (0, 1)
        _wait(lambda: status_in(home)["received"] == 3)
    finally:
        process.terminate()
    code, _ = finish(process)
    assert code == 0
    status = status_in(home)
    assert sum(status["instances"].values()) == 11 + SLICES
    assert (status["requests"]["states"], status["requests"]["arrived"]) == ({"reconciled": 1}, SLICES)


def status_in(home: SiteHome) -> dict[str, Any]:
    """What `status --json` says, without a process for it."""
    ledger = Ledger(home.ledger)
    try:
        return status_of(ledger, name="x", site_id=None).model_dump(mode="json")
    finally:
        ledger.close()


def test_a_listener_that_dies_is_started_again_and_ends_with_its_node(tmp_path: Path) -> None:
    """A killed listener is back within seconds; when the node itself is killed, nothing listens."""
    echoscu = needs_peer("echoscu", "dcmtk")
    home = home_for(tmp_path, scp_text("MODALITY"))
    call = [echoscu, "-to", "2", "-aet", "MODALITY", "-aec", "RICORD", "127.0.0.1", str(PORT)]

    def answers() -> bool:
        return subprocess.run(call, check=False, capture_output=True, timeout=30).returncode == 0

    process = start(home, "run", "--no-federation")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert answers()
        for child in _children(process.pid):
            os.kill(child, signal.SIGKILL)
        _wait(answers)
    finally:
        process.kill()
    process.communicate()
    _wait(lambda: not answers())


def _children(parent: int) -> list[int]:
    """The ids of the processes that listen for `parent`, without multiprocessing's resource tracker."""
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in listed if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_dcmtk_reaches_us_over_mutual_tls(tmp_path: Path) -> None:
    """Another implementation is served with a certificate, and refused without one or without TLS."""
    echoscu = needs_peer("echoscu", "dcmtk")
    files = make_tls_files(tmp_path)
    tls = f'[scp.tls]\ncertificate = "{files.certificate}"\nkey = "{files.key}"\nauthorities = "{files.authority}"\n'
    home = home_for(tmp_path, scp_text("MODALITY", more=tls))
    process = start(home, "run", "--no-federation")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        base = [echoscu, "-aet", "MODALITY", "-aec", "RICORD", "127.0.0.1", str(PORT)]
        with_key = ["+tls", str(files.key), str(files.certificate), "+cf", str(files.authority)]
        assert subprocess.run([*base, *with_key], check=False, capture_output=True).returncode == 0
        without = ["+tla", "+cf", str(files.authority)]
        assert subprocess.run([*base, *without], check=False, capture_output=True).returncode != 0
        assert subprocess.run(base, check=False, capture_output=True, timeout=30).returncode != 0
    finally:
        process.terminate()
    assert finish(process)[0] == 0


def _files(folder: Path) -> Path:
    folder.mkdir()
    for number, dataset in enumerate(
        [*make_ct(slices=10, rows=16, PatientID="P"), make_dx(rows=16, study="x", PatientID="Q")]
    ):
        write_file(dataset, folder / f"{number}.dcm")
    return folder


def _push(storescu: str, calling: str, folder: Path) -> int:
    return subprocess.run(
        [storescu, "-aet", calling, "-aec", "RICORD", "+sd", "127.0.0.1", str(PORT), str(folder)],
        check=False,
        capture_output=True,
        env={**os.environ, "TCP_NODELAY": "1"},
        timeout=60,
    ).returncode


def _wait(until: Any, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)
