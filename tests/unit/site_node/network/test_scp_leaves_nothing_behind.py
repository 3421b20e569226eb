"""Our SCP leaves no socket and no thread behind, whatever its peer does."""

import gc
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import create_file_meta, encode, encode_file_meta

from shared.errors.transport import PacsUnreachable
from site_node.network.arrivals import Arrivals
from site_node.network.c_store_response import c_store_response
from site_node.network.part10 import part10
from site_node.network.query_retrieve import Pacs
from site_node.network.scp import serving
from site_node.network.tls import server_context
from site_node.network.upper_layer import Caller
from site_node.settings.dimse import PacsSettings, ScpSettings, TlsSettings
from tests.factories.pacs import key_of
from tests.factories.ports import free_port
from tests.factories.tls import make_tls_files

_P_DATA = 4


def sockets() -> set[str]:
    """The sockets of this process, by their inodes."""
    links = set()
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the folder that is listed
            links.add(str(handle.readlink()))
    return {link for link in links if link.startswith("socket:")}


@contextmanager
def nothing_left_open() -> Iterator[None]:
    """All sockets are closed explicitly, none by the garbage collector."""
    gc.collect()
    gc.disable()
    before = sockets()
    try:
        yield
        assert not sockets() - before
    finally:
        gc.enable()


def silent(client: socket.socket) -> None:
    """Say nothing."""
    assert client.fileno() > 0


def half_a_message(client: socket.socket) -> None:
    """Announce more than is sent."""
    client.sendall(struct.pack(">BBL", 1, 0, 500) + bytes(99))


def far_too_long(client: socket.socket) -> None:
    """Announce what would fill the memory."""
    client.sendall(struct.pack(">BBL", _P_DATA, 0, 0xFFFFFFFF))


def no_dicom(client: socket.socket) -> None:
    """Speak something else."""
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")


def broken_off(client: socket.socket) -> None:
    """Reset the connection, as a process that is killed does."""
    half_a_message(client)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("behaves", [silent, half_a_message, far_too_long, no_dicom, broken_off])
@pytest.mark.parametrize("ends_first", [True, False])
def test_who_misbehaves_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaves: Callable[[socket.socket], None], ends_first: bool
) -> None:
    """The server ends without waiting, whether its peer is connected or gone, and closes its sockets."""
    for name in ("site_node.network.scp.HANDSHAKE_SECONDS", "site_node.network.upper_layer.IDLE_SECONDS"):
        monkeypatch.setattr(name, 3600.0)
    port = free_port()
    settings = ScpSettings(host="127.0.0.1", port=port, callers=("SENDER",))
    with nothing_left_open(), socket.socket() as client:
        with serving(settings, Arrivals(tmp_path, key_of)):
            client.connect(("127.0.0.1", port))
            behaves(client)
            if ends_first:
                client.close()
        client.close()


def test_there_is_an_end_to_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent peer that opens ever more connections gets no threads for them; the open ones stay."""
    monkeypatch.setattr("site_node.network.upper_layer._MOST_CONNECTIONS", 2)
    port = free_port()
    settings = ScpSettings(host="127.0.0.1", port=port, callers=("SENDER",))
    with nothing_left_open(), serving(settings, Arrivals(tmp_path, key_of)), ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5)) for _ in range(6)]
        for refused in clients[2:]:
            assert refused.recv(1) == b""
        for admitted in clients[:2]:
            admitted.settimeout(0.05)
            with pytest.raises(TimeoutError):
                admitted.recv(1)


@pytest.mark.parametrize("ends", ["release", "abort", "leave open"])
def test_an_association_leaves_no_socket(tmp_path: Path, ends: str) -> None:
    """On neither side, even if the server ended first."""
    port = free_port()
    settings = ScpSettings(host="127.0.0.1", port=port, callers=("SENDER",))
    with nothing_left_open():
        ae = Caller(ae_title="SENDER")
        ae.add_requested_context("1.2.840.10008.1.1")
        with serving(settings, Arrivals(tmp_path, key_of)):
            association = ae.associate("127.0.0.1", port, ae_title="RICORD")
            assert association.is_established
            if ends == "release":
                association.release()
            elif ends == "abort":
                association.abort()
        association.join()
        association.dul.join()
        assert association.is_released or association.is_aborted


def test_who_is_refused_or_finds_nobody_leaves_no_socket(tmp_path: Path) -> None:
    """A title that is not let in, a port without a listener, and a caller that does not shake hands."""
    files = make_tls_files(tmp_path)
    tls = TlsSettings(certificate=files.certificate, key=files.key, authorities=files.authority)
    port = free_port()
    settings = ScpSettings(host="127.0.0.1", port=port, callers=("SENDER",))
    asking = Pacs(PacsSettings(host="127.0.0.1", port=port, ae_title="RICORD", calling="SENDER", answer_seconds=2))
    context = server_context(tls, tmp_path)
    with nothing_left_open():
        with pytest.raises(PacsUnreachable):
            asking.echo()
        with serving(settings, Arrivals(tmp_path, key_of), context), pytest.raises(PacsUnreachable):
            asking.echo()
        with serving(settings, Arrivals(tmp_path, key_of)):
            refused = Caller(ae_title="OTHER")
            refused.add_requested_context("1.2.840.10008.1.1")
            assert refused.associate("127.0.0.1", port, ae_title="RICORD").is_rejected


def test_the_file_meta_is_what_pynetdicom_would_write() -> None:
    """Byte for byte, so that an instance that arrives in another way is the same file."""
    names = {
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
        "sop_instance_uid": "1.2.30",
        "transfer_syntax": "1.2.840.10008.1.2.1",
    }
    theirs = encode_file_meta(create_file_meta(**names))
    ours = part10("1.2.840.10008.5.1.4.1.1.2", "1.2.30", ExplicitVRLittleEndian, b"dataset")
    assert ours == bytes(128) + b"DICM" + theirs + b"dataset"


@pytest.mark.parametrize("status", [0x0000, 0xA700])
@pytest.mark.parametrize("instance", ["1.2.3", "1.2.30"])
def test_an_answer_is_what_pynetdicom_would_send(status: int, instance: str) -> None:
    """Byte for byte, whether the UID needs padding or not."""
    answer = C_STORE()
    answer.MessageIDBeingRespondedTo = 65_535
    answer.AffectedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    answer.AffectedSOPInstanceUID = instance
    answer.Status = status
    theirs = C_STORE_RSP()
    theirs.primitive_to_message(answer)
    assert c_store_response(answer) == encode(theirs.command_set, True, True)
