"""C-STORE into our SCP, which syncs before each answer, compared with dcmtk's storescp and Orthanc.

All three get the same files from `storescu`, store on the same disk and start each round empty. storescp and Orthanc
do not sync. A program that is not installed has no row.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from site_node.settings.dimse import ScpSettings
from tests.benchmarks.measure import Row, medians
from tests.factories.dicom import make_ct, write_file
from tests.factories.pacs import orthanc, serving_in_a_process
from tests.factories.ports import free_port

FILES, SIDE = 200, 512  # CT slices, 0.5 MB each
PEER_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
_PROMISED = {1: 0.35, 4: 0.7}  # associations: share of Orthanc's files a second
_ROUNDS = 5


def rows() -> list[Row]:
    """Files a second with one and with four associations."""
    if shutil.which("storescu") is None:
        return []
    with tempfile.TemporaryDirectory(prefix="ricord-bench-") as folder, ExitStack() as stack:
        parts = write_parts(Path(folder) / "files", 4)
        ports = {"ours": stack.enter_context(_ours(Path(folder) / "ours"))}
        clear: dict[str, Callable[[], None]] = {"ours": partial(empty, Path(folder) / "ours")}
        if shutil.which("storescp"):
            ports["storescp"] = stack.enter_context(storescp(Path(folder) / "storescp"))
            clear["storescp"] = partial(empty, Path(folder) / "storescp")
        if shutil.which("Orthanc"):
            running = stack.enter_context(orthanc(Path(folder) / "orthanc", DicomAet="RICORD"))
            ports["Orthanc"], clear["Orthanc"] = running.dicom, running.clear
        table: list[Row] = []
        for associations in _PROMISED:
            runs: dict[str, Callable[[], float | None]] = {
                name: partial(_send, port, parts, associations, clear[name]) for name, port in ports.items()
            }
            table += _rows(medians(runs, rounds=_ROUNDS), associations)
    return table


def _rows(seconds: dict[str, float], associations: int) -> list[Row]:
    rates = {name: FILES / median for name, median in seconds.items()}
    against = "Orthanc" if "Orthanc" in rates else "itself"
    return [
        Row(
            f"C-STORE into {name}, {associations} associations",
            rate,
            "files/s",
            against,
            rate / rates.get(against, rate),
            _PROMISED[associations] if name == "ours" and against == "Orthanc" else None,
        )
        for name, rate in rates.items()
    ]


def write_parts(folder: Path, count: int) -> list[Path]:
    """Write the files into `count` folders, one for each association."""
    slices = make_ct(slices=FILES, rows=SIDE, thickness=1.0)
    parts = [folder / str(number) for number in range(count)]
    for number, dataset in enumerate(slices):
        part = parts[number % count]
        part.mkdir(parents=True, exist_ok=True)
        write_file(dataset, part / f"{number}.dcm")
    return parts


def empty(folder: Path) -> None:
    """Remove the files of an earlier round."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()


def _send(port: int, parts: list[Path], associations: int, clear: Callable[[], None]) -> float:
    """Seconds until every file is answered; with several associations each part has its own `storescu`."""
    clear()
    storescu = shutil.which("storescu") or ""
    shares = [parts] if associations == 1 else [[part] for part in parts]
    start = time.perf_counter()
    call = [storescu, "-aet", "BENCH", "-aec", "RICORD", "-pdu", "131072", "--scan-directories"]
    senders = [
        subprocess.Popen([*call, "127.0.0.1", f"{port}", *map(str, share)], env=PEER_ENVIRONMENT) for share in shares
    ]
    codes = [sender.wait() for sender in senders]
    if any(codes):
        raise RuntimeError("storescu failed")
    return time.perf_counter() - start


@contextmanager
def _ours(folder: Path) -> Iterator[int]:
    port = free_port()
    with serving_in_a_process(ScpSettings(host="127.0.0.1", port=port, callers=("BENCH",)), folder):
        yield port


@contextmanager
def storescp(folder: Path) -> Iterator[int]:
    """Run dcmtk's `storescp`, which stores into `folder`; yields the port."""
    folder.mkdir()
    port = free_port()
    program = shutil.which("storescp") or ""
    process = subprocess.Popen(
        [program, "--fork", "-aet", "RICORD", "-pdu", "131072", "-od", str(folder), "+xa", f"{port}"],
        env=PEER_ENVIRONMENT,
    )
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError
