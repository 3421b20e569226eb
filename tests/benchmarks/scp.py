"""C-STORE into our SCP, with an fsync before each answer, beside dcmtk's storescp and Orthanc: the same `storescu`.

All three keep what they get on the same disk, and start each turn with nothing. storescp and Orthanc do not sync. Where
a program is not installed its row is left out.
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
from tests.factories.pacs import free_port, orthanc, serving_in_a_process

FILES, SIDE = 200, 512  # CT slices, 0.5 MB each
PEER_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
_PROMISED = {1: 0.35, 4: 0.7}  # of Orthanc's files a second
_TURNS = 5


def rows() -> list[Row]:
    """Files a second with one and with four associations."""
    if shutil.which("storescu") is None:
        return []
    with tempfile.TemporaryDirectory(prefix="ricord-bench-") as folder, ExitStack() as stack:
        parts = lots(Path(folder) / "files", 4)
        ports = {"ours": stack.enter_context(_ours(Path(folder) / "ours"))}
        clear: dict[str, Callable[[], None]] = {"ours": partial(empty, Path(folder) / "ours")}
        if shutil.which("storescp"):
            ports["storescp"] = stack.enter_context(storescp(Path(folder) / "storescp"))
            clear["storescp"] = partial(empty, Path(folder) / "storescp")
        if shutil.which("Orthanc"):
            running = stack.enter_context(orthanc(Path(folder) / "orthanc", DicomAet="RICORD"))
            ports["Orthanc"], clear["Orthanc"] = running.dicom, running.clear
        found = []
        for associations in _PROMISED:
            runs: dict[str, Callable[[], float | None]] = {
                name: partial(_send, port, parts, associations, clear[name]) for name, port in ports.items()
            }
            found += _rows(medians(runs, turns=_TURNS), associations)
    return found


def _rows(seconds: dict[str, float], associations: int) -> list[Row]:
    rate = {name: FILES / one for name, one in seconds.items()}
    against = "Orthanc" if "Orthanc" in rate else "itself"
    return [
        Row(
            f"C-STORE into {name}, {associations} associations",
            each,
            "files/s",
            against,
            each / rate.get(against, each),
            _PROMISED[associations] if name == "ours" and against == "Orthanc" else None,
        )
        for name, each in rate.items()
    ]


def lots(folder: Path, count: int) -> list[Path]:
    """The files in `count` folders, one for each association."""
    slices = make_ct(slices=FILES, rows=SIDE, thickness=1.0)
    parts = [folder / str(number) for number in range(count)]
    for number, one in enumerate(slices):
        lot = parts[number % count]
        lot.mkdir(parents=True, exist_ok=True)
        write_file(one, lot / f"{number}.dcm")
    return parts


def empty(folder: Path) -> None:
    """Remove what a turn before left."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()


def _send(port: int, lots: list[Path], associations: int, clear: Callable[[], None]) -> float:
    """Seconds until all is answered; `storescu` sends its lots in as many associations at once."""
    clear()
    storescu = shutil.which("storescu") or ""
    shares = [lots] if associations == 1 else [[lot] for lot in lots]
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
    """Run dcmtk's, which keeps in `folder` what it gets; yields the port."""
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
