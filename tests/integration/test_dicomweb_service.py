"""`ricord-site run` over DICOMweb: what is asked for while it runs is fetched, through a failure and a kill, once."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from site_node.home.folder import SiteHome, init_home
from site_node.home.ledger import Ledger
from site_node.home.status import Status, status_of
from tests.factories.dicom import make_ct
from tests.factories.dicomweb import Answer, dicomweb

COMMAND = (sys.executable, "-c", "from site_node.cli import main; main()")
SLICES = {
    name: make_ct(slices=3, rows=8, study=name, AccessionNumber=name, PatientID="P1") for name in ("ACC1", "ACC2")
}


def counts(home: SiteHome) -> Status:
    ledger = Ledger(home.ledger)
    try:
        return status_of(ledger, name="x", site_id=None)
    finally:
        ledger.close()


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def running(home: SiteHome, log: Path, end_signal: signal.Signals) -> Iterator[None]:
    """Run the service until a signal ends it, with exit code 0 on SIGTERM."""
    with log.open("ab") as stream:
        command = [*COMMAND, "--home", str(home.folder), "run", "--no-federation"]
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        wait(lambda: "ready" in log.read_text())
        yield
    finally:
        process.send_signal(end_signal)
        code = process.wait(timeout=60)
    assert code == (0 if end_signal is signal.SIGTERM else -end_signal)


def ask(home: SiteHome, accession: str) -> None:
    """Enter a request while the service runs."""
    command = [*COMMAND, "--home", str(home.folder), "receive", "--accessions", "-", "--json"]
    done = subprocess.run(command, input=accession, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["waiting"] >= 1


def test_the_service_fetches_what_is_asked_for(tmp_path: Path) -> None:
    """The server fails once and the node is killed once; each study arrives once."""
    home, log = init_home(tmp_path / "home", name="General"), tmp_path / "log"
    text = home.settings_file.read_text().replace("poll_seconds = 10.0", "poll_seconds = 0.1")
    text = text.replace("pixel_check = true", "pixel_check = false").replace("min_free_mb = 1024", "min_free_mb = 0")
    with dicomweb([dataset for study in SLICES.values() for dataset in study]) as fake:
        home.settings_file.write_text(f'{text}\n[dicomweb]\nurl = "{fake.url}"\nretry_seconds = 0.1\n')
        fake.first = [Answer(status=503)]
        with running(home, log, signal.SIGKILL):
            ask(home, "ACC1")
            wait(lambda: counts(home).received == 1)
        log.write_text("")
        with running(home, log, signal.SIGTERM):
            ask(home, "ACC2")
            wait(lambda: counts(home).received == 2 and counts(home).requests.states == {"reconciled": 2})
    status = counts(home)
    assert (status.requests.announced, status.requests.arrived, sum(status.instances.values())) == (6, 6, 6)
    assert not list(home.arrivals.rglob("*.dcm"))
    output = log.read_text()
    assert "pacs.attempt" in output
    assert not [value for value in ("ACC2", "Traceback", str(SLICES["ACC2"][0].StudyInstanceUID)) if value in output]
