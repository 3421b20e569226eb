"""A PACS for tests: Orthanc as a child process on free loopback ports; and our own SCP in a process of its own."""

import json
import multiprocessing
import multiprocessing.process
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from shared.ids import SiteId, StudyKey
from site_node.network.arrivals import Arrivals
from site_node.network.scp import serving
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.settings.dimse import ScpSettings
from tests.factories.dicom import write_file
from tests.factories.ports import free_port
from tests.peers import needs_peer

_LOOPBACK = "127.0.0.1"


class Orthanc:
    """A running Orthanc."""

    def __init__(self, process: "subprocess.Popen[bytes]", http: int, dicom: int) -> None:
        self.process = process
        self.http = http
        self.dicom = dicom

    def call(self, path: str, data: bytes | None = None) -> Any:
        """Ask its REST interface; with `data`, a POST."""
        with urllib.request.urlopen(f"http://{_LOOPBACK}:{self.http}{path}", data, timeout=30) as answer:
            return json.loads(answer.read())

    def fill(self, datasets: Iterable[Dataset], folder: Path, syntax: UID = ExplicitVRLittleEndian) -> int:
        """Upload instances in a transfer syntax; returns their number."""
        file = folder / "upload.dcm"
        uploads = list(datasets)
        for dataset in uploads:
            write_file(dataset, file, syntax)
            self.call("/instances", file.read_bytes())
        return len(uploads)

    def clear(self) -> None:
        """Delete every instance."""
        for patient in self.call("/patients"):
            address = f"http://{_LOOPBACK}:{self.http}/patients/{patient}"
            with urllib.request.urlopen(urllib.request.Request(address, method="DELETE"), timeout=30):
                pass

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()
        self.process.wait()


@contextmanager
def orthanc(
    folder: Path,
    *,
    destinations: dict[str, int] | None = None,
    dicom: int | None = None,
    http: int | None = None,
    web: bool = False,
    **settings: object,
) -> Iterator[Orthanc]:
    """Start Orthanc with its data in `folder`; `destinations` are AE titles and ports that it may C-MOVE to.

    With `web` it speaks DICOMweb too, below `/dicom-web`. Without Orthanc, or the plugin, the test is skipped.
    """
    program = needs_peer("Orthanc", "orthanc")
    folder.mkdir(parents=True, exist_ok=True)
    http, dicom = http or free_port(), dicom or free_port()
    configuration = {
        "Name": "PACS", "StorageDirectory": str(folder), "IndexDirectory": str(folder), "HttpPort": http,
        "DicomPort": dicom, "DicomAet": "PACS", "RemoteAccessAllowed": False,
        "DicomCheckCalledAet": False, "DicomAlwaysAllowStore": True, "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowFind": True, "DicomAlwaysAllowGet": True, "DicomAlwaysAllowMove": True,
        "DicomModalities": {title: [title, _LOOPBACK, port] for title, port in (destinations or {}).items()},
        "OverwriteInstances": False, "StableAge": 1, "SaveJobs": False, "MaximumPduLength": 131072,
        "Plugins": [_web_plugin()] if web else [], "DicomWeb": {"Enable": web},
        **settings,
    }  # fmt: skip
    file = folder / "orthanc.json"
    file.write_text(json.dumps(configuration))
    process = subprocess.Popen(
        [program, str(file)],
        env={**os.environ, "TCP_NODELAY": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    running = Orthanc(process, http, dicom)
    try:
        _wait_until_up(running)
        yield running
    finally:
        process.kill()
        process.wait()


def _web_plugin() -> str:
    plugins = sorted(Path("/usr").glob("*/orthanc/plugins/libOrthancDicomWeb.so*"))
    plugins += sorted(Path("/usr").glob("*/*/orthanc/plugins/libOrthancDicomWeb.so*"))
    if plugins:
        return str(plugins[0])
    reason = "Orthanc's DICOMweb plugin is not here; install the package orthanc-dicomweb"
    if os.environ.get("REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _wait_until_up(running: Orthanc) -> None:
    for _ in range(400):
        try:
            running.call("/system")
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("Orthanc did not start")


def key_of(uid: str) -> StudyKey:
    """A study key as a site makes it."""
    return _pseudonyms().study_key(uid)


@cache
def _pseudonyms() -> Pseudonyms:
    return Pseudonyms(bytes(range(32)), SiteId("123456"))


@contextmanager
def serving_in_a_process(settings: ScpSettings, folder: Path) -> Iterator[multiprocessing.process.BaseProcess]:
    """Our SCP in a process of its own, to be measured or killed."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_serve, args=(settings, folder, ready), daemon=True)
    process.start()
    try:
        if not ready.wait(60):
            raise TimeoutError("our SCP did not start")
        yield process
    finally:
        process.kill()
        process.join()


def _serve(settings: ScpSettings, folder: Path, ready: Any) -> None:
    with serving(settings, Arrivals(folder, key_of)):
        ready.set()
        while True:
            time.sleep(3600)
