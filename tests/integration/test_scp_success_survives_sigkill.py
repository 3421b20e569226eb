"""Our SCP against dcmtk's `storescu`: an answer of success is never taken back, not even by SIGKILL."""

import os
import subprocess
import threading
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

from pydicom import dcmread

from site_node.network.arrivals import Arrivals
from site_node.settings.dimse import ScpSettings
from tests.factories.dicom import make_ct, write_file
from tests.factories.live_folders import paths_in
from tests.factories.pacs import key_of, serving_in_a_process
from tests.factories.ports import free_port
from tests.peers import needs_peer

SLICES = 80


def test_what_was_answered_is_there_after_a_kill(tmp_path: Path) -> None:
    """After a kill at a quarter of the files those answered `Success` are whole; sending again adds the rest."""
    storescu = needs_peer("storescu", "dcmtk")
    source = tmp_path / "source"
    source.mkdir()
    for number, dataset in enumerate(make_ct(slices=SLICES, rows=64)):
        write_file(dataset, source / f"{number}.dcm")
    settings = ScpSettings(host="127.0.0.1", port=free_port(), callers=("SENDER",), min_free_mb=0)
    folder = tmp_path / "arrivals"
    with serving_in_a_process(settings, folder) as process:
        pushed = threading.Event()
        killer = threading.Thread(target=_kill_at, args=(process, folder, SLICES // 4, pushed))
        killer.start()
        log = push(storescu, settings.port, source)
        pushed.set()
        killer.join()
    successes = log.count("Received Store Response (Success)")
    stored_files = list(folder.glob("*/*.dcm"))
    assert 0 < successes <= len(stored_files) < SLICES, log[-2000:]
    assert all(dcmread(path).SOPInstanceUID for path in stored_files)
    with serving_in_a_process(settings, folder):
        assert push(storescu, settings.port, source).count("Received Store Response (Success)") == SLICES
    arrivals = Arrivals(folder, key_of)
    assert len(list(folder.glob("*/*.dcm"))) == SLICES
    arrivals.clear_unfinished()
    assert not list((folder / ".unfinished").iterdir())


def _kill_at(process: BaseProcess, folder: Path, count: int, pushed: threading.Event) -> None:
    while len(paths_in(folder, "*/*.dcm")) < count and not pushed.is_set():
        time.sleep(0.001)
    process.kill()


def push(storescu: str, port: int, folder: Path) -> str:
    call = [storescu, "-v", "-aet", "SENDER", "-aec", "RICORD", "+sd", "127.0.0.1", str(port), str(folder)]
    environment = {**os.environ, "TCP_NODELAY": "1"}
    done = subprocess.run(call, check=False, capture_output=True, text=True, env=environment, timeout=60)
    return done.stdout + done.stderr
