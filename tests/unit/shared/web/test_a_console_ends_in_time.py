"""A console on a real port starts, answers, bounds who is slow or large, and ends."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from shared.errors.inputs import SourceMissing
from shared.errors.settings import PortInUse
from shared.web import connection, console, guard
from shared.web.guard import SECURITY_HEADERS
from shared.web.serving import serving
from shared.web.settings import ConsoleSettings
from tests.factories.consoles import Notes, make_console, open_store
from tests.factories.ports import free_port
from tests.factories.tls import make_tls_files


@contextmanager
def served(tmp_path: Path, **more: object) -> Iterator[ConsoleSettings]:
    settings = ConsoleSettings.model_validate({"port": free_port(), **more})
    with open_store() as store, serving(make_console(Notes(), store, settings), settings, tmp_path):
        yield settings


def say(settings: ConsoleSettings, *parts: bytes, pause: float = 0) -> bytes:
    """What a raw connection answers until it ends."""
    with socket.create_connection(("127.0.0.1", settings.port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        answer = b""
        try:
            while part := connection.recv(1 << 16):
                answer += part
        except ConnectionResetError:
            pass
    return answer


def test_it_answers_and_ends(tmp_path: Path) -> None:
    """A page comes over a socket; after the end the port is free, and nothing waits for an open connection."""
    with served(tmp_path) as settings, httpx.Client(base_url=settings.address) as client:
        assert client.get("/sign-in").status_code == 200
        began = time.monotonic()
    assert time.monotonic() - began < 5
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", settings.port), timeout=1)


def test_a_port_that_is_held_is_a_sentence(tmp_path: Path) -> None:
    """It names the key to change."""
    with (
        served(tmp_path) as settings,
        pytest.raises(PortInUse, match=r"console\.port"),
        served(tmp_path, port=settings.port),
    ):
        pass


def test_what_is_no_http_has_the_headers_too(tmp_path: Path) -> None:
    """A connection that talks something else hears so, and ends."""
    with served(tmp_path) as settings:
        for said in (b"\x16\x03\x01\x02\x00hello\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET " + b"x" * 20_000):
            answer = say(settings, said).decode()
            assert answer.startswith("HTTP/1.1 400")
            assert all(f"{name}: {value}".lower() in answer.lower() for name, value in SECURITY_HEADERS.items())


def test_who_is_slow_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head or a body that does not come ends the connection; others are answered meanwhile."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(guard, "REQUEST_SECONDS", 0.3)
    with served(tmp_path) as settings:
        host = f"Host: 127.0.0.1:{settings.port}\r\n".encode()
        began = time.monotonic()
        assert say(settings, b"GET /sign-in HTTP/1.1\r\n" + host) == b""
        assert say(settings) == b""
        head = b"POST /sign-in HTTP/1.1\r\n" + host + f"Origin: {settings.address}\r\n".encode()
        head += b"Cookie: console-%d=x\r\nContent-Length: 10\r\n" % settings.port
        head += b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        assert b"408" in say(settings, head + b"csrf")
        assert time.monotonic() - began < 5


def test_a_large_body_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a page takes is read to its end and kept nowhere; a stranger may send next to nothing."""
    monkeypatch.setattr(console, "_MOST_BYTES", 1000)
    with served(tmp_path) as settings, httpx.Client(base_url=settings.address) as client:
        headers = {"Origin": settings.address, "Cookie": f"console-{settings.port}=x"}
        for body in (b"x" * 1001, iter([b"x" * 100] * 1000), b"x" * (1 << 20)):
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = client.post("/sign-in", content=body, headers=headers | kind)
            assert answer.status_code in {401, 413}
        assert client.get("/sign-in").status_code == 200


def test_others_reach_it_by_tls_alone(tmp_path: Path) -> None:
    """An address of the network needs a pair and names; the pair is used, and one that does not fit is a sentence."""
    for wrong in ({"host": "192.0.2.1"}, {"host": "10.0.0.1", "names": ["console.example"]}, {"certificate": "a.pem"}):
        with pytest.raises(ValueError, match=r"certificate|names"):
            ConsoleSettings.model_validate({"port": 8444, **wrong})
    files = make_tls_files(tmp_path)
    pair = {"certificate": files.certificate.name, "key": files.key.name}
    with served(tmp_path, **pair) as settings:
        assert settings.address.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(files.authority))
        answer = httpx.get(f"https://localhost:{settings.port}/sign-in", verify=trusting)
        assert "__Host-console" in answer.headers["set-cookie"]
        assert "Secure" in answer.headers["set-cookie"]
    with pytest.raises(SourceMissing), served(tmp_path, **{**pair, "key": files.certificate.name}):
        pass
