"""Who has no key that takes part is answered from the head of its request: nothing of a body is kept, or waited for."""

import base64
import contextlib
import datetime as dt
import http.client
import resource
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PushMessagesRequest
from flwr.proto.message_pb2 import Message, Metadata
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.primitives.asymmetric import verify_signature

from coordinator.federation import fleet_port, listener
from coordinator.federation.fleet_port import PATHS, FleetPort
from coordinator.federation.link_state import LinkState
from coordinator.federation.listener import HttpsServer, listen
from tests.factories.tls import make_tls_files

PUSH = "/v1/fleet/push-object"
MEGABYTE = 1 << 20


class Centre:
    """A port on which one node is registered, and the keys of that node and of a stranger."""

    def __init__(self, folder: Path) -> None:
        tls = make_tls_files(folder)
        self.node, self.stranger = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
        self.admitted = {pem(self.node)}
        self.state = LinkState(self.admitted.__contains__)
        self.node_id = self.state.add_node(pem(self.node))
        self.socket = listen("127.0.0.1", 0)
        self.port = self.socket.getsockname()[1]
        self.server = HttpsServer(
            FleetPort(self.state, self.admitted.__contains__),
            self.socket,
            certificate=tls.certificate,
            key=tls.key,
        )
        self.tls = ssl.create_default_context(cafile=str(tls.authority))

    def line(self) -> ssl.SSLSocket:
        """A connection."""
        return self.tls.wrap_socket(socket.create_connection(("127.0.0.1", self.port)), server_hostname="127.0.0.1")

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> int:
        """The status of one request."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", path, body, headers)
            return connection.getresponse().status


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signed(key: ec.EllipticCurvePrivateKey, *, public: bytes = b"", age: int = 0) -> dict[str, str]:
    """The head by which a node says who it is."""
    timestamp = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age)).isoformat()
    signature = key.sign(timestamp.encode(), ec.ECDSA(hashes.SHA256()))
    return {
        FLEET_HTTP_PUBLIC_KEY_HEADER: base64.b64encode(public or pem(key)).decode(),
        FLEET_HTTP_SIGNATURE_HEADER: base64.b64encode(signature).decode(),
        TIMESTAMP_HEADER: timestamp,
    }


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    made = Centre(tmp_path_factory.mktemp("fleet"))
    made.server.start()
    yield made
    made.server.stop()


def pour(centre: Centre, head: bytes, megabytes: int) -> int:
    """Send a head and then a body until the port hangs up; returns how many megabytes went."""
    block = b"a" * MEGABYTE
    with centre.line() as line:
        line.sendall(head)
        for sent in range(megabytes):
            try:
                line.sendall(block)
            except OSError:
                return sent
    return megabytes


def resident() -> int:
    """Bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("head", ["nobody", "a key that nobody registered", "a signature of another key", "an old one"])
