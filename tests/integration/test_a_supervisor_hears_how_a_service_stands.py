"""systemd hears of each service when it is ready, that it goes on and that it ends; its units are closed by default."""

import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from shared.monitoring.supervision import notify
from tests.factories.federation import make_federation
from tests.factories.pipeline import make_home
from tests.factories.programs import coordinator, node
from tests.peers import needs_peer

UNITS = sorted((Path(__file__).resolve().parents[2] / "compose" / "systemd").glob("*.service"))
EXPOSED = 2.5  # of ten, by the judgement of systemd: the network, which a service of this kind needs, is most of it


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What a supervisor listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(90)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield heard


def a_node(folder: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return node(make_home(folder / "home"), folder / "log")


def a_coordinator(folder: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return coordinator(make_federation(folder).home.folder, folder / "log")


@pytest.mark.parametrize("service", [a_node, a_coordinator])
def test_a_service_says_when_it_is_ready_goes_on_and_ends(
    tmp_path: Path, line: socket.socket, service: Callable[[Path], AbstractContextManager[subprocess.Popen[bytes]]]
) -> None:
    """In this order, and a service that is stopped by SIGTERM says so before it has ended."""
    heard = list[str]()
    with service(tmp_path) as process:
        while "READY=1" not in heard or heard[-1] != "WATCHDOG=1":
            heard.append(line.recv(100).decode())
        process.send_signal(signal.SIGTERM)
        while heard[-1] != "STOPPING=1":
            heard.append(line.recv(100).decode())
        assert process.wait(60) == 0
    assert set(heard) == {"READY=1", "WATCHDOG=1", "STOPPING=1"}


def test_without_a_supervisor_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None asked, it is gone, or its address is none."""
    for address in (None, str(tmp_path / "gone"), "@no-such-name", "host:1", ""):
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
        if address is not None:
            monkeypatch.setenv("NOTIFY_SOCKET", address)
        notify("READY=1")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_each_unit_is_valid_and_closed(tmp_path: Path, unit: Path) -> None:
    """Systemd reads every line of it, and judges what it leaves open; a unit without one of its walls is worse."""
    analyze = needs_peer("systemd-analyze", "systemd")
    text = unit.read_text()
    program = text.partition("ExecStart=")[2].split()[0]
    copy = tmp_path / unit.name
    copy.write_text(text.replace(program, shutil.which("true") or ""))
    verified = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")

    def is_closed() -> bool:
        command = [analyze, "security", "--offline=true", f"--threshold={EXPOSED * 10:.0f}", str(copy)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    assert is_closed()
    copy.write_text(copy.read_text().replace("SystemCallFilter=@system-service\n", "").replace("ProtectHome=yes\n", ""))
    assert not is_closed()
