"""A connection that closes, on either side and in whatever thread, is an end and no error; no more is read then."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from shared.errors.storage import DiskFull
from site_node.network import c_store_response, dicomweb, upper_layer
from site_node.network.query import Fetch
from site_node.network.upper_layer import Connection
from tests.factories.dicom import make_ct, write_file

CLOSED = "Evt17"  # PS3.8 table 9-10


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def peer(pair: tuple[socket.socket, socket.socket]) -> socket.socket:
    return pair[1]


@pytest.fixture
def connection(pair: tuple[socket.socket, socket.socket]) -> Any:
    made: Any = object.__new__(Connection)
    made._assoc = SimpleNamespace(dul=SimpleNamespace(event_queue=Queue()))
    made.socket, made._is_connected, made.read_seconds = pair[0], True, 1.0
    return made


def ends(connection: Any) -> list[str]:
    return list(connection._assoc.dul.event_queue.queue)


def test_a_socket_that_another_thread_closed_is_an_end(connection: Any, peer: socket.socket) -> None:
    """Said once; before, data are there or not."""
    ready = [connection.ready]
    peer.send(b"x")
    ready.append(connection.ready)
    connection.socket.close()
    ready.append(connection.ready)
    assert (ready, ends(connection)) == ([False, True, False], [CLOSED])


def test_without_a_socket_nothing_is_there(connection: Any) -> None:
    """Nor before it is connected; that is no end."""
    connection._is_connected = False
    ready = [connection.ready]
    connection.socket, connection._is_connected = None, True
    assert ([*ready, connection.ready], ends(connection)) == ([False, False], [])


def test_a_peer_that_closes_in_the_middle_leaves_what_it_sent(connection: Any, peer: socket.socket) -> None:
    """And nothing after it."""
    peer.send(b"half")
    peer.shutdown(socket.SHUT_WR)
    assert connection.recv(10) == b"half"
    assert connection.recv(10) == b""


def test_no_more_is_read_than_was_asked_for(
    connection: Any, peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing that is longer than any PDU may be, to the byte."""
    monkeypatch.setattr(upper_layer, "_PDU_LIMIT", 8)
    peer.send(bytes(range(16)))
    assert connection.recv(8) == bytes(range(8))
    with pytest.raises(ConnectionError):
        connection.recv(9)
    assert connection.recv(1) == b"\x08"


def test_a_closed_socket_is_closed_again_without_an_error(connection: Any, peer: socket.socket) -> None:
    """Whatever the peer did; without a socket there is nothing to close."""
    peer.close()
    for _ in range(2):
        connection._shutdown_socket()
    assert connection.socket.fileno() == -1
    connection.socket = None
    connection._shutdown_socket()


def test_who_asks_a_connection_that_is_not_there_waits(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread asks again and again: without a pause it would do nothing else."""
    monkeypatch.setattr(upper_layer, "_POLL_SECONDS", 0.1)
    connection.socket = None
    began = time.monotonic()
    assert not connection.ready
    assert time.monotonic() - began >= 0.1


def test_no_handler_of_pynetdicom_spells_out_a_message() -> None:
    """Its log would quote patients' values."""
    unbound = list[tuple[object, object]]()
    association: Any = SimpleNamespace(dul=SimpleNamespace(), unbind=lambda *both: unbound.append(both))
    upper_layer.adopt(association)
    assert unbound == [*upper_layer._STANDARD_HANDLERS]
    assert len(unbound) == 4


def test_what_tls_has_read_already_is_there(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket itself has nothing more, and would be waited for."""

    class Decrypted:
        def pending(self) -> int:
            return 5

    monkeypatch.setattr(ssl, "SSLSocket", Decrypted)
    connection.socket = Decrypted()
    assert connection.ready


@pytest.mark.parametrize(("error", "reason"), [(DiskFull(folder="x"), "disk-full"), (OSError(5, "x"), "not-kept")])
def test_an_image_that_was_not_kept_has_its_reason(tmp_path: Path, error: Exception, reason: str) -> None:
    """It is no arrived one."""
    (image,) = make_ct(slices=1, rows=8)
    content = write_file(image, tmp_path / "image.dcm").read_bytes()
    fetch = Fetch(study_uid=str(image.StudyInstanceUID))
    kept: Any = SimpleNamespace(check_space=lambda _: None, store=Mock())
    assert dicomweb._store(content, fetch, kept, 0) == ""
    kept.store.side_effect = error
    assert dicomweb._store(content, fetch, kept, 0) == reason


def test_a_uid_in_an_answer_is_of_even_length() -> None:
    """None is empty, and what no UID may hold is replaced (PS3.5 9.1)."""
    assert [c_store_response._uid(value) for value in (None, "1.2", "1.22", "1.é")] == [
        b"",
        b"1.2\0",
        b"1.22",
        b"1.?\0",
    ]
