"""A PACS or a caller that stops in the middle blocks nobody."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, call

import pytest

from shared.errors.storage import DiskFull
from shared.errors.transport import TransportError
from site_node.network import scp
from site_node.network.arrivals import Arrivals
from site_node.network.query_retrieve import Pacs
from site_node.network.scp import serving
from site_node.network.upper_layer import wait_at_most
from site_node.settings.dimse import PacsSettings, ScpSettings
from tests.factories.pacs import key_of
from tests.factories.ports import free_port

_LONG = 10.0  # seconds, after which a call counts as blocked


def settings(port: int, **more: object) -> PacsSettings:
    return PacsSettings.model_validate({"host": "127.0.0.1", "port": port, "ae_title": "PACS", **more})


def ends(work: Callable[[], object]) -> bool:
    """Whether `work` ends, with a `TransportError`."""

    def run() -> None:
        with pytest.raises(TransportError):
            work()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(_LONG)
    return not thread.is_alive()


def is_open(client: socket.socket) -> bool:
    """Whether another byte can be sent."""
    try:
        client.sendall(b"\0")
    except OSError:
        return False
    return True


def test_a_pacs_that_stops_amid_a_pdu_is_given_up() -> None:
    """The rest of the PDU never comes, and the connection stays open: the request fails in time."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        asking = Pacs(settings(listening.getsockname()[1], answer_seconds=0.3))
        connections: list[socket.socket] = []

        def answer() -> None:
            connection, _ = listening.accept()
            connections.append(connection)
            connection.sendall(struct.pack(">BBL", 2, 0, 500) + bytes(9))

        accepting = threading.Thread(target=answer)
        accepting.start()
        ended = ends(asking.echo)
        accepting.join()
        connections[0].close()
        assert ended


def test_who_sends_drop_by_drop_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time but the PDU does not: the connection is closed."""
    monkeypatch.setattr("site_node.network.upper_layer.IDLE_SECONDS", 0.4)
    port = free_port()
    scp = ScpSettings(host="127.0.0.1", port=port, callers=("SENDER",))
    with serving(scp, Arrivals(tmp_path, key_of)), socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(struct.pack(">BBL", 1, 0, 50_000))
        until = time.monotonic() + _LONG
        while time.monotonic() < until and is_open(client):
            time.sleep(0.05)
        assert time.monotonic() < until


def test_a_plain_socket_stays_blocking_and_a_tls_one_does_not() -> None:
    """A plain one is limited in the kernel, for what pynetdicom reads whole; of TLS a whole record is limited."""
    here, there = socket.socketpair()
    with here, there:
        wait_at_most(here, 2.5)
        assert here.gettimeout() is None
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            assert struct.unpack("ll", here.getsockopt(socket.SOL_SOCKET, option, 16)) == (2, 500_000)
    tls = Mock(spec=ssl.SSLSocket)
    wait_at_most(tls, 2.5)
    assert tls.mock_calls == [call.settimeout(2.5)]


@pytest.mark.parametrize(
    ("error", "event"), [(OSError(5, "I/O"), "scp.not_kept"), (DiskFull(folder="x"), "scp.disk_full")]
)
def test_what_could_not_be_kept_is_answered_and_logged(
    monkeypatch: pytest.MonkeyPatch, error: Exception, event: str
) -> None:
    """By its code alone; the sender keeps the image (PS3.4 table B.2-1)."""
    log, request = (
        Mock(),
        SimpleNamespace(
            AffectedSOPClassUID="1.2", AffectedSOPInstanceUID="1.2.3", DataSet=SimpleNamespace(getvalue=lambda: b"")
        ),
    )
    for name, change in {"log": log, "study_uid_of": lambda *_: "1.9", "part10": lambda *_: b"content"}.items():
        monkeypatch.setattr(scp, name, change)
    context = SimpleNamespace(transfer_syntax="1.2.840.10008.1.2")
    stored: Any = SimpleNamespace(request=request, context=context)
    assert scp.handle_store(stored, Mock(store=Mock(side_effect=error))) >> 8 == 0xA7
    assert [entry.args for entry in log.error.mock_calls] == [(event,)]
