"""Calls as raw HTTP/2 frames over TLS: half-sent ones, and callers that hang up or never read (RFC 9113, RFC 7541)."""

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from shared.wire import Credentials

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_HEADERS, END_STREAM = 4, 1
INITIAL_WINDOW_SIZE = 4


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame (RFC 9113, 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def opening(*, window: int = 65535) -> bytes:
    """How a client begins; with a `window` of 0 bytes it never lets the server send a message."""
    return PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, window))


def call(method: str, stream: int, *, message: bytes | None, announced: int | None = None, ends: bool = True) -> bytes:
    """The frames of a call: its headers, and its `message` after the length that is `announced` (its own unless given).

    Without a message the call is half-sent: a server waits for it.
    """
    fields = (
        (":method", "POST"),
        (":scheme", "https"),
        (":path", method),
        (":authority", "coordinator"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    )
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields)  # RFC 7541, 6.2.2
    frames = frame(HEADERS, END_HEADERS, stream, block)
    if message is None:
        return frames
    body = struct.pack(">BI", 0, len(message) if announced is None else announced) + message
    return frames + frame(DATA, END_STREAM if ends else 0, stream, body)


def _text(value: str) -> bytes:
    return bytes([len(value)]) + value.encode()


def dial(address: str, credentials: Credentials, *, source: str = "127.0.0.1") -> ssl.SSLSocket:
    """A TLS connection that speaks HTTP/2, from the loopback address `source`."""
    host, port = address.rsplit(":", 1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=credentials.root.decode())
    context.set_alpn_protocols(["h2"])
    if credentials.certificate is not None and credentials.key is not None:
        context.load_cert_chain(credentials.certificate, credentials.key)
    plain = socket.create_connection((host, int(port)), timeout=20, source_address=(source, 0))
    return context.wrap_socket(plain, server_hostname=host)


@contextmanager
def half_sent(
    address: str,
    credentials: Credentials,
    method: str,
    *,
    connections: int,
    each: int = 1,
    first: int = 1,
    sources: int = 1,
) -> Iterator[list[ssl.SSLSocket]]:
    """Hold `connections` of `each` calls whose requests never come, while the block runs.

    They come from the loopback addresses 127.0.0.`first` and on.
    """
    with ExitStack() as stack:
        lines = []
        for number in range(connections):
            line = stack.enter_context(dial(address, credentials, source=f"127.0.0.{first + number % sources}"))
            line.sendall(opening() + b"".join(call(method, 2 * n + 1, message=None) for n in range(each)))
            lines.append(line)
        yield lines


def ends_with_reset(line: ssl.SSLSocket, seconds: float) -> bool:
    """Whether the server ends the connection, or a stream on it, within `seconds`."""
    line.settimeout(seconds)
    try:
        while True:
            head = _exactly(line, 9)
            size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            _exactly(line, size)
            if kind == 3 or (kind == HEADERS and flags & END_STREAM):
                return True
    except TimeoutError:
        return False
    except (ConnectionError, ssl.SSLError):
        return True


def _exactly(line: ssl.SSLSocket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = line.recv(count - len(data))
        if not part:
            raise ConnectionResetError
        data += part
    return data
