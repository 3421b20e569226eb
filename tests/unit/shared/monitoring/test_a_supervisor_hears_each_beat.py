"""A supervisor that named a socket hears what a service says of itself; without one, nothing happens."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from shared.monitoring.pulse import Pulse
from shared.monitoring.supervision import notify


@contextmanager
def supervised(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The supervisor's end of the line, `@` standing for the abstract namespace of Linux."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(address.replace("@", "\0", 1))
        line.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield line


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_each_state_is_heard(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a socket in the file system, and in the abstract namespace."""
    address = f"@{uuid4()}" if kind == "abstract" else str(tmp_path / "notify")
    with supervised(address, monkeypatch) as line:
        notify("READY=1")
        Pulse(tmp_path / "pulse").beat("working")
        notify("STOPPING=1")
        assert [line.recv(99) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


@pytest.mark.parametrize("address", ["", "notify", "vsock:2:1234"])
def test_another_kind_of_address_is_passed_over(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None, one that is no path from the root, one of a machine's own kind: whoever listens there hears nothing."""
    monkeypatch.chdir(tmp_path)
    with supervised("notify", monkeypatch) as line:
        line.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        notify("READY=1")
        with pytest.raises(BlockingIOError):
            line.recv(99)


def test_a_supervisor_that_went_away_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one whose socket nobody reads."""
    with supervised(str(tmp_path / "notify"), monkeypatch) as line:
        for _ in range(1000):
            notify("WATCHDOG=1")
        assert line.recv(99) == b"WATCHDOG=1"
    notify("READY=1")