def test_a_body_without_a_known_key_is_not_read(centre: Centre, head: str) -> None:
    """600 MB from each of eight at once, for each way not to be known: memory stays flat, and each is cut off early."""
    heads = {
        "nobody": {},
        "a key that nobody registered": signed(centre.stranger),
        "a signature of another key": signed(centre.stranger, public=pem(centre.node)),
        "an old one": signed(centre.node, age=3600),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in heads[head].items())
    request = f"POST {PUSH} HTTP/1.1\r\nHost: c\r\n{lines}Content-Length: {600 * MEGABYTE}\r\n\r\n".encode()
    before, sent = resident(), list[int]()
    senders = [threading.Thread(target=lambda: sent.append(pour(centre, request, 600)), daemon=True) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(30)
    assert len(sent) == 8
    assert max(sent) < 600
    assert resident() - before < 40 * MEGABYTE


def test_a_signature_is_verified_once(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same head again is known while its time holds; one that differs in anything is verified, and refused."""
    verified = list[bytes]()

    def counted(key: object, message: bytes, signature: bytes) -> bool:
        verified.append(message)
        return bool(verify_signature(key, message, signature))

    monkeypatch.setattr(fleet_port, "verify_signature", counted)
    path, body = "/v1/fleet/activate-node", ActivateNodeRequest(public_key=pem(centre.node), heartbeat_interval=30)
    first, second = signed(centre.node), signed(centre.node)
    of_another = {FLEET_HTTP_PUBLIC_KEY_HEADER: signed(centre.stranger)[FLEET_HTTP_PUBLIC_KEY_HEADER]}
    for head, status, times in (
        (first, 200, 1),
        (first, 200, 1),
        ({**first, TIMESTAMP_HEADER: second[TIMESTAMP_HEADER]}, 401, 2),
        ({**first, FLEET_HTTP_SIGNATURE_HEADER: second[FLEET_HTTP_SIGNATURE_HEADER]}, 401, 3),
        ({**first, **of_another}, 401, 3),
        (signed(centre.stranger, public=pem(centre.node)), 401, 4),
        (first, 200, 4),
        (second, 200, 5),
    ):
        assert centre.post(path, body.SerializeToString(), head) == status
        assert len(verified) == times
    monkeypatch.setattr(fleet_port, "TIMESTAMP_TOLERANCE", -3600)
    assert centre.post(path, body.SerializeToString(), second) == 401


def test_a_head_without_end_is_not_kept(centre: Centre) -> None:
    """A request line and headers have a largest size, too."""
    before = resident()
    for head in (b"", b"POST /v1/fleet/get-run HTTP/1.1\r\nx: ", b"GET / HTTP/1.1\r\n\r\n"):
        assert pour(centre, head, 600) < 600
    assert resident() - before < 40 * MEGABYTE


def test_a_known_node_sends_no_more_than_a_path_takes(centre: Centre) -> None:
    """By the declared length, and by what comes."""
    for path, about in PATHS.items():
        declared = {**signed(centre.node), "Content-Length": str(about.largest + 1)}
        assert centre.post(path, b"", declared) == 413
    chunked = {**signed(centre.node), "Transfer-Encoding": "chunked"}
    assert centre.post("/v1/fleet/get-run", b"0\r\n\r\n", chunked) == 411


def test_what_is_no_fleet_path_is_not_there(centre: Centre) -> None:
    """Flower's Control and Runtime paths, its documentation and its registration, for a known node too."""
    for path in ("control/list-nodes", "control/start-run", "runtime/acquire-task", "fleet/register-node"):
        assert centre.post(f"/v1/{path}", b"", signed(centre.node)) == 404
    assert centre.post("/docs", b"", {}) == 404


def test_a_node_speaks_for_itself_only(centre: Centre) -> None:
    """Another node's id in the request, or in the reply that it holds, is refused; so is a key whose part has ended."""
    other = centre.state.add_node(pem(centre.stranger))
    own = ActivateNodeRequest(public_key=pem(centre.node), heartbeat_interval=30)
    foreign = ActivateNodeRequest(public_key=pem(centre.stranger), heartbeat_interval=30)
    reply = Message(metadata=Metadata(src_node_id=other))
    forged = PushMessagesRequest(node=Node(node_id=centre.node_id), messages_list=[reply])
    assert centre.post("/v1/fleet/activate-node", own.SerializeToString(), signed(centre.node)) == 200
    assert centre.post("/v1/fleet/activate-node", foreign.SerializeToString(), signed(centre.node)) == 401
    assert centre.post("/v1/fleet/push-messages", forged.SerializeToString(), signed(centre.node)) == 401
    centre.admitted.clear()
    assert centre.post("/v1/fleet/activate-node", own.SerializeToString(), signed(centre.node)) == 401
    centre.admitted.add(pem(centre.node))
    centre.state.forget_node(other)


def test_a_line_that_says_nothing_is_cut(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a head, and a head whose body does not come."""
    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(fleet_port, "_SECONDS", 0.5)
    with centre.line() as silent:
        silent.sendall(b"POST /v1/fleet/get-run HTTP/1.1\r\nHost:")
        silent.settimeout(20)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert silent.recv(1) == b""
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed(centre.node).items())
    with centre.line() as waiting:
        waiting.sendall(f"POST /v1/fleet/get-run HTTP/1.1\r\nHost: c\r\n{lines}Content-Length: 10\r\n\r\n".encode())
        waiting.settimeout(20)
        assert waiting.recv(64).startswith(b"HTTP/1.1 408")
